#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A whole Debian from its own disk.

    tests/soak/debian.py boot DISK [--side twinstep,tcg,icount] [--minutes 10]
        Beside QEMU's TCG: how long until its root shell, whether all units have started, errors of the kernel that QEMU's
        does not have; the guest's clock over so many minutes, a reboot, a power-off.
    tests/soak/debian.py record DISK --key KEY [--minutes 2]
        A recording of a login by ssh, a package that apt installs and a load on PostgreSQL, replayed.

DISK is not written to. It was made by `KEY=KEY.pub ADDRESS=10.77.0.2/24 twinstep image make DISK postgresql nginx-light`,
without PASSWORD, so that root is logged in on the serial console. Needs root. debian_pair.py has the same disk in a pair."""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

BUILD = os.environ.get("BUILD", "build")
TWINSTEP = BUILD + "/twinstep"
PROMPT = rb"root@[a-z0-9-]+:~# "
PATIENCE = 1800  # seconds, on any host
GUEST_IP = "10.77.0.2"
TAP = "debian0"
MACHINE = ["--memory", "1G", "--console", "stdio", "--clock", "host", "--net", "tap:" + TAP]
QEMU = ["qemu-system-x86_64", "-accel", "tcg", "-M", "pc", "-cpu", "max", "-m", "1024", "-nodefaults", "-display", "none",
        "-serial", "stdio", "-device", "virtio-rng-pci", "-snapshot", "-netdev",
        "tap,id=n,script=no,downscript=no,ifname=" + TAP, "-device", "virtio-net-pci,netdev=n"]
failed = False


def result(name, good, why=""):
    global failed
    failed |= not good
    print("ok debian.%s" % name if good else "not ok debian.%s: %s" % (name, why), flush=True)


def command(side, disk):
    if side == "twinstep":
        return [TWINSTEP, "run", "--no-jail", "--disk", disk + ",overlay", *MACHINE]
    qemu = QEMU + ["-drive", "file=%s,format=raw,if=virtio" % disk]
    return qemu + (["-icount", "shift=1"] if side == "icount" else [])


class Guest:
    """A machine whose serial console is at its standard input and output."""

    def __init__(self, cmd):
        self.seen, self.console, self.errors = b"", b"", tempfile.TemporaryFile()
        self.cond = threading.Condition()
        self.start = time.monotonic()
        self.proc = subprocess.Popen(cmd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, bufsize=0)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while data := self.proc.stdout.read(65536):
            with self.cond:
                self.console += data
                self.seen += data
                self.cond.notify()
        with self.cond:
            self.seen += b"\nEND-OF-CONSOLE\n"
            self.cond.notify()

    def wait(self, pattern):
        """What came before the pattern, which is taken away with it."""
        found = None

        def there():
            nonlocal found
            found = re.search(pattern, self.seen)
            return found or b"END-OF-CONSOLE" in self.seen
        with self.cond:
            self.cond.wait_for(there, PATIENCE)
            if not found:
                self.errors.seek(0)
                raise RuntimeError("%r was not seen: %s %s" % (pattern, self.seen[-300:], self.errors.read()[-300:]))
            before = self.seen[:found.start()]
            self.seen = self.seen[found.end():]
        return before.decode(errors="replace")

    def say(self, line):
        self.proc.stdin.write(line.encode() + b"\n")

    def ask(self, line):
        """The lines that a command writes. The shell's echo has no mark in it, because of the quotes; before what a command
        writes the shell may switch the terminal's modes."""
        self.say("echo BEG''IN; %s; echo E''ND" % line)
        self.wait(rb"[\r\n]BEGIN\r*\n")
        text = self.wait(rb"(?:^|\n)END\r*\n").replace("\r", "")
        self.wait(PROMPT)
        return [s for s in text.split("\n") if s]

    def running(self):
        """What systemd says when it is done, and the units that have failed. The kernel keeps off the console."""
        self.ask("dmesg -n 1")
        return (self.ask("systemctl is-system-running --wait"), self.ask("systemctl --failed --no-legend --plain"))

    def cpu(self):
        with open("/proc/%d/stat" % self.proc.pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def clock(self):
        """The guest's clock less the host's, and by how much that may be wrong: the quickest answer of twenty."""
        best = None
        for _ in range(20):
            before = time.time()
            self.say("echo CLO''CK=$EPOCHREALTIME")
            self.wait(rb"[\r\n]CLOCK=")
            after = time.time()
            guest = float(self.wait(rb"\r*\n"))
            self.wait(PROMPT)
            if best is None or (after - before) / 2 < best[1]:
                best = (guest - (before + after) / 2, (after - before) / 2)
        return best

    def power_off(self):
        self.say("systemctl poweroff")
        return self.proc.wait(PATIENCE)

    def close(self):
        self.proc.kill()
        self.proc.wait()


# ---- beside QEMU ----

def look(side, disk):
    """Boots it, prints what was measured; returns the running guest and its kernel's errors."""
    guest = Guest(command(side, disk))
    guest.wait(PROMPT)
    wall, cpu = time.monotonic() - guest.start, guest.cpu()
    state, units = guest.running()
    all_wall, all_cpu = time.monotonic() - guest.start, guest.cpu()
    errors = guest.ask("dmesg -t -l emerg,alert,crit,err")
    print("%-9s shell after %6.1f s (%6.1f CPU s), all units after %6.1f s (%6.1f CPU s); %s; %d errors in dmesg" % (
        side, wall, cpu, all_wall, all_cpu, " ".join(state), len(errors)), flush=True)
    if side == "twinstep":
        result("running", state == ["running"], "%s %s" % (state, units))
        result("failed", not units, units)
    return guest, errors


def look_at_clock(guest, minutes):
    first, wrong = guest.clock()
    time.sleep(60 * minutes)
    last, also_wrong = guest.clock()
    print("clock     %+.1f ms in %g minutes, known to %.1f ms; at first %+.1f ms from the host's" % (
        (last - first) * 1e3, minutes, (wrong + also_wrong) * 1e3, first * 1e3), flush=True)
    result("clock", abs(last - first) + wrong + also_wrong < 0.05, "%.3f s" % (last - first))


def look_further(guest, minutes):
    """The parts that are ours alone."""
    for unit in guest.ask("systemctl is-active ssh postgresql nginx systemd-networkd"):
        result("active", unit == "active", unit)
    look_at_clock(guest, minutes)
    guest.say("systemctl reboot")
    guest.wait(rb"reboot: Restarting system")
    guest.wait(PROMPT)
    state, units = guest.running()
    result("reboot", state == ["running"] and not units, "%s %s" % (state, units))
    result("poweroff", guest.power_off() == 0, "status %s" % guest.proc.returncode)


def boot(a):
    errors = {}
    for side in a.side.split(","):
        guest, errors[side] = look(side, a.disk)
        try:
            if side == "twinstep":
                look_further(guest, a.minutes)
        finally:
            guest.close()
    others = [set(e) for s, e in errors.items() if s != "twinstep"]
    if others and "twinstep" in errors:
        own = set(errors["twinstep"]) - set.union(*others)
        result("dmesg", not own, "; ".join(own))


# ---- a recording ----

def ssh_words(key):
    return ["ssh", "-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
            "-o", "ConnectTimeout=60", "-o", "ServerAliveInterval=60", "root@" + GUEST_IP]


def make_package(work):
    root = work + "/package"
    os.makedirs(root + "/DEBIAN")
    os.makedirs(root + "/usr/share/twinstep-probe")
    with open(root + "/DEBIAN/control", "w") as f:
        f.write("Package: twinstep-probe\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: a file\n")
    with open(root + "/usr/share/twinstep-probe/file", "w") as f:
        f.write("installed\n")
    subprocess.run(["dpkg-deb", "-Zxz", "-b", root, work + "/probe.deb"], check=True, stdout=subprocess.DEVNULL)
    return work + "/probe.deb"


def session(work, key, minutes):
    """What somebody does by ssh, and what shows that it was done."""
    ssh = ssh_words(key)

    def there(line, stdin=None):
        done = subprocess.run(ssh + [line], stdin=stdin, capture_output=True, text=True, timeout=PATIENCE)
        return done.stdout + ("" if done.returncode == 0 else " status %d: %s" % (done.returncode, done.stderr[-300:]))
    result("ssh", there("hostname; id -un") == "twinstep\nroot\n", "another answer")
    with open(make_package(work), "rb") as deb:
        there("cat >/root/probe.deb", deb)
    text = there("apt-get install -qy /root/probe.deb >/dev/null && cat /usr/share/twinstep-probe/file")
    result("apt", text == "installed\n", text)
    there("su postgres -c 'pgbench -q -i -s 1 postgres'")
    text = there("su postgres -c 'pgbench -c 4 -T %d postgres'" % (60 * minutes))
    found = re.search(r"number of failed transactions: 0 .*\n(?:.*\n)*tps = ([0-9.]+)", text)
    result("postgres", found, text)
    print("postgres  %s transactions a second" % (found[1] if found else "no"), flush=True)
    text = there("wget -qO- http://127.0.0.1/ 2>/dev/null || curl -s http://127.0.0.1/ || exec 3<>/dev/tcp/127.0.0.1/80 && "
                 "printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3")
    result("nginx", "nginx" in text, text)


def record(a):
    with tempfile.TemporaryDirectory(prefix="twinstep-debian-", dir=os.path.dirname(os.path.abspath(a.disk))) as work:
        log = work + "/log"
        guest = Guest([TWINSTEP, "record", "-o", log, "--disk", a.disk + ",overlay", *MACHINE])
        try:
            guest.wait(PROMPT)
            guest.running()
            session(work, a.key, a.minutes)
            result("recorded", guest.power_off() == 0, "status %s" % guest.proc.returncode)
        finally:
            guest.close()
        guest.reader.join()
        seconds = time.monotonic() - guest.start
        print("recorded  %.0f s, %.1f MB" % (seconds, os.path.getsize(log) / 1e6), flush=True)
        start = time.monotonic()
        done = subprocess.run([TWINSTEP, "replay", log, "--console", work + "/console"], capture_output=True, text=True)
        print("replayed  %.0f s; %s" % (time.monotonic() - start, (done.stdout + done.stderr).strip().split("\n")[-1]), flush=True)
        result("replay", done.returncode == 0, "status %d: %s" % (done.returncode, done.stderr[-300:]))
        with open(work + "/console", "rb") as f:
            result("console", f.read() == guest.console, "the replay wrote another text")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("what", choices=["boot", "record"])
    p.add_argument("disk")
    p.add_argument("--key", help="the private half of the key that the disk was made with")
    p.add_argument("--minutes", type=float)
    p.add_argument("--side", default="twinstep,tcg,icount")
    a = p.parse_args()
    if a.what == "record" and not a.key:
        p.error("record needs --key")
    if os.environ.get("TWINSTEP_TEST_INSIDE") != "1":
        os.environ["TWINSTEP_TEST_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])
    for words in ("tuntap add %s mode tap", "addr add 10.77.0.1/24 dev %s", "link set %s up"):
        subprocess.run(["ip"] + (words % TAP).split(), check=True)
    if a.minutes is None:
        a.minutes = 10 if a.what == "boot" else 2
    {"boot": boot, "record": record}[a.what](a)
    sys.exit(failed)


if __name__ == "__main__":
    main()
