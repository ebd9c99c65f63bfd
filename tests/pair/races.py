# SPDX-License-Identifier: GPL-2.0-or-later
"""A pair under ThreadSanitizer: loses its backup, its primary and its link, and no thread raced another.

usage: races.py PLAIN, a twinstep without sanitizer. The guest boots on that one, in a tenth of the time; the pair begins
with a snapshot of it.
"""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
os.environ["TIMEOUT"] = "10000"
os.environ.setdefault("TSAN_OPTIONS", "exitcode=0")
from rig import APPEND, BUILD, PATIENCE, Failure, Rig, sh  # noqa: E402
from soak import Soak  # noqa: E402


class Booted:
    """Stands for a replica where the rig waits for redis."""

    def __init__(self, rig, plain):
        self.log = rig.dir + "/booted.log"
        self.proc = subprocess.Popen(
            ["ip", "netns", "exec", rig.top.ns["a"], "setpriv", "--pdeathsig", "KILL", plain, "run", "--kernel",
             BUILD + "/guest/vmlinuz", "--initrd", BUILD + "/guest/initramfs", "--memory", "256M", "--append", APPEND,
             "--net", "pcap:guest0,mac=52:54:00:77:00:02", "--console", "none", "--control", rig.dir + "/booted"],
            stderr=open(self.log, "w"))

    def alive(self):
        return self.proc.poll() is None

    def tail(self):
        with open(self.log) as f:
            return f.read()[-600:]


def snapshot(rig, plain):
    booted = Booted(rig, plain)
    try:
        rig.wait_redis(PATIENCE, booted)
        sh(plain, "snapshot", rig.dir + "/booted", rig.dir + "/snapshot")
    finally:
        booted.proc.terminate()
        booted.proc.wait(PATIENCE)
    os.environ["SNAPSHOT"] = rig.dir + "/snapshot"


def races(rig):
    """What ThreadSanitizer said in the replicas' logs, each place once."""
    found = set()
    for r in rig.all:
        with open(r.log, errors="replace") as f:
            found |= set(re.findall(r"SUMMARY: ThreadSanitizer: (.*)", f.read()))
    return sorted(found)


def main():
    rig, soak, failed = Rig(["--no-jail", "--hang-timeout", "30000"], relay=True), None, 0
    try:
        snapshot(rig, sys.argv[1])
        soak = Soak(rig, 2)
        for fault in ("backup-kill", "primary-kill", "link-down"):
            soak.round(fault)
            print("ok races.%s" % fault, flush=True)
        for r in (soak.backup, soak.live):
            r.proc.terminate()
            r.proc.wait(PATIENCE)
        found = races(rig)
        print("not ok races.none: " + "; ".join(found) if found else "ok races.none", flush=True)
        failed = len(found) > 0
    except (Failure, OSError, ValueError, subprocess.SubprocessError) as e:
        failed = 1
        print("not ok races.pair: %s" % e, flush=True)
        for line in races(rig):
            print("not ok races.none: " + line)
    finally:
        if failed:
            os.environ["KEEP"] = "1"
            print("logs in %s" % rig.dir)
        if soak:
            for c in soak.clients:
                c.running = False
            soak.watch.close()
        rig.close()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
