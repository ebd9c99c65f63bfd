# SPDX-License-Identifier: GPL-2.0-or-later
"""`twinstep pair`: both replicas on one host, started, supervised and replaced by one command."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(__file__))
from rig import PATIENCE, APPEND, BUILD, CLIENT_IP, Client, Connection, Failure, TWINSTEP, read_events, sh  # noqa: E402


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return [int(x) for x in f.read().split()]


class OneHost:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="twinstep-onehost-")
        sh("ip", "link", "set", "lo", "up")
        sh("ip", "link", "add", "br0", "type", "bridge", "ageing_time", "0")
        sh("ip", "addr", "add", CLIENT_IP + "/24", "dev", "br0")
        for r in "ab":
            sh("ip", "tuntap", "add", "guest" + r, "mode", "tap")
            sh("ip", "link", "set", "guest" + r, "master", "br0", "up")
        sh("ip", "link", "set", "br0", "up")
        self.events_path = self.dir + "/events"
        self.start()

    def start(self):
        if os.path.exists(self.events_path):
            os.unlink(self.events_path)
        self.proc = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", TWINSTEP, "pair", "--kernel", BUILD + "/guest/vmlinuz", "--initrd",
             BUILD + "/guest/initramfs", "--memory", "256M", "--append", APPEND, "--net",
             "tap:guest%r,mac=52:54:00:77:00:02", "--console", self.dir + "/console-%r", "--timeout",
             os.environ.get("TIMEOUT", "200"), "--events", self.events_path, "--name", "onehost-%d" % os.getpid()],
            stderr=open(self.dir + "/log", "w"))

    def events(self):
        return read_events(self.events_path)

    def wait_event(self, name, after, seconds=PATIENCE):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for e in self.events()[after:]:
                if e["event"] == name:
                    return e
            if self.proc.poll() is not None:
                break
            time.sleep(0.01)
        with open(self.dir + "/log") as f:
            raise Failure("no event '%s': %s" % (name, f.read()[-600:]))

    def wait_redis(self):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                if Connection(timeout=3).call("PING") == b"+PONG":
                    return
            except OSError:
                time.sleep(0.1)
        raise Failure("redis does not answer")

    def replica(self, letter):
        for pid in children(self.proc.pid):
            with open("/proc/%d/cmdline" % pid) as f:
                if "/%s.sock" % letter in f.read().partition("--listen=")[2].partition("\0")[0]:
                    return pid
        raise Failure("no process of replica " + letter)

    def status(self, letter):
        out = subprocess.run([TWINSTEP, "status", "onehost-%d-%s" % (os.getpid(), letter), "--json"],
                             capture_output=True, text=True, timeout=PATIENCE)
        if out.returncode:
            raise Failure("status: " + out.stderr)
        return json.loads(out.stdout)

    def shut_down(self, live):
        """The live replica is told to end, as a host that shuts down does: the other one goes on."""
        n = len(self.events())
        os.kill(self.replica(live), signal.SIGTERM)
        live = self.wait_event("live", n)["replica"]
        self.wait_event("protected", n)
        if not [e for e in self.events()[n:] if e["event"] == "left"]:
            raise Failure("SIGTERM: no event 'left'")
        return live

    def switch(self, live):
        """The two change places and back; a client sees a pause at most."""
        for was, to in ((live, "ab".replace(live, "")), ("ab".replace(live, ""), live)):
            n = len(self.events())
            out = subprocess.run([TWINSTEP, "switch", "onehost-%d-%s" % (os.getpid(), was), "--json"],
                                 capture_output=True, text=True, timeout=PATIENCE)
            if out.returncode:
                raise Failure("switch: " + out.stderr)
            if self.wait_event("switched", n)["replica"] != to or self.wait_event("protected", n)["replica"] != to:
                raise Failure("switch: %s is not live" % to)
            if [e for e in self.events()[n:] if e["event"] in ("live", "unprotected", "joining")]:
                raise Failure("switch: it was unprotected")
            print("# switch to %s: the guest stood still for %.1f ms" % (to, json.loads(out.stdout)["pause_ms"]),
                  flush=True)
            time.sleep(0.5)

    def kill_supervisor(self):
        """What it leaves behind, its next start removes."""
        with open("/proc/%d/cmdline" % self.replica("a")) as f:
            left = f.read().split("--key-file=", 1)[1].split("/key\0")[0]
        replicas = [self.replica(r) for r in "ab"]
        self.proc.kill()
        self.proc.wait()
        deadline = time.monotonic() + PATIENCE
        while [p for p in replicas if os.path.exists("/proc/%d" % p)] and time.monotonic() < deadline:
            time.sleep(0.01)
        if not os.path.exists(left):
            raise Failure("'%s' is not the pair's directory" % left)
        os.utime(left, (1, 1))
        self.start()
        self.wait_event("protected", 0)
        if os.path.exists(left):
            raise Failure("'%s' was left behind" % left)
        print("ok onehost.left: the directory of a supervisor that was killed is removed", flush=True)

    def lose_both(self):
        for pid in [self.replica(r) for r in "ab"]:
            os.kill(pid, signal.SIGKILL)
        status = self.proc.wait(PATIENCE)
        with open(self.dir + "/log") as f:
            said = f.read()
        if status != 137 or "the guest is lost" not in said.splitlines()[-1]:
            raise Failure("pair ended with %d after both were killed: %s" % (status, said[-300:]))

    def run(self):
        self.wait_event("protected", 0)
        self.wait_redis()
        client = Client(0)
        live = "a"
        for sig in (signal.SIGKILL, signal.SIGSTOP, signal.SIGKILL):
            time.sleep(0.5)
            n = len(self.events())
            os.kill(self.replica(live), sig)
            live = self.wait_event("live", n)["replica"]
            self.wait_event("protected", n)
            before = client.count
            deadline = time.monotonic() + PATIENCE
            while not client.error and client.count <= before and time.monotonic() < deadline:
                time.sleep(0.05)
            if client.error or client.count <= before:
                raise Failure("after %s: %s, %d replies" % (sig.name, client.error, client.count - before))
            s = self.status(live)
            if not s["live"] or s["state"] != "protected":
                raise Failure("status of %s: %s" % (live, s))
            print("ok onehost.%s: replica %s is live in generation %d and protected again" % (
                sig.name, live, s["generation"]), flush=True)
        before = client.count
        since = time.monotonic()
        self.switch(live)
        if client.error or client.count <= before:
            raise Failure("after a switch: %s, %d replies" % (client.error, client.count - before))
        print("ok onehost.switch: longest gap of a client %.1f ms" % (client.gap(since) * 1e3), flush=True)
        live = self.shut_down(live)
        if client.error:
            raise Failure("after SIGTERM: %s" % client.error)
        print("ok onehost.SIGTERM: replica %s goes on" % live, flush=True)
        client.stop()
        self.proc.terminate()
        if self.proc.wait(PATIENCE) != 143:
            raise Failure("pair ended with %d" % self.proc.returncode)
        print("ok onehost.stop")
        self.start()
        self.wait_event("protected", 0)
        self.kill_supervisor()
        self.lose_both()
        print("ok onehost.both: the pair ends when nobody has the guest")

    def close(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        for name in ("guesta", "guestb", "br0"):
            subprocess.run(["ip", "link", "del", name], stderr=subprocess.DEVNULL)
        subprocess.run(["rm", "-rf", self.dir])


def main():
    one, failed = None, 0
    try:
        one = OneHost()
        one.run()
    except (Failure, OSError, ValueError) as e:
        failed = 1
        print("not ok onehost: %s" % e)
    finally:
        if one:
            one.close()
    return failed


if __name__ == "__main__":
    sys.exit(main())
