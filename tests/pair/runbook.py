# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of docs/operations.md, from two fresh hosts to a protected guest, exactly as they stand there, on three hosts;
then the live host loses all its processes, and a client of the guest has its connection still.

    tests/pair/pair.sh runbook.py

A host is a root file system of its own (an overlay on this one), host name, processes, and network namespace, with eth0 to
the other hosts and br0 with eth1 to the guest's network. Stand-ins, because there is neither ssh nor systemd in it: scp
copies into the other root, apt-get puts in place what `make install` made, systemctl does what the unit's lines say."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import BUILD, CLIENT_IP, PATIENCE, Client, Connection, Failure, sh  # noqa: E402

HOSTS = {"alpha": "10.0.0.1", "beta": "10.0.0.2", "gamma": "10.0.0.3"}
WHERE = {"all": list(HOSTS), "both": ["alpha", "beta"], **{h: [h] for h in HOSTS}}
SCP = """#!/bin/sh
[ "$1" = -p ] && shift
exec cp -p "$1" "/mnt/$(echo "$2" | sed 's/:/\\//')"
"""
APT = """#!/bin/sh
[ "$*" = "install -y ./twinstep.deb" ] || exit 9
cp -a /mnt/package/. / && awk '$1 == "d" { print $2, $3 }' /usr/local/lib/tmpfiles.d/twinstep.conf | while read -r path mode; do
	mkdir -p "$path" && chmod "$mode" "$path"
done
"""
SYSTEMCTL = r'''#!/usr/bin/python3
"""enable --now UNIT...: directories, credentials, capabilities, ExecStartPre and ExecStart of each, again when it fails; waits for READY=1."""
import os, re, socket, subprocess, sys
assert sys.argv[1:3] == ["enable", "--now"]
for name in sys.argv[3:]:
    stem, dot, kind = name.rpartition(".")
    stem, kind = (stem, kind) if kind in ("target", "service") else (name, "service")
    template, at, instance = stem.partition("@")
    text = open("/usr/local/lib/systemd/system/%s%s.%s" % (template, at, kind)).read().replace("%i", instance)
    if kind == "target":
        continue
    get = lambda key: re.findall("^%s=(.*)$" % key, text, re.M)
    for key, base in (("RuntimeDirectory", "/run/"), ("StateDirectory", "/var/lib/")):
        for d in get(key):
            os.makedirs(base + d, 0o700, exist_ok=True)
    env = dict(os.environ, CREDENTIALS_DIRECTORY="/run/credentials", **dict(e.split("=", 1) for e in get("Environment")))
    os.makedirs("/run/credentials", 0o700, exist_ok=True)
    for credential in get("LoadCredential"):
        subprocess.run(["cp", "-p", credential.split(":")[1], "/run/credentials/" + credential.split(":")[0]], check=True)
    bounds = ",".join(["-all"] + ["+" + c[4:].lower() for c in get("CapabilityBoundingSet")[0].split()])
    within = ["setpriv", "--no-new-privs", "--bounding-set=" + bounds, "--inh-caps=-all", "sh", "-c"]
    for command in get("ExecStartPre"):
        subprocess.run(within + [command], check=True, env=env)
    # Type=notify: as systemd, this returns when the service says that it is ready.
    ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ready.bind("/run/notify-" + stem)
    ready.settimeout(120)
    env["NOTIFY_SOCKET"] = "/run/notify-" + stem
    loop = "until %s; do sleep 1; done" % get("ExecStart")[0]
    with open("/var/log/%s.log" % stem, "a") as log:
        subprocess.Popen(within + [loop], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    while "READY=1" not in ready.recv(4096).decode().split("\n"):
        pass
'''
# A file system of its own, then the old one is let go of. Its processes are those of a pid namespace.
BOOT = """set -e
mount --make-rprivate /
hostname %(name)s
cd %(root)s
mount -t proc proc proc
mount --rbind /dev dev
mount -t sysfs sysfs sys 2>/dev/null || mount --rbind /sys sys
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mkdir -p mnt/old
pivot_root . mnt/old
umount -l /mnt/old
echo up
while :; do sleep 1; done
"""


def commands():
    """(host, command) as the document has them."""
    text = open("docs/operations.md").read().split("\n## From two fresh hosts")[1].split("\n## ")[0]
    found = []
    for line in re.findall(r"^    (.*)$", text, re.M):
        first = re.match(r"(\w+)#\s+(.*)", line)
        if first:
            column = first.start(2)
            found.append([first.group(1), first.group(2)])
        elif found:
            found[-1][1] += "\n" + line[column:]
    if len(found) != 10 or any(h not in WHERE for h, _ in found):
        raise Failure("the document has %d commands: %s" % (len(found), found))
    return found


class Host:
    def __init__(self, name, directory):
        self.name, self.dir = name, directory + "/" + name
        self.ns = "twinstep-%d-%s" % (os.getpid(), name)
        self.root = self.dir + "/root"
        for d in ("upper", "work", "root"):
            os.makedirs(self.dir + "/" + d)
        sh("mount", "-t", "overlay", "overlay", "-o", "lowerdir=/,upperdir=%s/upper,workdir=%s/work" % (self.dir, self.dir), self.root)
        for path in ("etc/twinstep", "var/lib/twinstep", "var/lib/twinstep-arbiter"):  # fresh
            shutil.rmtree(self.root + "/" + path, ignore_errors=True)
        os.makedirs(self.root + "/srv/web", exist_ok=True)
        for f in ("vmlinuz", "initramfs"):
            shutil.copy("%s/guest/%s" % (BUILD, f), self.root + "/srv/web/" + f)
        for tool, text in (("scp", SCP), ("apt-get", APT), ("systemctl", SYSTEMCTL)):
            path = self.root + "/usr/local/sbin/" + tool
            with open(path, "w") as f:
                f.write(text)
            os.chmod(path, 0o755)
        with open(self.root + "/etc/hosts", "a") as f:
            f.write("".join("%s %s\n" % (a, n) for n, a in HOSTS.items()))
        sh("ip", "netns", "add", self.ns)

    def wire(self):
        sh("ip", "-n", self.ns, "link", "set", "lo", "up")
        for bridge, end in (("hosts", "eth0"), ("br0", "eth1")):
            port = "%s-%s" % (end[-1], self.name)
            sh("ip", "link", "add", port, "type", "veth", "peer", "name", end, "netns", self.ns)
            sh("ip", "link", "set", port, "master", bridge, "up")
            sh("ip", "-n", self.ns, "link", "set", end, "up")
        sh("ip", "-n", self.ns, "addr", "add", HOSTS[self.name] + "/24", "dev", "eth0")
        sh("ip", "-n", self.ns, "link", "add", "br0", "type", "bridge")
        sh("ip", "-n", self.ns, "link", "set", "eth1", "master", "br0")
        sh("ip", "-n", self.ns, "link", "set", "br0", "up")

    def start(self, others, package):
        for name, root in [(o.name, o.root) for o in others] + [("package", package)]:
            os.makedirs(self.root + "/mnt/" + name, exist_ok=True)
            sh("mount", "--bind", root, self.root + "/mnt/" + name)
        self.boot = subprocess.Popen(
            ["ip", "netns", "exec", self.ns, "setpriv", "--pdeathsig", "KILL", "unshare", "--uts", "--ipc", "--mount", "--pid",
             "--fork", "--kill-child", "sh", "-c", BOOT % {"name": self.name, "root": self.root}],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, stderr=open(self.dir + "/boot.log", "w"))
        if self.boot.stdout.readline() != b"up\n":
            raise Failure("%s does not start: %s" % (self.name, open(self.dir + "/boot.log").read()))
        with open("/proc/%d/task/%d/children" % (self.boot.pid, self.boot.pid)) as f:
            self.init = int(f.read().split()[0])

    def run(self, command):
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return subprocess.run(["nsenter", "-t", str(self.init), "-a", "env", "-i", "PATH=" + path, "HOME=/root", "sh", "-c",
                               "cd /root && " + command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=PATIENCE)

    def lose(self):
        """Its whole set of processes."""
        os.kill(self.init, 9)
        self.boot.wait()

    def log(self):
        path = self.root + "/var/log/twinstep@web.log"
        return open(path).read()[-400:] if os.path.exists(path) else ""


class Test:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="twinstep-runbook-")
        self.hosts = {}
        sh("make", "-s", "BUILD=" + BUILD, "DESTDIR=%s/package" % self.dir, "install")
        sh("ip", "link", "set", "lo", "up")
        for bridge in ("hosts", "br0"):
            sh("ip", "link", "add", bridge, "type", "bridge")
            sh("ip", "link", "set", bridge, "up")
        sh("ip", "addr", "add", CLIENT_IP + "/24", "dev", "br0")
        for name in HOSTS:
            self.hosts[name] = Host(name, self.dir)
            self.hosts[name].wire()
        for h in self.hosts.values():
            h.start([o for o in self.hosts.values() if o is not h], self.dir + "/package")

    def wait(self, what, text):
        end = time.monotonic() + PATIENCE
        while not what():
            if time.monotonic() > end:
                raise Failure("%s: %s; %s" % (text, self.hosts["alpha"].log(), self.hosts["beta"].log()))
            time.sleep(0.2)

    def follow(self):
        for n, (where, command) in enumerate(commands()):
            for host in WHERE[where]:
                self.out = self.hosts[host].run(command)
                if self.out.returncode:
                    raise Failure("%s# %s: status %d: %s" % (host, command.split("\n")[0], self.out.returncode, self.out.stdout))
            print("ok runbook.%d: %s# %s" % (n + 1, where, command.split("\n")[0]), flush=True)

        self.wait(self.live, "not protected")
        print("ok runbook.protected", flush=True)

    def live(self):
        """The host where the guest is live and protected: alpha, unless a busy host has made it change places; or None."""
        for name in WHERE["both"]:
            if re.search(r"^web +protected ", self.hosts[name].run("twinstep list").stdout, re.M):
                return name
        return None

    def serves(self):
        try:
            return Connection(timeout=3).call("PING") == b"+PONG"
        except OSError:
            return False

    def run(self):
        self.follow()
        self.wait(self.serves, "redis does not answer")
        client = Client(0)
        self.wait(lambda: client.count > 20 or client.error, "no replies")
        self.wait(self.live, "not protected")
        lost = self.live() or "alpha"
        self.hosts[lost].lose()
        before = client.count + 1
        self.wait(lambda: client.count > before + 20 or client.error, "no replies after the loss of " + lost)
        if client.error:
            raise Failure("client: %s" % client.error)
        print("ok runbook.lives-on: %d replies, the longest gap %.1f s" % (client.count, client.gap(client.replies[0])), flush=True)
        left = "beta" if lost == "alpha" else "alpha"
        listed = self.hosts[left].run("twinstep list").stdout
        if not re.search(r"^web +alone ", listed, re.M):
            raise Failure("%s lists %s" % (left, listed))
        client.stop()
        print("ok runbook.listed", flush=True)

    def close(self):
        for h in self.hosts.values():
            if getattr(h, "boot", None) and h.boot.poll() is None:
                h.lose()
            subprocess.run(["ip", "netns", "del", h.ns], stderr=subprocess.DEVNULL)
        for h in self.hosts.values():
            subprocess.run(["umount", "-R", "-l", h.root], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)


def main():
    test = None
    try:
        test = Test()
        test.run()
    except (Failure, OSError, subprocess.SubprocessError) as e:
        print("not ok runbook: %s" % e, flush=True)
        return 1
    finally:
        if test:
            test.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
