#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`twinstep doctor`, one thing broken at a time.

    doctor.py TWINSTEP GUEST-DIRECTORY DIR        as root, in namespaces of its own, with /run and /var/lib of its own"""
import json
import os
import resource
import socket
import subprocess
import sys
import time

twinstep, guest, work = sys.argv[1:]
CLOCK = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
CONF = """kernel = %(guest)s/vmlinuz
initrd = %(guest)s/initramfs
memory = 64M
arbiter = %(arbiter)s
key-file = %(work)s/key
timeout = 3000
[host alpha]
listen = 127.0.0.2:7777
[host beta]
listen = 127.0.0.3:7777
"""
GRADES = ["good", "note", "warning", "bad"]
failed = False


def path(name):
    return os.path.join(work, name)


def write(name, text, mode=0o600):
    with open(path(name), "w") as f:
        f.write(text)
    os.chmod(path(name), mode)
    return path(name)


def sh(*args):
    subprocess.run(args, check=True, stdout=subprocess.DEVNULL)


def doctor(clock="good", files=4096):
    """({check: [finding]}, status) of this host and its guest."""
    def prepare():
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    done = subprocess.run([twinstep, "doctor", path("web.conf"), "--json"], capture_output=True, text=True, timeout=300, preexec_fn=prepare,
                          env=dict(os.environ, LD_PRELOAD=path(clock + ".so")))
    found = {}
    for f in json.loads(done.stdout)["checks"]:
        found.setdefault(f["check"], []).append(f)
    return found, done.returncode


def grade(found, check):
    return max((f["verdict"] for f in found.get(check, [])), key=GRADES.index, default="good")


usual = {}


def judge(name, check, verdict, word, also=(), **how):
    """With something broken: that check has this verdict and a cure, its text has the word, and no other check (but for those named)
    differs from the usual."""
    global failed
    found, status = doctor(**how)
    wrong = []
    if grade(found, check) != verdict:
        wrong.append("the verdict is %s, not %s" % (grade(found, check), verdict))
    texts = [f for f in found.get(check, []) if f["verdict"] == verdict]
    if not any(word in f["text"] for f in texts):
        wrong.append("no %r in %s" % (word, texts))
    if verdict in ("warning", "bad"):
        wrong += ["no cure for %r" % f["text"] for f in texts if not f.get("cure")]
        if status != {"warning": 1, "bad": 2}[max(verdict, *(grade(found, c) for c in found), key=GRADES.index)]:
            wrong.append("status %d" % status)
    # The last one follows from the others.
    wrong += ["%s is %s as well: %s" % (c, grade(found, c), found[c]) for c in found
              if c not in (check, "failover", "peer", *also) and grade(found, c) != grade(usual, c)]
    failed |= bool(wrong)
    print("not ok doctor.%s: %s" % (name, "; ".join(wrong)) if wrong else "ok doctor." + name, flush=True)
    if "SHOW" in os.environ:
        for f in texts:
            print("   %s: %s: %s%s" % (f["verdict"], check, f["text"], ": " + f["cure"] if f.get("cure") else ""))


def configure(arbiter, replace=("", "")):
    write("web.conf", (CONF % {"guest": guest, "work": work, "arbiter": arbiter}).replace(*replace, 1))


def listens(at):
    for _ in range(3000):
        try:
            socket.create_connection(at, 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise SystemExit("nobody listens at %s:%d" % at)


def main():
    global usual
    os.mkdir("/run/twinstep", 0o700)  # as tmpfiles.d makes it
    sh(twinstep, "keygen", path("key"))
    witness = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", twinstep, "arbiter", "serve", path("witness"), "--listen", "127.0.0.4:7790",
                                "--key-file", path("key")], stderr=subprocess.DEVNULL)
    listens(("127.0.0.4", 7790))
    arbiter = "witness:127.0.0.4:7790/web,key=" + path("key")
    sh(twinstep, "arbiter", "init", arbiter)
    configure(arbiter)
    # The other host: something that takes connections.
    beta = socket.socket()
    beta.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    beta.bind(("127.0.0.3", 7777))
    beta.listen(1000)
    usual, _ = doctor()
    judge("arbiter-good", "arbiter", "good", "answers within")
    judge("clock-good", "clock", "good", "synchronized")
    judge("link-good", "link", "good", "none of 20 lost")
    judge("clock", "clock", "warning", "not synchronized", clock="bad")
    judge("limits", "limits", "warning", "256 open files", files=256)
    if os.path.exists(CLOCK):
        sh("mount", "--bind", write("hpet", "hpet\n"), CLOCK)
        judge("clock-source", "clock-source", "warning", "hpet")
        sh("umount", CLOCK)
    os.chmod(path("key"), 0o640)
    found, status = doctor()
    os.chmod(path("key"), 0o600)
    key = [f["text"] for c in found for f in found[c] if f["verdict"] == "bad" and "0640" in f["text"] and f.get("cure")]
    print("ok doctor.key-mode" if key and status == 2 else "not ok doctor.key-mode: status %d, %s" % (status, found))
    sh("nft", "add table inet lost; add chain inet lost in { type filter hook input priority 0; policy accept; }; "
       "add rule inet lost in ip daddr 127.0.0.3 tcp dport 7777 tcp flags & (syn|ack) == syn numgen inc mod 4 == 1 drop")
    judge("loss", "link", "warning", "of 20 connections got no answer")
    sh("nft", "delete table inet lost")
    sh("nft", "add table inet cut; add chain inet cut in { type filter hook input priority 0; policy accept; }; "
       "add rule inet cut in ip daddr 127.0.0.3 drop")
    judge("silence", "link", "bad", "does not answer at 127.0.0.3:7777")
    sh("nft", "delete table inet cut")
    relay = subprocess.Popen([sys.executable, "tests/pair/relay.py", "stream", "7801", "127.0.0.4:7790", "1e9", "60"])
    listens(("127.0.0.1", 7801))
    configure("witness:127.0.0.1:7801/web,key=" + path("key"), ("timeout = 3000", "timeout = 100"))
    judge("arbiter-slow", "arbiter", "warning", "answers within", also=("link",))
    relay.kill()
    relay.wait()
    configure("witness:127.0.0.5:7790/web,key=" + path("key"))
    judge("arbiter-gone", "arbiter", "bad", "127.0.0.5:7790")
    configure(arbiter, ("memory = 64M", "memory = 64M\nengine = vmx"))
    if grade(usual, "vt-x") == "note":
        judge("engine", "engine", "bad", "engine = vmx, and that cannot be used here")
    configure(arbiter)
    if grade(usual, "vt-x") == "note":
        judge("vt-x", "vt-x", "note", "not usable")
    os.makedirs(path("class/infiniband/mlx5_0"))
    sh("mount", "--bind", path("class"), "/sys/class")
    judge("rdma", "rdma", "note", "devices: mlx5_0")
    sh("umount", "/sys/class")
    sh("mount", "-t", "tmpfs", "-o", "size=1m", "none", "/var/lib")
    judge("space", "space", "bad", "MiB are free at /var/lib")
    sh("umount", "/var/lib")
    machine = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", twinstep, "run", "--kernel", guest + "/vmlinuz", "--initrd", guest + "/initramfs",
                                "--memory", "128M", "--console", "none", "--append", 'console=ttyS0 twinstep.run="while :; do sleep 9; done"'],
                               stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not json.loads(subprocess.run([twinstep, "host", "--json"], capture_output=True, text=True).stdout)["machines"]:
        time.sleep(0.05)
    sh(twinstep, "host", "--limit", "64M")
    judge("memory", "memory", "warning", "are promised")
    machine.kill()
    machine.wait()
    witness.kill()
    witness.wait()
    return failed or not key or status != 2


if __name__ == "__main__":
    sys.exit(main())
