# SPDX-License-Identifier: GPL-2.0-or-later
"""Two hosts whose replicas are started by `twinstep up` alone, always with the same command, by a supervisor that starts it
again whenever it has ended: replicas, `up` itself, one host's whole set of processes or both hosts' are killed at random.
At most one replica is live at any time, the guest never sees older data than it has shown, and the pair is protected again.

    tests/pair/pair.sh up.py [--count N] [--seed S] [--kinds KIND,...] [--witness] [--seen]

A host is a host name (UTS namespace) with /run and /var/lib of its own (mount namespace), and a loopback address."""
import argparse
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../e2e"))
from browser import Browser  # noqa: E402
from rig import PATIENCE, BUILD, MACHINE, Failure, TWINSTEP, other, read_events, sh  # noqa: E402

ADDRESS = {"a": "127.0.0.2:7777", "b": "127.0.0.3:7777"}  # of a host's replica
# Counts on its disk, and says so when the count is on stable storage.
GUEST = ("i=$(dd if=/dev/vda bs=512 count=1 2>/dev/null | tr -dc 0-9); echo boot ${i:-0}; "
         "while :; do i=$((i+1)); printf %512d $i | dd of=/dev/vda bs=512 conv=fsync,notrunc 2>/dev/null && echo kept $i; done")
CONF = """# written by a test
kernel = %(build)s/guest/vmlinuz
initrd = %(build)s/guest/initramfs
append = console=ttyS0 %(words)squiet nokaslr mitigations=off cryptomgr.notests twinstep.run="%(guest)s"
memory = 128M
machine = %(machine)s
arbiter = %(arbiter)s
key-file = %(dir)s/key
timeout = %(timeout)s

[host hosta]
listen = %(a)s
disk = %(dir)s/a/disk.img

[host hostb]
listen = %(b)s
disk = %(dir)s/b/disk.img
"""


class Host(threading.Thread):
    """Supervises `twinstep up`: starts it again whenever it has ended, while it is wanted."""
    program = TWINSTEP

    def __init__(self, letter, directory, conf):
        super().__init__(daemon=True)
        self.letter, self.dir, self.conf = letter, directory, conf
        for sub in ("run", "lib"):
            os.makedirs("%s/%s" % (directory, sub))
        os.mkdir(directory + "/run/twinstep", 0o700)
        self.wanted, self.delay, self.proc, self.starts = True, 0.1, None, 0
        self.lock = threading.Lock()
        self.last = {}

    def command(self, *args):
        inner = ("hostname host%s && mount --bind %s/run /run && mount --bind %s/lib /var/lib && exec \"$@\""
                 % (self.letter, self.dir, self.dir))
        return ["unshare", "--uts", "--mount", "sh", "-c", inner, "sh", *args]

    def call(self, *args, timeout=PATIENCE):
        return subprocess.run(self.command(self.program, *args), capture_output=True, text=True, timeout=timeout)

    def begin(self, *args):
        return subprocess.Popen(self.command(self.program, *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self):
        while self.wanted:
            with self.lock:
                self.proc = subprocess.Popen(
                    self.command("setpriv", "--pdeathsig", "KILL", self.program, "up", self.conf), stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=open(self.dir + "/log", "a"))
                self.starts += 1
            self.proc.wait()
            time.sleep(self.delay)

    def state(self):
        """What the file of `up` says; {} when it does not run."""
        try:
            with open(self.dir + "/run/twinstep/web/state") as f:
                return json.load(f)
        except (OSError, ValueError):
            return {}

    def status(self):
        import socket
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(PATIENCE)
                s.connect(self.dir + "/run/twinstep/web.sock")
                s.sendall(b'{"command":"status"}\n')
                answer = b""
                while not answer.endswith(b"\n"):
                    got = s.recv(65536)
                    if not got:
                        return {}
                    answer += got
            return json.loads(answer)
        except OSError:
            return {}

    def events(self):
        return read_events(self.dir + "/lib/twinstep/web/events")

    def kill(self, what):
        """Returns when what was killed has ended; with `up` its replica ends."""
        with self.lock:
            pid = self.state().get("replica", 0)
            victims = [pid] if what == "replica" else [self.proc.pid] if what == "up" else [self.proc.pid, pid]
            ends = [pid] if what == "replica" else [self.proc.pid, pid]
        for v in victims:
            try:
                if v:
                    os.kill(v, signal.SIGKILL)
            except ProcessLookupError:
                pass
        deadline = time.monotonic() + PATIENCE
        while any(p and alive(p) for p in ends):
            if time.monotonic() > deadline:
                raise Failure("host %s: %s has not ended" % (self.letter, what))
            time.sleep(0.01)

    def stop(self):
        self.wanted = False
        with self.lock:
            if self.proc and self.proc.poll() is None:
                self.proc.kill()
        self.join(PATIENCE)

    def tail(self):
        with open(self.dir + "/log") as f:
            return f.read()[-500:].replace("\n", " | ")


class Console(threading.Thread):
    """Reads a host's console whenever there is one; every count that leaves is seen."""

    def __init__(self, test, host):
        super().__init__(daemon=True)
        self.test, self.host = test, host
        self.start()

    def run(self):
        import socket
        while True:
            try:
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(self.host.dir + "/run/twinstep/web/console")
                    fresh, buf = True, b""
                    while True:
                        got = s.recv(65536)
                        if not got:
                            break
                        buf += got
                        *lines, buf = buf.split(b"\n")
                        for line in lines:
                            self.test.saw(self.host, line.decode(errors="replace").strip(), fresh)
                        fresh = False
            except OSError:
                time.sleep(0.05)


KINDS = ["live", "backup", "both", "live up", "backup up", "replica", "all in turn"]


class Seen(threading.Thread):
    """What a host's exporter, `list` and `top` show, held against its processes: all the time, that nobody is shown as live
    whose process has ended; when the pair is protected, that all of them say what the replica itself says."""

    def __init__(self, test, host):
        super().__init__(daemon=True)
        self.test, self.host, self.looks, self.deaths = test, host, 0, 0
        self.at = ADDRESS[host.letter].replace("7777", "9177")
        self.proc = subprocess.Popen(host.command("setpriv", "--pdeathsig", "KILL", TWINSTEP, "exporter", "--listen", self.at),
                                     stderr=subprocess.DEVNULL)
        self.start()

    def get(self, path):
        with urllib.request.urlopen("http://%s%s" % (self.at, path), timeout=PATIENCE) as r:
            return r.read().decode()

    def machine(self):
        found = [m for m in json.loads(self.get("/api/v1/machines"))["machines"] if m["name"] == "web"]
        return found[0] if found else {}

    def run(self):
        while self.test.running:
            pid = self.host.state().get("replica", 0)
            dead = bool(pid) and not alive(pid)
            try:
                shown = self.machine()
            except (OSError, ValueError):
                time.sleep(0.05)
                continue
            self.looks += 1
            self.deaths += dead
            if dead and shown.get("replica") == pid and shown.get("status", {}).get("live"):
                self.test.wrong = "host %s: process %d has ended, and the exporter shows it as live" % (self.host.letter, pid)
            time.sleep(0.02)

    def compare(self):
        """Of a host whose state does not change now."""
        for _ in range(20):
            before = self.host.status()
            shown = {"exporter": self.machine(), "list": json.loads(self.host.call("list", "--json").stdout)[0],
                     "top": json.loads(self.host.call("top", "--json", "-n", "1").stdout)["machines"][0]}
            metrics = dict(re.findall(r'^twinstep_guest_(\w+){guest="web"} (\S+)$', self.get("/metrics"), re.M))
            after = self.host.status()
            if all(before.get(k) == after.get(k) for k in ("state", "role", "live", "generation")):
                break
        for what, m in shown.items():
            said = {k: m.get("status", {}).get(k) for k in ("state", "role", "live", "generation")}
            if said != {k: before.get(k) for k in said} or not alive(m["replica"]):
                raise Failure("host %s: %s shows %s of process %s, the replica says %s" % (
                    self.host.letter, what, said, m.get("replica"), {k: before.get(k) for k in said}))
        for name, value in (("live", before["live"]), ("generation", before["generation"]), ("up", 1),
                            ("protected", before["state"] in ("protected", "backup"))):
            if float(metrics[name]) != float(value):
                raise Failure("host %s: metric %s is %s, the replica says %s" % (self.host.letter, name, metrics[name], before))
        if "SCREENSHOTS" in os.environ:
            browser = Browser()
            for width in 360, 1000:
                browser.size(width)
                browser.open("http://%s/" % self.at, "document.querySelectorAll('section').length > 0")
                browser.picture("%s/%s-%d.png" % (os.environ["SCREENSHOTS"], self.host.letter, width))
            browser.close()

    def end(self):
        self.proc.kill()
        self.proc.wait()


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def listens_at(address, port):
    """Waits until somebody does."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection((address, port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Test:
    seen = ()

    def __init__(self, seed, kinds, witness, seen=False):
        self.random = random.Random(seed)
        self.kinds = kinds
        self.dir = tempfile.mkdtemp(prefix="twinstep-up-")
        sh("ip", "link", "set", "lo", "up")
        self.witness, arbiter = None, "file:" + self.dir + "/arbiter"
        if witness:
            arbiter = "witness:127.0.0.4:7790/web,key=" + self.dir + "/key"
            sh(TWINSTEP, "keygen", self.dir + "/key")
            self.witness = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", TWINSTEP, "arbiter", "serve", self.dir + "/witness",
                                             "--listen", "127.0.0.4:7790", "--key-file", self.dir + "/key"],
                                            stderr=subprocess.DEVNULL)
            listens_at("127.0.0.4", 7790)
        self.prepare(arbiter, ADDRESS, Host)
        self.seen = [Seen(self, self.hosts[h]) for h in "ab"] if seen else []

    def prepare(self, arbiter, address, host):
        """Configuration, disks, hosts. address: of each host's replica; host: the class of a host."""
        self.highest, self.boots, self.wrong = 0, 0, None
        self.lock = threading.Lock()
        if not os.path.exists(self.dir + "/key"):
            sh(TWINSTEP, "keygen", self.dir + "/key")
        if not arbiter.startswith("etcd:"):  # which needs no preparation
            sh(TWINSTEP, "arbiter", "init", arbiter)
        conf = self.dir + "/web.conf"
        with open(conf, "w") as f:
            f.write(CONF % {"build": os.path.abspath(BUILD), "dir": self.dir, "arbiter": arbiter, "machine": MACHINE, "guest": GUEST,
                            "timeout": os.environ.get("TIMEOUT", "1000"), **address,
                            "words": "acpi=off nolapic noapic " if MACHINE == "1" else ""})
        self.hosts = {h: host(h, self.dir + "/" + h, conf) for h in "ab"}
        for h in "ab":
            with open("%s/%s/disk.img" % (self.dir, h), "wb") as f:
                f.truncate(1 << 20)
        self.running = True

    def saw(self, host, line, fresh):
        """A line of a console. A count may come again in a history, or after a failover; a boot shows what is on the disk."""
        kept, boot = re.fullmatch(r"kept (\d+)", line), re.fullmatch(r"boot (\d+)", line)
        with self.lock:
            if kept:
                self.highest = max(self.highest, int(kept.group(1)))
            if boot and not fresh:
                self.boots += 1
                if int(boot.group(1)) < self.highest:
                    self.wrong = "host %s boots with %s, %d had been shown" % (host.letter, boot.group(1), self.highest)

    def watch(self):
        """Never two live: one that is live before and after another was seen live, in one generation."""
        while self.running:
            one, two, three = (self.hosts[h].status() for h in "aba")
            if one.get("live") and two.get("live") and three.get("live") and one["generation"] == three["generation"]:
                self.wrong = "two are live: a in generation %s, b in %s" % (one["generation"], two["generation"])
            time.sleep(0.02)

    def start(self):
        for h in "ab":
            check = self.hosts[h].call("check-config", self.hosts[h].conf)
            if check.returncode:
                raise Failure("check-config: " + check.stderr)
            self.hosts[h].start()
            Console(self, self.hosts[h])
        threading.Thread(target=self.watch, daemon=True).start()

    def check(self):
        if self.wrong:
            raise Failure(self.wrong)

    def live(self):
        found = [h for h in "ab" if self.hosts[h].status().get("live")]
        return found[0] if len(found) == 1 else None

    def wait_protected(self, what):
        """One is live and protected, and the guest goes on counting."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.check()
            states = [self.hosts[h].status().get("state") for h in "ab"]
            if "protected" in states and "backup" in states:
                break
            time.sleep(0.05)
        else:
            raise Failure("%s: not protected again: %s; a: %s; b: %s" % (
                what, [self.hosts[h].status().get("state") for h in "ab"], self.hosts["a"].tail(), self.hosts["b"].tail()))
        before = self.highest
        while time.monotonic() < end and self.highest <= before:
            self.check()
            time.sleep(0.02)
        if self.highest <= before:
            raise Failure("%s: the guest does not go on after %d" % (what, before))

    def round(self, n):
        kind = self.kinds[n - 1] if self.kinds else self.random.choice(KINDS)
        live = self.live()
        for h in "ab":
            self.hosts[h].delay = self.random.uniform(0, 0.5)
        if kind in ("live", "backup", "live up", "backup up"):
            h = live if kind.startswith("live") else other(live)
            self.hosts[h].kill("up" if kind.endswith("up") else "all")
        elif kind == "replica":
            self.hosts[self.random.choice("ab")].kill("replica")
        else:
            first = self.random.choice("ab")
            self.hosts[first].kill("all")
            if kind != "both":
                time.sleep(self.random.uniform(0, 1.5))
            self.hosts[other(first)].kill("all")
        started = time.monotonic()
        self.wait_protected(kind)
        for seen in self.seen:
            seen.compare()
        print("ok up.round-%d: %s; %s is live, %d counted, %.1f s" % (
            n, kind, self.live(), self.highest, time.monotonic() - started), flush=True)

    def generations(self):
        """Each generation began once, on one host."""
        seen = {}
        for h in "ab":
            for e in self.hosts[h].events():
                if e["event"] in ("start", "live"):
                    if e["generation"] in seen:
                        raise Failure("generation %d began on %s and on %s" % (e["generation"], seen[e["generation"]], h))
                    seen[e["generation"]] = h
        if self.seen and not all(s.looks for s in self.seen):
            raise Failure("an exporter has shown nothing")
        if self.seen:
            print("ok up.seen: %d looks at two exporters, %d of them at a replica that was killed" % (
                sum(s.looks for s in self.seen), sum(s.deaths for s in self.seen)))
        print("ok up.generations: %d, each of one host" % len(seen))

    def doctor(self, h, live):
        """Of a protected pair everything is in order, seen from either host."""
        call = self.hosts[h].call("doctor", self.hosts[h].conf, "--json")
        found = [c for c in json.loads(call.stdout)["checks"] if c.get("guest") == "web"]
        good = {c["check"]: c["text"] for c in found if c["verdict"] == "good"}
        bad = [c for c in found if c["verdict"] in ("warning", "bad")]
        for check in ("config", "key", "arbiter", "link", "peer", "disk", "failover"):
            if check not in good or bad:
                raise Failure("doctor on host %s says %s" % (h, bad or found))
        if ("the guest would go on at" if live else "the guest would go on here") not in good["failover"]:
            raise Failure("doctor on host %s (live: %s) says: %s" % (h, live, good["failover"]))

    def evacuate_slowly(self, live):
        """The arbiter does not answer in time: the backup is given up, and takes over when it has joined again."""
        os.kill(self.witness.pid, signal.SIGSTOP)
        try:
            away = self.hosts[live].begin("evacuate")
            end = time.monotonic() + PATIENCE
            while self.hosts[live].status().get("state") != "asking" and time.monotonic() < end:
                time.sleep(0.02)
        finally:
            os.kill(self.witness.pid, signal.SIGCONT)
        out, err = away.communicate(timeout=PATIENCE)
        self.wait_protected("evacuate, slowly")
        if away.returncode or not re.search(r"^web: live at 127\.0\.0\.\d:\d+", out) or self.live() != other(live):
            raise Failure("evacuate, with a slow arbiter: %d, %s %s; live: %s" % (away.returncode, out, err, self.live()))
        print("ok up.evacuate-slowly")
        return other(live)

    def commands(self):
        """list, console, log and down tell the truth."""
        live = self.live()
        listed = json.loads(self.hosts[live].call("list", "--json").stdout)[0]
        if listed["name"] != "web" or listed["phase"] != "live" or listed["status"]["state"] != "protected":
            raise Failure("list says %s" % listed)
        text = self.hosts[live].call("list").stdout
        if not re.search(r"^web +protected +primary +127\.0\.0\.\d:\d+ +\d+ ", text, re.M):
            raise Failure("list says " + text)
        print("ok up.list")
        for h in "ab":
            self.doctor(h, h == live)
        print("ok up.doctor")
        history = self.hosts[live].call("console", "web", "--history").stdout
        if not re.search(r"kept \d+", history):
            raise Failure("console --history says %r" % history[-200:])
        print("ok up.console")
        log = self.hosts[live].call("log", "web").stdout
        if "protected" not in log:
            raise Failure("log says %r" % log[-200:])
        print("ok up.log")
        away = self.hosts[live].call("evacuate")
        if away.returncode or not re.search(r"^web: live at 127\.0\.0\.\d:\d+, stood still for ", away.stdout):
            raise Failure("evacuate: %d, %s %s" % (away.returncode, away.stdout, away.stderr))
        self.wait_protected("evacuate")
        nothing = self.hosts[live].call("evacuate", "--json")
        if self.live() != other(live) or nothing.returncode or json.loads(nothing.stdout):
            raise Failure("evacuate: %s is live; a second one: %s" % (self.live(), nothing.stdout))
        live = other(live)
        print("ok up.evacuate")
        if self.witness:
            live = self.evacuate_slowly(live)
        second = self.hosts[live].call("up", self.hosts[live].conf)
        if second.returncode != 2 or "is up on this host already" not in second.stderr:
            raise Failure("a second up: %d, %s" % (second.returncode, second.stderr))
        print("ok up.second-refused")
        self.hosts[live].wanted = False
        down = self.hosts[live].call("down", "web")
        if down.returncode:
            raise Failure("down: " + down.stderr)
        before, end = self.highest, time.monotonic() + PATIENCE
        while self.highest <= before and time.monotonic() < end:
            time.sleep(0.05)
        if self.highest <= before or self.live() != other(live):
            raise Failure("after down on %s: %s is live, counted %d, then %d" % (live, self.live(), before, self.highest))
        print("ok up.down")
        live = other(live)
        self.hosts[live].wanted = False
        down = self.hosts[live].call("down", "web", "--all")
        if down.returncode or self.hosts[live].status():
            raise Failure("down --all: " + down.stderr)
        print("ok up.down-all", flush=True)

    def close(self):
        self.running = False
        for host in self.hosts.values():
            if host.is_alive():
                host.stop()
        for seen in self.seen:
            seen.end()
        if self.witness:
            self.witness.kill()
            self.witness.wait()
        if os.environ.get("KEEP") is None:
            subprocess.run(["rm", "-rf", self.dir])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kinds", help="these, one after the other: " + ", ".join(KINDS))
    parser.add_argument("--witness", action="store_true", help="a witness decides, not a directory")
    parser.add_argument("--seen", action="store_true", help="hold what exporters, list and top show against the processes")
    args = parser.parse_args()
    kinds = args.kinds.split(",") if args.kinds else None
    if kinds:
        args.count = len(kinds)
    test, failed = Test(args.seed, kinds, args.witness, args.seen), 0
    try:
        test.start()
        test.wait_protected("start")
        print("ok up.start: seed %d" % args.seed, flush=True)
        for n in range(args.count):
            test.round(n + 1)
        test.generations()
        test.check()
        test.commands()
    except (Failure, OSError, ValueError, KeyError, subprocess.TimeoutExpired) as e:
        failed = 1
        print("not ok up: seed %d: %s" % (args.seed, e))
    finally:
        test.close()
    return failed


if __name__ == "__main__":
    sys.exit(main())
