#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The units under a systemd that is process 1: two hosts are a Debian of `twinstep image make`, each with namespaces and a
systemd of its own, the package of `make deb`, and a guest that counts; one has a witness as well. On demand, as root.

    make deb && tests/soak/systemd.py [STEP...]

The disk stays in build/systemd-hosts for the next time."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.abspath(__file__)
os.chdir(os.path.join(os.path.dirname(HERE), "../.."))
BUILD = os.environ.get("BUILD", "build")
DIR = os.path.abspath(BUILD + "/systemd-hosts")
PATIENCE = 300  # seconds for what takes a moment on a host that is not busy
ADDRESS = {"alpha": "10.9.0.1", "beta": "10.9.0.2"}
CONF = """kernel = /srv/vmlinuz
initrd = /srv/initramfs
append = console=ttyS0 quiet nokaslr mitigations=off cryptomgr.notests twinstep.run="i=0; while sleep 1; do i=$((i+1)); echo kept $i; done"
memory = 128M
net = tap:web0
arbiter = witness:10.9.0.2:7790/web,key=/etc/twinstep/web.key
key-file = /etc/twinstep/web.key
timeout = 10000
hang-timeout = 20000
[host alpha]
listen = 10.9.0.1:7777
[host beta]
listen = 10.9.0.2:7777
"""


class Failure(Exception):
    pass


def sh(*args):
    done = subprocess.run(args, capture_output=True, text=True)
    if done.returncode:
        raise Failure("%s: %s" % (args[0], done.stderr.strip()[-300:]))
    return done.stdout


def make_disk():
    """A Debian with systemd and what the package depends on."""
    os.makedirs(DIR, exist_ok=True)
    if os.path.exists(DIR + "/disk.img"):
        return
    needs = sh("dpkg-deb", "-f", deb(), "Depends") + ", libmicrohttpd12, libcurl4"
    packages = sorted({re.match(r"[a-z0-9.+-]+", x.strip()).group() for x in needs.split(",")})
    print("# makes a disk (minutes)", flush=True)
    sh(BUILD + "/twinstep", "image", "make", DIR + "/disk.img", *packages)


def deb():
    found = [f for f in os.listdir(BUILD + "/deb") if re.fullmatch(r"twinstep_[^_]*_amd64\.deb", f)] if os.path.isdir(BUILD + "/deb") else []
    if not found:
        raise Failure("no package in %s/deb: make deb" % BUILD)
    return "%s/deb/%s" % (BUILD, found[0])


BOOT = """set -e
hostname %(name)s
cd %(root)s
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm dev/net
mknod dev/null c 1 3
mknod dev/console c 1 3
mknod dev/zero c 1 5
mknod dev/full c 1 7
mknod dev/random c 1 8
mknod dev/urandom c 1 9
mknod dev/tty c 5 0
mknod dev/net/tun c 10 200
chmod 666 dev/null dev/zero dev/full dev/random dev/urandom dev/tty
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs tmpfs dev/shm
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mkdir run/old
pivot_root . run/old
exec env -i container=twinstep PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . \\
  sh -c 'umount -l /run/old && mount --make-rshared / && exec /lib/systemd/systemd --log-target=journal </dev/null >/dev/null 2>&1'
"""
GROUPS = next((g for g in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup") if os.path.exists(g + "/cgroup.procs")), None)


class Host:
    """A Debian with namespaces of its own, whose process 1 is its systemd."""

    def __init__(self, name, work):
        self.name, self.root, self.proc = name, "%s/%s/root" % (work, name), None
        self.group = "%s/twinstep-test-%d-%s" % (GROUPS, os.getpid(), name)
        for d in "root", "upper", "work":
            os.makedirs("%s/%s/%s" % (work, name, d))
        sh("mount", "-t", "overlay", "overlay", "-o", "lowerdir=%s/lower,upperdir=%s/%s/upper,workdir=%s/%s/work" % (work, work, name, work, name), self.root)
        os.unlink(self.root + "/etc/fstab")
        self.write("/etc/hostname", name + "\n", 0o644)
        sh("systemctl", "--root", self.root, "-q", "mask", "serial-getty@ttyS0.service", "console-getty.service", "ssh.service",
           "systemd-networkd.service", "systemd-networkd.socket", "systemd-networkd-wait-online.service")

    def boot(self):
        os.makedirs(self.group, exist_ok=True)
        inside = 'echo $$ >%s/cgroup.procs && exec unshare --mount --uts --ipc --net --pid --cgroup --fork --kill-child sh -c "$1"' % self.group
        self.proc = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "sh", "-c", inside, "sh", BOOT % vars(self)], stdin=subprocess.DEVNULL,
                                     stderr=open(os.path.dirname(self.root) + "/boot.log", "a"))
        wait(lambda: self.call("systemctl is-system-running", good=False) in ("running", "degraded"),
             lambda: "%s does not boot: %s" % (self.name, open(os.path.dirname(self.root) + "/boot.log").read()))

    def init(self):
        """Its process 1, as it is called here."""
        with open("/proc/%d/task/%d/children" % (self.proc.pid, self.proc.pid)) as f:
            children = f.read().split()
        return children[0] if children else None

    def crash(self):
        """Without a word, as when a host loses its power."""
        init = self.init()
        if init:
            os.kill(int(init), 9)
        self.proc.wait()

    def call(self, command, good=True):
        init = self.init()
        if not init:
            return ""
        done = subprocess.run(["nsenter", "-a", "-r", "-w", "-t", init, "sh", "-c", command], capture_output=True, text=True,
                              timeout=PATIENCE, stdin=subprocess.DEVNULL, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        if good and done.returncode:
            said = self.call("journalctl -n 8 -o cat", good=False) if "systemctl" in command else ""
            raise Failure("%s: %s: %s %s" % (self.name, command, (done.stderr or done.stdout).strip()[-500:], said))
        return done.stdout.strip()

    def write(self, path, text, mode=0o600):
        with open(self.root + path, "w") as f:
            f.write(text)
        os.chmod(self.root + path, mode)

    def show(self, unit, *properties):
        text = self.call("systemctl show %s -p %s" % (unit, ",".join(properties)))
        return dict(line.split("=", 1) for line in text.splitlines())

    def status(self):
        try:
            return json.loads(self.call("twinstep status web --json", good=False))
        except ValueError:
            return {}

    def events(self):
        """Of the guest, as the journal has them in fields."""
        return [json.loads(line) for line in self.call("journalctl -o json TWINSTEP_GUEST=web", good=False).splitlines()]

    def close(self):
        if self.proc:
            self.crash()
        sh("umount", "-l", self.root)
        subprocess.run(["find", self.group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"], stderr=subprocess.DEVNULL)


def wait(what, why, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise Failure(why() if callable(why) else why)
        time.sleep(1)


class Test:
    def __init__(self):
        self.work = tempfile.mkdtemp(prefix="twinstep-systemd-")
        self.hosts = {}
        os.mkdir(self.work + "/lower")
        sh("mount", "-o", "loop,ro,offset=%d" % (2048 * 512), DIR + "/disk.img", self.work + "/lower")
        try:
            self.hosts = {name: Host(name, self.work) for name in ADDRESS}
            self.alpha, self.beta = self.hosts.values()
        except BaseException:
            self.close()
            raise

    def wire(self):
        """The two are on one wire, as long as both run."""
        sh("ip", "link", "add", "wa", "type", "veth", "peer", "name", "wb")
        for end, h in zip(("wa", "wb"), self.hosts.values()):
            sh("ip", "link", "set", end, "netns", h.init(), "name", "wire")
            h.call("ip addr add %s/24 dev wire && ip link set wire up" % ADDRESS[h.name])

    def sides(self):
        """(live one, the other) once the pair is protected."""
        states = {}

        def protected():
            for h in self.hosts.values():
                states[h] = h.status().get("state")
            return sorted(map(str, states.values())) == ["backup", "protected"]
        wait(protected, lambda: "not protected: %s" % {h.name: (s, h.call("journalctl -u twinstep@web -n 6 -o cat", good=False)) for h, s in states.items()})
        return sorted(self.hosts.values(), key=lambda h: states[h] != "protected")

    def expect(self, good, why):
        if not good:
            raise Failure(why)

    # ---- steps, in this order ----

    def install(self):
        """Both hosts boot and take the package; process 1 is systemd, and finds no fault with the units."""
        for h in self.hosts.values():
            h.boot()
        self.wire()
        for h in self.hosts.values():
            shutil.copy(deb(), h.root + "/root/twinstep.deb")
            for f in "vmlinuz", "initramfs":
                shutil.copy(BUILD + "/guest/" + f, h.root + "/srv/" + f)
            h.call("dpkg -i /root/twinstep.deb")
            self.expect(h.call("cat /proc/1/comm") == "systemd", "process 1 is no systemd")
            said = h.call("systemd-analyze verify --man=no twinstep@web.service twinstep-arbiter.service twinstep-exporter.service twinstep.target "
                          "2>&1 | grep twinstep", good=False)
            self.expect(not said, said)
        return self.alpha.call("systemctl --version | head -n 1")

    def start(self):
        """The witness' unit, then the guest's on both hosts: ready, protected, in its slice, with its tap."""
        self.alpha.call("twinstep keygen /etc/twinstep/web.key")
        key = self.alpha.call("cat /etc/twinstep/web.key") + "\n"
        self.beta.write("/etc/twinstep/web.key", key)
        self.beta.write("/etc/twinstep/arbiter.key", key)
        for h in self.hosts.values():
            h.write("/etc/twinstep/web.conf", CONF)
        self.beta.call("systemctl enable --now twinstep-arbiter")
        witness = self.beta.show("twinstep-arbiter", "ActiveState", "User", "Type")
        self.expect(witness["ActiveState"] == "active" and witness["User"] == "_twinstep", witness)
        self.alpha.call("twinstep arbiter init witness:10.9.0.2:7790/web,key=/etc/twinstep/web.key")
        self.alpha.call("twinstep check-config web")
        for h in self.hosts.values():
            h.call("systemctl enable --now twinstep.target twinstep@web")
            unit = h.show("twinstep@web", "ActiveState", "SubState", "Type", "ControlGroup", "NRestarts", "WatchdogUSec")
            self.expect((unit["ActiveState"], unit["SubState"], unit["Type"]) == ("active", "running", "notify"), unit)
            self.expect(unit["ControlGroup"].startswith("/twinstep.slice/") and unit["WatchdogUSec"] == "30s", unit)
        live, backup = self.sides()
        for h in live, backup:
            self.expect("twinstep:web" in h.call("ip -d link show web0"), "no tap of the guest's")
            said = h.show("twinstep@web", "StatusText")["StatusText"]
            self.expect(("live" if h is live else "backup") in said, "%s says %r" % (h.name, said))
        return "live on %s; %s" % (live.name, live.show("twinstep@web", "StatusText")["StatusText"])

    def journal(self):
        """Events are in the journal, with fields; no complaint of the jail."""
        live, _ = self.sides()
        kinds = [e.get("TWINSTEP_EVENT") for e in live.events()]
        self.expect("protected" in kinds and "role" in kinds, "events in the journal: %s" % kinds)
        event = next(e for e in live.events() if e["TWINSTEP_EVENT"] == "protected")
        self.expect(event.get("MESSAGE") and event.get("_SYSTEMD_UNIT") == "twinstep@web.service", "a field is missing: %s" % event)
        said = live.call("journalctl -u twinstep@web -o cat | grep -i 'jail goes without'", good=False)
        return "%s%s" % (", ".join(sorted(set(kinds))), "; " + said if said else "")

    def exporter(self):
        """The exporter's unit shows the guest."""
        live, _ = self.sides()
        live.call("systemctl enable --now twinstep-exporter")
        said = live.call("python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:9177/metrics\").read().decode())' | grep -E '_(live|protected).*web'")
        self.expect('live{guest="web"} 1' in said and 'protected{guest="web"} 1' in said, said)
        return said.replace("\n", ", ")

    def stopped(self):
        """systemctl stop on the live host leaves the guest to the other one; start rejoins."""
        live, backup = self.sides()
        live.call("systemctl stop twinstep@web")
        unit = live.show("twinstep@web", "ActiveState", "Result")
        self.expect(unit == {"ActiveState": "inactive", "Result": "success"}, unit)
        wait(lambda: backup.status().get("live"), "the other host has not gone on")
        live.call("systemctl start twinstep@web")
        self.expect(self.sides()[0] is backup, "another one is live")
        return "%s went on" % backup.name

    def watchdog(self):
        """`up` is frozen: systemd hears nothing for WatchdogSec, ends it, and what it starts again rejoins; the guest goes on."""
        live, backup = self.sides()
        pid = live.show("twinstep@web", "MainPID")["MainPID"]
        live.call("kill -STOP %s" % pid)
        wait(lambda: live.show("twinstep@web", "NRestarts")["NRestarts"] != "0", "systemd has not started it again")
        self.expect(re.search("(?i)watchdog timeout", live.call("journalctl -u twinstep@web -n 60 -o cat")), "not by the watchdog")
        now, _ = self.sides()
        self.expect(now is backup, "another one is live")
        return "killed after its 30 s, %s went on, rejoined" % backup.name

    def hang(self):
        """A vCPU that hangs, and no backup to take over: WATCHDOG=1 stops with its beat, and systemd starts it again."""
        live, backup = self.sides()
        backup.call("systemctl stop twinstep@web")
        wait(lambda: live.status().get("state") == "alone", "not alone")
        before = live.show("twinstep@web", "NRestarts", "MainPID")
        live.call("python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.connect(\"/run/twinstep/web.sock\"); "
                  "s.sendall(b\"{\\\"command\\\":\\\"fault\\\",\\\"kind\\\":\\\"hang\\\",\\\"ms\\\":3600000}\\n\"); print(s.recv(1000))'")
        wait(lambda: live.show("twinstep@web", "NRestarts", "MainPID")["MainPID"] not in (before["MainPID"], "0"), "systemd has not started it again")
        self.expect(re.search("(?i)watchdog timeout", live.call("journalctl -u twinstep@web -n 60 -o cat")), "not by the watchdog")
        wait(lambda: live.status().get("live"), "not live again")
        backup.call("systemctl start twinstep@web")
        self.sides()
        return "started again, protected again"

    def target(self):
        """The target stops and starts all guests of a host; a protected one goes on at the other."""
        live, backup = self.sides()
        live.call("systemctl stop twinstep.target")
        wait(lambda: live.show("twinstep@web", "ActiveState")["ActiveState"] == "inactive", "the guest's unit still runs")
        wait(lambda: backup.status().get("live"), "the other host has not gone on")
        live.call("systemctl start twinstep.target")
        self.expect(self.sides()[0] is backup, "another one is live")
        return "%s went on" % backup.name

    def killed(self):
        """All processes of the unit are killed; what systemd starts again rejoins."""
        live, backup = self.sides()
        live.call("systemctl kill -s KILL twinstep@web")
        self.expect(self.sides()[0] is backup, "another one is live")
        return "%s went on" % backup.name

    def back(self, live, backup):
        """A host that is down comes back, with nobody to type a command."""
        wait(lambda: backup.status().get("live"), "the other host has not gone on")
        live.boot()
        self.wire()
        self.expect(self.sides()[0] is backup, "another one is live")
        return "%s went on, %s came back as its backup" % (backup.name, live.name)

    def not_the_witness(self):
        live, backup = self.sides()
        if live is self.beta:
            live.call("twinstep switch web")
        return self.sides()

    def reboot(self):
        live, backup = self.not_the_witness()
        live.call("systemctl reboot", good=False)
        live.proc.wait(PATIENCE)
        return self.back(live, backup)

    def crash(self):
        live, backup = self.not_the_witness()
        live.crash()
        return self.back(live, backup)

    STEPS = install, start, journal, exporter, stopped, watchdog, killed, hang, target, reboot, crash

    def close(self):
        for h in self.hosts.values():
            h.close()
        sh("umount", "-l", self.work + "/lower")
        shutil.rmtree(self.work, ignore_errors=True)


def main():
    if os.getuid():
        print("skip systemd.all: needs root")
        return 0
    for tool in "mmdebstrap", "dpkg-deb", "nsenter":
        if not shutil.which(tool):
            print("skip systemd.all: %s is not installed" % tool)
            return 0
    if not GROUPS:
        print("skip systemd.all: there is no cgroup v2")
        return 0
    make_disk()
    if os.environ.get("TWINSTEP_TEST_INSIDE") != "1":
        os.execvpe("unshare", ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, HERE, *sys.argv[1:]],
                   dict(os.environ, TWINSTEP_TEST_INSIDE="1"))
    test, failed = Test(), 0
    try:
        for step in Test.STEPS:
            if step.__name__ in ("install", "start") or not sys.argv[1:] or step.__name__ in sys.argv[1:]:
                print("ok systemd.%s: %s" % (step.__name__, step(test)), flush=True)
    except (Failure, OSError, ValueError, KeyError, StopIteration, subprocess.SubprocessError) as e:
        print("not ok systemd.%s: %s" % (step.__name__, e), flush=True)
        failed = 1
    finally:
        test.close()
    return failed


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as e:
        sys.exit("not ok systemd.all: %s" % e)
