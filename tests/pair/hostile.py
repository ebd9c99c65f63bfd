# SPDX-License-Identifier: GPL-2.0-or-later
"""Whoever else connects to a protected primary is refused with a clear line, and the pair does not notice.

usage: hostile.py [CASE...]
"""
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from rig import PATIENCE, Client, Failure, PEER_IP, Rig, TWINSTEP, sh  # noqa: E402


class Hostile:
    def __init__(self, rig):
        self.rig = rig
        self.live, self.backup = rig.start_pair()
        self.client = Client(0)
        self.pid = self.live.pid()

    def memory_kib(self):
        with open("/proc/%d/status" % self.pid) as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))

    def connect_from_b(self, code):
        """Runs python on host b with `s` connected to the primary."""
        subprocess.run(["ip", "netns", "exec", self.rig.top.ns["b"], "python3", "-c",
                        "import os, socket, time\n"
                        "s = socket.create_connection(('%s', 7777), timeout=5)\n" % PEER_IP["a"] + code], timeout=PATIENCE)

    def refused_with(self, what, n, seconds=PATIENCE):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for e in self.live.events()[n:]:
                if e["event"] == "refused":
                    if not any(w in e["text"] for w in what):
                        raise Failure("refused with: %s" % e["text"])
                    return e["text"]
            time.sleep(0.02)
        raise Failure("no refusal within %d s" % seconds)

    def intruder(self, *args):
        p = subprocess.run(["ip", "netns", "exec", self.rig.top.ns["b"], TWINSTEP, "backup", "--connect",
                            PEER_IP["a"] + ":7777", "--connect-wait", "0", "--net", "none:", "--console", "none",
                            "--arbiter", "file:" + self.rig.dir + "/arbiter"] + list(args),
                           capture_output=True, text=True, timeout=PATIENCE)
        if p.returncode != 2:
            raise Failure("an intruder ended with %d: %s" % (p.returncode, p.stderr))
        return p.stderr.strip().splitlines()[-1]

    def wrong_key(self):
        key = self.rig.dir + "/other-key"
        sh(TWINSTEP, "keygen", key)
        n = len(self.live.events())
        said = self.intruder("--key-file", key)
        return self.refused_with(["key"], n) + " / " + said

    def no_key(self):
        n = len(self.live.events())
        self.intruder("--insecure")
        return self.refused_with(["key", "TLS", "already has", "has a backup"], n)

    def second_backup(self):
        n = len(self.live.events())
        said = self.intruder("--key-file", self.rig.key)
        if "backup already" not in said:
            raise Failure("the intruder said: " + said)
        return self.refused_with(["already"], n)

    def garbage(self):
        n = len(self.live.events())
        self.connect_from_b("s.sendall(os.urandom(100000))\n")
        return self.refused_with(["key", "TLS"], n)

    def half_open(self):
        n = len(self.live.events())
        self.connect_from_b("s.sendall(b'\\x16'); s.settimeout(%d); s.recv(1)\n" % PATIENCE)
        return self.refused_with(["handshake"], n)

    def slow(self):
        n = len(self.live.events())
        self.connect_from_b("t = time.time()\n"
                            "try:\n"
                            "    while time.time() < t + 60: s.sendall(b'\\x16'); time.sleep(0.2)\n"
                            "except OSError: pass\n")
        return self.refused_with(["handshake", "TLS", "key"], n)

    def flood(self):
        """Many connections at once: memory stays where it was."""
        before = self.memory_kib()
        self.connect_from_b("c = []\n"
                            "for _ in range(300):\n"
                            "    try:\n"
                            "        x = socket.socket(); x.setblocking(False); x.connect_ex(('%s', 7777)); c.append(x)\n"
                            "    except OSError: pass\n"
                            "time.sleep(1)\n" % PEER_IP["a"])
        grown = self.memory_kib() - before
        if grown > 16384:
            raise Failure("memory grew by %d KiB" % grown)
        return "memory grew by %d KiB" % max(grown, 0)

    def other_configuration(self):
        """A backup with the key but with another machine: it is told so, the guest goes on."""
        n = len(self.live.events())
        self.backup.kill()
        self.live.wait_event("unprotected", PATIENCE, n)
        n = len(self.live.events())
        said = self.intruder("--key-file", self.rig.key, "--net", "none:")
        if "1 NICs" not in said:
            raise Failure("the intruder said: " + said)
        self.live.wait_event("refused", PATIENCE, n)
        self.backup = self.rig.start_backup("b", self.live)
        return said

    def undisturbed(self):
        count = self.client.count
        deadline = time.monotonic() + PATIENCE
        time.sleep(1.5)
        while self.client.count <= count:
            if self.client.error:
                raise Failure("the client: %s" % self.client.error)
            if time.monotonic() > deadline:
                raise Failure("the client got no reply")
            time.sleep(0.05)
        s = self.live.status()
        if s["state"] != "protected" or s["generation"] > 2:
            raise Failure("the pair is %s in generation %d" % (s["state"], s["generation"]))


def main():
    random.seed(1)
    rig = Rig(["--timeout", "4000"])
    failed = 0
    try:
        h = Hostile(rig)
        for name in ("wrong_key", "no_key", "second_backup", "garbage", "half_open", "slow", "flood",
                     "other_configuration"):
            if sys.argv[1:] and name not in sys.argv[1:]:
                continue
            try:
                text = getattr(h, name)()
                h.undisturbed()
                print("ok hostile.%s: %s" % (name, text), flush=True)
            except (Failure, OSError, subprocess.SubprocessError) as e:
                failed = 1
                print("not ok hostile.%s: %s" % (name, e), flush=True)
    except (Failure, OSError) as e:
        failed = 1
        print("not ok hostile: %s" % e)
    finally:
        rig.close()
    return failed


if __name__ == "__main__":
    sys.exit(main())
