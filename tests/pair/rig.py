# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts, links, a pair and its clients, on one machine.

The process that imports this must be in a network namespace of its own (see pair.sh): that one is the client's host and
holds the bridge. Two further namespaces are the replicas' hosts, each with a port on the bridge (the guest's NIC) and
one end of the link between the replicas:

    this namespace            host a                      host b
    br0 10.77.0.1/24 --- veth guest0 (pcap)
                     ---------------------------- veth guest0 (pcap)
                              peer0 10.78.0.1 ----------- peer0 10.78.0.2

The bridge floods (ageing time 0), so that a backup sees what its primary gets.
"""
import heapq
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from array import array

SO_TIMESTAMPNS = 35
SO_RCVBUFFORCE = 33
SOL_PACKET, PACKET_STATISTICS, PACKET_AUXDATA, TP_STATUS_VLAN_VALID = 263, 6, 8, 0x10
PATIENCE = 180  # seconds for what takes a moment on a host that is not busy
GUEST_IP = "10.77.0.2"
CLIENT_IP = "10.77.0.1"
PEER_IP = {"a": "10.78.0.1", "b": "10.78.0.2"}
HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("BUILD", "build")
TWINSTEP = BUILD + "/twinstep"
MACHINE = os.environ.get("MACHINE", "2")  # version; the first has neither ACPI nor APIC
APPEND = ("console=ttyS0 %squiet nokaslr mitigations=off cryptomgr.notests twinstep.ip=%s/24 twinstep.redis"
          % ("acpi=off nolapic noapic " if MACHINE == "1" else "", GUEST_IP))


class Failure(Exception):
    pass


def sh(*args):
    subprocess.run(args, check=True, stdout=subprocess.DEVNULL)


def read_events(path):
    """The whole lines of an event log, as objects."""
    try:
        with open(path) as f:
            return [json.loads(line) for line in f if line.endswith("\n")]
    except FileNotFoundError:
        return []


class Topology:
    """Namespaces, bridge and links; removed by close()."""

    def __init__(self, relay=False):
        tag = "twinstep-%d-" % os.getpid()
        self.ns = {"a": tag + "a", "b": tag + "b"}
        self.relay = None
        try:
            self.build(relay)
        except BaseException:
            self.close()
            raise

    def build(self, relay):
        sh("ip", "link", "set", "lo", "up")
        sh("ip", "link", "add", "br0", "type", "bridge", "ageing_time", "0")
        for h in "ab":
            sh("ip", "netns", "add", self.ns[h])
            sh("ip", "link", "add", "port-" + h, "type", "veth", "peer", "name", "guest0", "netns", self.ns[h])
            sh("ip", "link", "set", "port-" + h, "master", "br0", "up")
            self.on(h, "ip", "link", "set", "lo", "up")
            self.on(h, "ip", "link", "set", "guest0", "up")
        sh("ip", "-n", self.ns["a"], "link", "add", "peer0", "type", "veth", "peer", "name", "peer0", "netns", self.ns["b"])
        for h in "ab":
            self.on(h, "ip", "addr", "add", PEER_IP[h] + "/24", "dev", "peer0")
            self.on(h, "ip", "link", "set", "peer0", "up")
        sh("ip", "link", "set", "br0", "up")
        if relay:
            self.start_relay()
        else:
            sh("ip", "addr", "add", CLIENT_IP + "/24", "dev", "br0")
        # Frames longer than the MTU are joined ones: a real wire has none.
        for dev in ("br0", "port-a", "port-b"):
            subprocess.run(["ethtool", "-K", dev, "tso", "off", "gso", "off", "gro", "off"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start_relay(self):
        """The client's way to the bridge leads through relay.py, which can lose, delay and reorder frames."""
        sh("ip", "link", "add", "port-c", "type", "veth", "peer", "name", "relay0")
        sh("ip", "link", "set", "port-c", "master", "br0", "up")
        sh("ip", "link", "set", "relay0", "up")
        subprocess.run(["ethtool", "-K", "relay0", "tso", "off", "gso", "off", "gro", "off"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.relay = subprocess.Popen([sys.executable, HERE + "/relay.py", "frames", "client0", "relay0"],
                                      stdin=subprocess.PIPE)
        deadline = time.monotonic() + PATIENCE
        while not os.path.exists("/proc/sys/net/ipv4/conf/client0") and time.monotonic() < deadline:
            time.sleep(0.02)
        sh("ip", "addr", "add", CLIENT_IP + "/24", "dev", "client0")
        sh("ip", "link", "set", "client0", "up")

    def defects(self, loss, delay, jitter):
        self.relay.stdin.write(b"%g %g %g\n" % (loss, delay, jitter))
        self.relay.stdin.flush()

    def on(self, host, *args):
        sh("ip", "netns", "exec", self.ns[host], *args)

    def link(self, up):
        self.on("a", "ip", "link", "set", "peer0", "up" if up else "down")

    def drop(self, host, on):
        """A filter that swallows everything between the replicas, with the link up."""
        if on:
            self.on(host, "nft", "add", "table", "inet", "cut")
            for hook in ("input", "output"):
                self.on(host, "nft", "add", "chain", "inet", "cut", hook,
                        "{ type filter hook %s priority 0; policy accept; }" % hook)
                self.on(host, "nft", "add", "rule", "inet", "cut", hook,
                        "iifname" if hook == "input" else "oifname", "peer0", "drop")
        else:
            self.on(host, "nft", "delete", "table", "inet", "cut")

    def close(self):
        if self.relay:
            self.relay.kill()
            self.relay.wait()
            subprocess.run(["ip", "link", "del", "relay0"], stderr=subprocess.DEVNULL)
        for h in "ab":  # a namespace that is deleted keeps its links for a while
            subprocess.run(["ip", "link", "del", "port-" + h], stderr=subprocess.DEVNULL)
        for name in self.ns.values():
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
        subprocess.run(["ip", "link", "del", "br0"], stderr=subprocess.DEVNULL)


class Replica:
    """A twinstep process on host a or b."""

    def __init__(self, rig, host, role, args):
        self.host = host
        self.killed = False
        self.past = 0  # events of a life before this one: it was live and follows now
        self.number = rig.replicas
        rig.replicas += 1
        base = "%s/%d-%s-%s" % (rig.dir, self.number, host, role)
        self.control = base + ".ctl"
        self.console, self.log, self.events_path = base + ".console", base + ".log", base + ".events"
        cmd = ["ip", "netns", "exec", rig.top.ns[host], "setpriv", "--pdeathsig", "KILL", *rig.wrap, TWINSTEP, role,
               "--listen", "%s:7777" % PEER_IP[host], "--key-file", rig.key, "--arbiter", "file:" + rig.dir + "/arbiter",
               "--timeout", os.environ.get("TIMEOUT", "200"), "--net", "pcap:guest0,mac=52:54:00:77:00:02", "--console", self.console, "--events", self.events_path,
               "--control", base + ".ctl"]
        self.proc = subprocess.Popen(cmd + args, stdout=subprocess.DEVNULL, stderr=open(self.log, "w"))

    def events(self):
        return read_events(self.events_path)

    def wait_event(self, name, seconds, after=None):
        """The first of that name behind so many events; those of a past life do not count."""
        after = self.past if after is None else after
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for e in self.events()[after:]:
                if e["event"] == name:
                    return e
            if self.proc.poll() is not None and not any(e["event"] == name for e in self.events()[after:]):
                raise Failure("replica %d on %s ended with status %d before '%s': %s" % (
                    self.number, self.host, self.proc.returncode, name, self.tail()))
            time.sleep(0.005)
        raise Failure("no event '%s' of replica %d on %s within %d s: %s" % (
            name, self.number, self.host, seconds, self.tail()))

    def tail(self):
        with open(self.log) as f:
            return f.read()[-600:]

    def pid(self):
        """The process that runs the guest: with a jail it is the child of the one that was started."""
        with open("/proc/%d/task/%d/children" % (self.proc.pid, self.proc.pid)) as f:
            children = f.read().split()
        return int(children[0]) if children else self.proc.pid

    def kill(self, sig=signal.SIGKILL):
        os.kill(self.pid(), sig)
        self.killed |= sig == signal.SIGKILL

    def ask(self, **request):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(PATIENCE)
            s.connect(self.control)
            s.sendall(json.dumps(request).encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                got = s.recv(65536)
                if not got:
                    break
                answer += got
        return json.loads(answer)

    def status(self):
        return self.ask(command="status")

    def alive(self):
        return self.proc.poll() is None


class Rig:
    wrap = ()  # words before twinstep

    def __init__(self, options=(), relay=False):
        self.dir = tempfile.mkdtemp(prefix="twinstep-pair-")
        self.key = self.dir + "/key"
        self.replicas = 0
        self.streams = 0
        self.options = list(options)
        self.all = []
        self.top = None
        try:
            self.top = Topology(relay)
            sh(TWINSTEP, "keygen", self.key)
            sh(TWINSTEP, "arbiter", "init", "file:" + self.dir + "/arbiter")
        except BaseException:  # Ctrl-C as well
            self.close()
            raise

    def start(self, role, host, args):
        # On a busy host a process that was killed can hold its port for seconds.
        for old in self.all:
            if old.killed and old.host == host:
                old.proc.wait(PATIENCE)
        r = Replica(self, host, role, args + self.options)
        self.all.append(r)
        return r

    def boot_args(self):
        snapshot = os.environ.get("SNAPSHOT")
        if snapshot:
            return ["--restore", snapshot]
        return ["--kernel", BUILD + "/guest/vmlinuz", "--initrd", BUILD + "/guest/initramfs", "--memory", "256M",
                "--machine", MACHINE, "--append", APPEND]

    def start_pair(self):
        """A protected pair with redis up; returns (live, backup)."""
        live = self.start("primary", "a", self.boot_args())
        backup = self.start_backup("b", live)
        self.wait_redis(PATIENCE, live)
        return live, backup

    def start_backup(self, host, live, address=None):
        n = len(live.events())
        backup = self.start("backup", host, ["--connect", address or "%s:7777" % PEER_IP[live.host]])
        live.wait_event("protected", PATIENCE, n)
        return backup

    def slow_link(self, host, live, rate, delay):
        """A TCP relay on the backup's host; returns (process, address to connect to)."""
        self.streams += 1
        port = 7800 + self.streams
        p = subprocess.Popen(["ip", "netns", "exec", self.top.ns[host], "setpriv", "--pdeathsig", "KILL", sys.executable,
                              HERE + "/relay.py", "stream", str(port), "%s:7777" % PEER_IP[live.host], str(rate),
                              str(delay)])
        deadline = time.monotonic() + PATIENCE
        while not subprocess.run(["ip", "netns", "exec", self.top.ns[host], "ss", "-Hltn", "sport = :%d" % port],
                                 stdout=subprocess.PIPE, check=True).stdout:
            if time.monotonic() > deadline:
                raise Failure("the relay does not listen")
            time.sleep(0.05)
        return p, "127.0.0.1:%d" % port

    def wait_redis(self, seconds, live):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                c = Connection(timeout=3)
                if c.call("PING") == b"+PONG":
                    c.sock.close()
                    return
            except OSError:
                pass
            if not live.alive():
                raise Failure("the primary ended: " + live.tail())
            time.sleep(0.1)
        raise Failure("redis does not answer: " + live.tail())

    def close(self):
        for r in self.all:
            if r.alive():
                r.kill(signal.SIGKILL)
            r.proc.wait()
        if self.top:
            self.top.close()
        if os.environ.get("KEEP") is None:
            subprocess.run(["rm", "-rf", self.dir])


class Connection:
    """A redis client on one TCP connection that is never replaced."""

    def __init__(self, timeout=PATIENCE):
        self.sock = socket.create_connection((GUEST_IP, 6379), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""

    def call(self, *words):
        out = b"*%d\r\n" % len(words)
        for w in words:
            w = w if isinstance(w, bytes) else str(w).encode()
            out += b"$%d\r\n%s\r\n" % (len(w), w)
        self.sock.sendall(out)
        return self.reply()

    def line(self):
        while b"\r\n" not in self.buf:
            got = self.sock.recv(65536)
            if not got:
                raise Failure("redis closed the connection")
            self.buf += got
        line, self.buf = self.buf.split(b"\r\n", 1)
        return line

    def reply(self):
        line = self.line()
        if line[:1] != b"$":
            return line
        n = int(line[1:])
        if n < 0:
            return None
        while len(self.buf) < n + 2:
            self.buf += self.sock.recv(65536)
        data, self.buf = self.buf[:n], self.buf[n + 2:]
        return data


class Client(threading.Thread):
    """Counts on a key of its own; every reply must be one more than the last."""

    def __init__(self, n):
        super().__init__(daemon=True)
        self.key = "counter-%d" % n
        self.conn = Connection()
        self.count = 0
        self.error = None
        self.running = True
        self.replies = []  # monotonic times
        self.start()

    def run(self):
        try:
            while self.running:
                got = self.conn.call("INCR", self.key)
                if got != b":%d" % (self.count + 1):
                    raise Failure("%s: reply %r after %d" % (self.key, got, self.count))
                self.count += 1
                self.replies.append(time.monotonic())
        except Exception as e:  # a test's thread hands everything to the test
            self.error = e

    def gap(self, since):
        """Longest time without a reply since then, in seconds."""
        times = [since] + [t for t in self.replies if t > since] + [time.monotonic()]
        return max(b - a for a, b in zip(times, times[1:]))

    def forget(self):
        """When replies up to now came, but for the last one."""
        del self.replies[:-1]

    def stop(self):
        self.running = False
        self.join(PATIENCE)


class Watch(threading.Thread):
    """Sees on the bridge's ports who sends frames from the guest's MAC."""

    MAC = bytes.fromhex("525400770002")

    def __init__(self, mac=MAC):
        super().__init__(daemon=True)
        self.mac = mac
        self.seen = {"a": [], "b": []}
        self.when = {"a": array("q"), "b": array("q")}  # of each frame, in nanoseconds of one clock of the kernel
        self.missed = 0
        self.end = None  # frames are read up to here
        self.socks = {}
        for h in "ab":
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            s.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            s.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            try:
                s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
            except PermissionError:  # root of a user namespace
                pass
            s.bind(("port-" + h, 0))
            s.settimeout(0.1)
            self.socks[h] = s
        self.threads = [threading.Thread(target=self.watch, args=(h,), daemon=True) for h in "ab"]
        for t in self.threads:
            t.start()

    def watch(self, h):
        while True:
            try:
                data, extra, _, addr = self.socks[h].recvmsg(96, 256)
            except socket.timeout:
                if self.end:
                    return
                continue
            except OSError:
                return
            of_kind = {(level, kind): value for level, kind, value in extra}
            # When the kernel saw it: this thread may be late.
            seconds, ns = struct.unpack("qq", of_kind[socket.SOL_SOCKET, SO_TIMESTAMPNS])
            if self.end and seconds * 10**9 + ns > self.end:
                return
            if data[6:12] == self.mac and addr[2] != 4:  # PACKET_OUTGOING is what the bridge sends there
                late = time.time() - (seconds + ns * 1e-9)
                status, _, _, _, _, tag, kind = struct.unpack("IIIHHHH", of_kind[SOL_PACKET, PACKET_AUXDATA])
                if status & TP_STATUS_VLAN_VALID:  # the kernel takes tags out of frames
                    data = data[:12] + struct.pack("!HH", kind or 0x8100, tag) + data[12:]
                self.seen[h].append((time.monotonic() - late, data))
                self.when[h].append(seconds * 10**9 + ns)

    def silent_after(self, h, t, who):
        frames = [(x - t, data.hex()) for x, data in self.seen[h] if x > t]
        if frames:
            raise Failure("%s sent %d frames, the first %.6f s too late: %s" % (who, len(frames), *frames[0]))

    def forget(self):
        """What frames up to now held; when they came is kept."""
        for frames in self.seen.values():
            frames.clear()

    def turns(self):
        """Who has sent when: [host, time of its first frame, of its last, how many] for each run of frames of one host."""
        def of(h):
            return ((when, h) for when in sorted(self.when[h]))

        runs = []
        for when, h in heapq.merge(of("a"), of("b")):
            if not runs or runs[-1][0] != h:
                runs.append([h, when, when, 0])
            runs[-1][2:] = [when, runs[-1][3] + 1]
        return runs

    def close(self):
        """Ends when all frames up to now are read."""
        self.end = time.time_ns()
        for t in self.threads:
            t.join(PATIENCE)
        for s in self.socks.values():
            self.missed += struct.unpack("II", s.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
            s.close()


def check_counters(clients):
    """What was acknowledged is there: a counter is the acknowledged count, or one more that is on its way."""
    conn = Connection()
    for c in clients:
        low = c.count
        got = int(conn.call("GET", c.key) or 0)
        if not low <= got <= c.count + 1:
            raise Failure("%s is %d, acknowledged were %d" % (c.key, got, low))
    conn.sock.close()


def winner(live, backup, n):
    """The one of two living replicas that goes on after they have lost each other; n: events of the live one before that."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if any(e["event"] == "live" for e in backup.events()[backup.past:]):
            return backup
        if any(e["event"] == "unprotected" for e in live.events()[n:]):
            return live
        time.sleep(0.005)
    raise Failure("nobody won the arbitration")


def other(host):
    return "b" if host == "a" else "a"


def median(values):
    values = sorted(values)
    return values[len(values) // 2] if values else 0
