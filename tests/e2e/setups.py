#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Set-ups that are wrong: configuration files, key files, certificates, endpoints, permissions, full disks. Each is answered by one
line on standard error (one for each fault of a configuration file) that names the file, with line and column where it is a
configuration, and says what was expected or what to do; with the status that the manual has.

    setups.py TWINSTEP GUEST-DIRECTORY DIR        as root, in namespaces of its own
"""
import errno
import http.server
import json
import os
import re
import resource
import socket
import ssl
import subprocess
import sys
import threading

twinstep, guest, work = sys.argv[1:]
HOST = socket.gethostname()
GOOD = """kernel = %(guest)s/vmlinuz
initrd = %(guest)s/initramfs
append = console=ttyS0 quiet
memory = 128M
net = none
arbiter = file:%(work)s/arbiter
key-file = %(work)s/key
[host %(host)s]
listen = 127.0.0.2:7777
[host elsewhere]
listen = 127.0.0.3:7777
"""
WARNINGS = "the jail goes without", "etcd without ca=FILE"  # true, and not the answer
failed = False


def path(name):
    return os.path.join(work, name)


def write(name, text, mode=0o600):
    with open(path(name), "wb") as f:
        f.write(text if isinstance(text, bytes) else text.encode())
    os.chmod(path(name), mode)
    return path(name)


def run(*args, limit=None, user=None, timeout=300):
    """limit: bytes that a file may become long; user: that runs it."""
    def prepare():
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    command = list(args)
    if user is not None:
        command = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", *command]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, preexec_fn=prepare,
                          env={**os.environ, "HOME": work, "XDG_RUNTIME_DIR": "", "XDG_STATE_HOME": ""} if user else None)


def check(name, done, status, *words, lines=1):
    """words: what is in the answer, which has so many lines."""
    global failed
    answer = "".join(x + "\n" for x in done.stderr.splitlines() if not any(w in x for w in WARNINGS))
    wrong = []
    if done.returncode != status:
        wrong.append("status %d, not %d" % (done.returncode, status))
    if len(answer.splitlines()) != lines:
        wrong.append("%d lines, not %d" % (len(answer.splitlines()), lines))
    wrong += ["no %r" % w for w in words if w not in answer]
    wrong += ["no cure behind %r" % w for w in map(os.strerror, errno.errorcode) for line in answer.splitlines() if line.endswith(w)]
    if not answer.startswith(("twinstep", "web: ")):  # up calls itself by its guest's name
        wrong.append("it does not begin with the program's name")
    failed |= bool(wrong)
    print("not ok setups.%s: %s: %s" % (name, ", ".join(wrong), answer.rstrip("\n").replace("\n", " | ")) if wrong else "ok setups." + name)
    if "SHOW" in os.environ:
        print("   " + answer.rstrip("\n"))


# ---- configuration files ----

def configuration():
    good = GOOD % {"guest": guest, "work": work, "host": HOST}
    done = run(twinstep, "check-config", write("web.conf", good))
    if done.returncode:
        check("good", done, 0)
    rows = [  # name, what stands in the good file, what instead, place, words
        ("no-equals", "memory = 128M", "memory 128M", "4:1", ["="]),
        ("option-unknown", "memory =", "memry =", "4:1", ["unknown option 'memry'", "'memory'"]),
        ("option-of-another-command", "net = none", "output = x", "5:1", ["'output'"]),
        ("value-missing", "memory = 128M", "memory =", "4:9", ["value is missing"]),
        ("value-junk", "memory = 128M", "memory = lots", "4:10", ["lots", "256M"]),
        ("number-junk", "net = none", "timeout = soon", "5:11", ["soon"]),
        ("number-out-of-range", "net = none", "timeout = 1", "5:11", ["timeout"]),
        ("timeouts-crossed", "net = none", "timeout = 900\nmax-timeout = 300", "6:1", ["max-timeout 300", "timeout 900"]),
        ("net-unknown", "net = none", "net = carrier:pigeon", "5:7", ["carrier"]),
        ("twice", "net = none", "memory = 64M", "5:1", ["memory", "line 4"]),
        ("quote", "append = console=ttyS0 quiet", "append = \"console=ttyS0 quiet", "3:10", ["quotation mark"]),
        ("section-kind", "[host elsewhere]", "[hots elsewhere]", "10:", ["[host NAME]"]),
        ("section-open", "[host elsewhere]", "[host elsewhere", "10:", ["]"]),
        ("section-empty", "[host elsewhere]", "[host]", "10:", ["name"]),
        ("section-twice", "[host elsewhere]", "[host %s]" % HOST, "10:", ["line 8"]),
        ("section-missing", "[host %s]" % HOST, "[host nobody]", "8:2", ["[host %s]" % HOST]),
        ("listen-missing", "listen = 127.0.0.2:7777", "", "8:1", ["listen = ADDRESS:PORT"]),
        ("listen-junk", "listen = 127.0.0.2:7777", "listen = here", "9:10", ["here"]),
        ("arbiter-missing", "arbiter = file:%s/arbiter" % work, "# none", "1:1", [" arbiter = ARBITER", "witness:"]),
        ("arbiter-unknown", "arbiter = file:", "arbiter = zookeeper:", "6:11", ["zookeeper", "etcd:", "witness:"]),
        ("key-missing", "key-file = %s/key" % work, "# none", "1:1", [" key-file = FILE", "or insecure"]),
        ("options-together", "net = none", "rdma-clear", "5:1", [": rdma-clear is for addresses"]),
        ("boot-kernel", "net = none", "boot = net", "", [": boot does not go with kernel"]),
        ("key-nowhere", "%s/key" % work, "%s/nokey" % work, "7:12", ["nokey: No such file", "twinstep keygen"]),
        ("kernel-nowhere", "%s/vmlinuz" % guest, "/nowhere/vmlinuz", "1:10", ["/nowhere/vmlinuz: No such file", "; check the path"]),
        ("disk-nowhere", "net = none", "disk = /nowhere/disk.img", "5:8", ["/nowhere/disk.img: No such file"]),
        ("hook-not-executable", "net = none", "on-event = %s" % path("key"), "5:12", [path("key"), "ermission", "chmod"]),
        ("control-character", "append = console=ttyS0 quiet", "append = con\001sole", "3:", ["0x01"]),
    ]
    for name, there, instead, place, words in rows:
        assert there in good, name
        write("bad.conf", good.replace(there, instead, 1))
        check("conf-" + name, run(twinstep, "check-config", path("bad.conf")), 2, "bad.conf:" + place, *words)
    write("bad.conf", good.replace("memory", "memry").replace("listen = 127.0.0.2:7777", "listen"))
    check("conf-two-faults", run(twinstep, "check-config", path("bad.conf")), 2, "bad.conf:4:1", "bad.conf:9:1", lines=2)
    check("conf-up-says-the-same", run(twinstep, "up", path("bad.conf")), 2, "bad.conf:4:1", "bad.conf:9:1", lines=2)
    check("conf-absent", run(twinstep, "up", path("none.conf")), 2, path("none.conf"), "No such file")
    check("conf-name-absent", run(twinstep, "up", "nobody-knows"), 2, "/etc/twinstep/nobody-knows.conf", "No such file")
    check("conf-directory", run(twinstep, "check-config", work + "/"), 2, work, "directory")
    write("bad.conf", b"kernel = \xff\x00\n" + good.encode())
    check("conf-binary", run(twinstep, "check-config", path("bad.conf")), 2, "bad.conf:1:")
    write("bad.conf", b"#" * (1 << 19))
    check("conf-too-long", run(twinstep, "check-config", path("bad.conf")), 2, "bad.conf", "262144")
    os.chmod(path("web.conf"), 0)
    check("conf-unreadable", run(twinstep, "check-config", path("web.conf"), user=65534), 2, "web.conf", "Permission denied")
    os.chmod(path("web.conf"), 0o600)


# ---- keys ----

def keys():
    good = open(path("key"), "rb").read()

    def key_of(name, text, mode, *words, user=None):
        write("badkey", text, mode)
        check("key-" + name, run(twinstep, "arbiter", "serve", path("w"), "--listen", "127.0.0.4:1", "--key-file", path("badkey"), user=user),
              2, path("badkey"), *words)
    key_of("open-to-all", good, 0o644, "chmod 600")
    key_of("open-to-group", good, 0o640, "chmod 600")
    key_of("short", good[:20], 0o600, "twinstep keygen")
    key_of("long", good * 2, 0o600, "twinstep keygen")
    key_of("empty", b"", 0o600, "twinstep keygen")
    key_of("junk", b"x" * len(good), 0o600, "twinstep keygen")
    key_of("foreign", good, 0o600, "Permission denied", user=65534)
    os.chmod(path("key"), 0o644)
    check("key-of-up", run(twinstep, "check-config", path("web.conf")), 2, "web.conf:7:12", path("key"), "chmod 600")
    os.chmod(path("key"), 0o600)
    check("keygen-over-another", run(twinstep, "keygen", path("key")), 2, path("key"), "File exists", "remove it first")
    check("keygen-nowhere", run(twinstep, "keygen", "/nowhere/key"), 2, "/nowhere/key", "No such file")


# ---- arbiters ----

class Answers(http.server.BaseHTTPRequestHandler):
    """A web server that is no etcd, and one that has lost its majority."""
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, body = self.server.answer
        body = body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    def __init__(self, status, body, certificate=None):
        super().__init__(("127.0.0.1", 0), Answers)
        self.answer, self.daemon_threads = (status, body), True
        self.at = "127.0.0.1:%d" % self.server_port
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(path("tls/%s.pem" % certificate[0]), path("tls/%s.key" % certificate[0]))
            if certificate[1]:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(path("tls/ca.pem"))
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass


def show(name, arbiter, *words):
    check("arbiter-" + name, run(twinstep, "arbiter", "show", arbiter), 2, *words)


def arbiters():
    show("kind", "zookeeper:/x", "zookeeper", "file:", "etcd:", "witness:")
    show("directory", "file:" + path("nothing"), path("nothing"), "twinstep arbiter init")
    os.mkdir(path("unmarked"))
    show("unmarked", "file:" + path("unmarked"), path("unmarked"), "twinstep arbiter init")
    check("arbiter-init-nowhere", run(twinstep, "arbiter", "init", "file:/nowhere/a"), 2, "/nowhere/a", "No such file")
    os.makedirs(path("ro"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", path("ro")], check=True)
    check("arbiter-init-read-only", run(twinstep, "arbiter", "init", "file:" + path("ro/a")), 2, path("ro/a"), "Read-only")
    # etcd
    show("etcd-no-prefix", "etcd://127.0.0.1:1", "PREFIX")
    show("etcd-no-port", "etcd://localhost/web", "localhost:2379", "see that etcd runs there")
    show("etcd-junk-word", "etcd://127.0.0.1:1/web,frob=1", "frob")
    free = socket.socket()
    free.bind(("127.0.0.1", 0))
    show("etcd-refused", "etcd://127.0.0.1:%d/web" % free.getsockname()[1], "127.0.0.1:%d" % free.getsockname()[1], "see that etcd runs there")
    page = Server(200, "<html>It works!</html>")
    show("etcd-is-none", "etcd://%s/web" % page.at, page.at, "is it an etcd")
    lost = Server(404, "404 page not found")
    show("etcd-no-gateway", "etcd://%s/web" % lost.at, lost.at, "404", "client port")
    nobody = Server(503, json.dumps({"error": "etcdserver: no leader", "code": 14, "message": "etcdserver: no leader"}))
    show("etcd-no-quorum", "etcd://%s/web" % nobody.at, nobody.at, "no leader", "majority")
    secured = Server(200, "{}", ("server", False))
    ca = ",ca=" + path("tls/ca.pem")
    show("etcd-needs-tls", "etcd://%s/web" % secured.at, secured.at, ",ca=FILE")
    show("etcd-has-no-tls", "etcd://%s/web%s" % (page.at, ca), page.at, "if it speaks no TLS")
    show("etcd-other-authority", "etcd://%s/web,ca=%s" % (secured.at, path("tls/other-ca.pem")), secured.at, "certificate", path("tls/other-ca.pem"))
    expired = Server(200, "{}", ("expired", False))
    show("etcd-expired", "etcd://%s/web%s" % (expired.at, ca), expired.at, "expired")
    foreign = Server(200, "{}", ("foreign", False))
    show("etcd-other-name", "etcd://%s/web%s" % (foreign.at, ca), foreign.at, "127.0.0.1", "name")
    wants = Server(200, "{}", ("server", True))
    show("etcd-wants-certificate", "etcd://%s/web%s" % (wants.at, ca), wants.at, "cert=FILE,key=FILE")
    show("etcd-ca-nowhere", "etcd://%s/web,ca=/nowhere/ca.pem" % wants.at, "/nowhere/ca.pem", "No such file")
    show("etcd-ca-junk", "etcd://%s/web,ca=%s" % (wants.at, write("junk.pem", "no certificate\n")), path("junk.pem"))
    pair = ",cert=%s,key=%s" % (path("tls/client.pem"), path("tls/server.key"))
    show("etcd-mismatched", "etcd://%s/web%s%s" % (wants.at, ca, pair), path("tls/server.key"), path("tls/client.pem"))
    show("etcd-certificate-alone", "etcd://%s/web%s,cert=%s" % (wants.at, ca, path("tls/client.pem")), "key=FILE")
    show("etcd-login-nowhere", "etcd://%s/web,login=/nowhere/login" % page.at, "/nowhere/login", "No such file")
    show("etcd-login-open", "etcd://%s/web,login=%s" % (page.at, write("login", "user:password\n", 0o644)), path("login"), "chmod 600")
    show("etcd-login-junk", "etcd://%s/web,login=%s" % (page.at, write("login", "password\n")), path("login"), "USER:PASSWORD")
    denied = Server(400, json.dumps({"error": "etcdserver: authentication failed, invalid user ID or password", "code": 3}))
    show("etcd-login-denied", "etcd://%s/web,login=%s" % (denied.at, write("login", "user:password\n")), denied.at, "invalid user ID or password", path("login"))
    # a witness
    show("witness-no-key", "witness:127.0.0.1:1/web", "key=FILE")
    show("witness-no-guest", "witness:127.0.0.1:1,key=" + path("key"), "witness:HOST:PORT/GUEST")
    show("witness-refused", "witness:127.0.0.1:%d/web,key=%s" % (free.getsockname()[1], path("key")), "127.0.0.1:%d" % free.getsockname()[1])
    run(twinstep, "keygen", path("key2"))
    port = free.getsockname()[1]
    free.close()
    witness = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", twinstep, "arbiter", "serve", path("witness"), "--listen", "127.0.0.1:%d" % port,
                                "--key-file", path("key")], stderr=subprocess.DEVNULL)
    while subprocess.run([twinstep, "arbiter", "init", "witness:127.0.0.1:%d/web,key=%s" % (port, path("key"))], capture_output=True).returncode:
        assert witness.poll() is None
    show("witness-other-key", "witness:127.0.0.1:%d/web,key=%s" % (port, path("key2")), "127.0.0.1:%d" % port, path("key2"), "key")
    show("witness-other-guest", "witness:127.0.0.1:%d/db,key=%s" % (port, path("key")), "db", "twinstep arbiter init")
    check("witness-port-taken", run(twinstep, "arbiter", "serve", path("witness2"), "--listen", "127.0.0.1:%d" % port, "--key-file", path("key")),
          2, "127.0.0.1:%d" % port, "in use")
    witness.kill()
    witness.wait()


# ---- places ----

def places():
    good = GOOD % {"guest": guest, "work": work, "host": HOST}
    write("web.conf", good)
    # The control socket of somebody else, and something that is none.
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path("taken"))
        s.listen()
        check("control-taken", run(twinstep, "run", "--kernel", guest + "/vmlinuz", "--console", "none", "--control", path("taken")), 2, path("taken"), "use")
    check("control-over-file", run(twinstep, "run", "--kernel", guest + "/vmlinuz", "--console", "none", "--control", path("web.conf")),
          2, path("web.conf"), "not a socket")
    check("control-nowhere", run(twinstep, "run", "--kernel", guest + "/vmlinuz", "--console", "none", "--control", "/nowhere/control"),
          2, "/nowhere/control", "No such file")
    for name, option in (("events", "--events"), ("console", "--console")):
        check(name + "-read-only", run(twinstep, "pair", "--kernel", guest + "/vmlinuz", option, path("ro/x")), 2, path("ro/x"), "Read-only")
    check("record-read-only", run(twinstep, "record", "-o", path("ro/log"), "--kernel", guest + "/vmlinuz", "--console", "none"), 2, path("ro/log"), "Read-only")
    # A host's own directories.
    for directory in ("/run", "/var/lib"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", directory], check=True)
        check("up-read-only" + directory.replace("/", "-"), run(twinstep, "up", path("web.conf")), 2, directory + "/twinstep", "Read-only")
        subprocess.run(["umount", directory], check=True)
    # No room in them: not for one more file.
    for directory in ("/run", "/var/lib"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=1", "none", directory], check=True)
        check("up-full" + directory.replace("/", "-"), run(twinstep, "up", path("web.conf")), 2, directory + "/twinstep", "No space left")
        subprocess.run(["umount", directory], check=True)
    write("tap.conf", good.replace("net = none", "net = tap:tap7"), 0o644)
    check("exporter-port-taken", taken_exporter(), 2, "127.0.0.1:", "in use")
    check("unknown-user", run(twinstep, "net", "create", path("tap.conf"), "--user", "nobody-knows"), 2, "nobody-knows")
    check("not-root", run(twinstep, "net", "create", path("tap.conf"), user=65534), 2, "tap7", "be root")


def taken_exporter():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        return run(twinstep, "exporter", "--listen", "127.0.0.1:%d" % s.getsockname()[1])


# ---- full disks ----

def full_disks():
    full = path("full")
    os.mkdir(full)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "none", full], check=True)
    subprocess.run(["sh", "-c", "cat /dev/zero >%s/fill" % full], stderr=subprocess.DEVNULL)
    check("full-keygen", run(twinstep, "keygen", full + "/key"), 2, full + "/key", "No space left")
    check("full-arbiter", run(twinstep, "arbiter", "init", "file:" + full + "/a"), 2, full + "/a", "No space left")
    check("full-log", run(twinstep, "record", "-o", full + "/log", "--kernel", guest + "/vmlinuz", "--console", "none"), 2, full + "/log", "No space left")
    write("image", b"\0" * 65536)
    check("full-metadata", run(twinstep, "primary", "--no-wait", "--kernel", guest + "/vmlinuz", "--console", "none", "--arbiter", "file:" + path("arbiter"),
                               "--key-file", path("key"), "--listen", "unix:" + path("peer"), "--disk", "%s,meta=%s/meta" % (path("image"), full)),
          2, full + "/meta", "No space left")
    check("full-image", run(twinstep, "image", "seed", full + "/seed.img", write("user-data", "#cloud-config\n")), 2, full + "/seed.img", "No space left")


def certificates():
    os.mkdir(path("tls"))
    subprocess.run(["tests/etcd/certificates.sh", path("tls")], check=True, capture_output=True)
    for name, days, alt in (("expired", "-1", "IP:127.0.0.1"), ("foreign", "2", "DNS:etcd.example.org")):
        write("tls/ext", "subjectAltName=%s\n" % alt)
        for command in (["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name + ".key", "-subj", "/CN=" + name,
                         "-out", name + ".csr"],
                        ["openssl", "x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", days, "-extfile", "ext",
                         "-out", name + ".pem"]):
            subprocess.run(command, cwd=path("tls"), check=True, capture_output=True)


def main():
    run(twinstep, "keygen", path("key"))
    run(twinstep, "arbiter", "init", "file:" + path("arbiter"))
    certificates()
    configuration()
    keys()
    arbiters()
    places()
    full_disks()
    return failed


if __name__ == "__main__":
    sys.exit(main())
