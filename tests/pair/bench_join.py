# SPDX-License-Identifier: GPL-2.0-or-later
"""What a client of the guest sees of a join and of a switch: the longest time without a reply, beside the guest's pause.

usage: bench_join.py [--rounds N] [--sizes MIB,MIB...]

For each size of the guest's memory three quarters of it are filled with random bytes first. Idle and dirtying joins take turns on
the same guest; in the latter another client writes to random places all the time.
"""
import argparse
import os
import random
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(__file__))
from rig import Client, Connection, Failure, PATIENCE, Rig, median, other  # noqa: E402

PIECE = 32 << 20  # bytes of one value of redis


class Filled(Rig):
    def __init__(self, mib):
        self.mib = mib
        super().__init__()

    def boot_args(self):
        args = super().boot_args()
        args[args.index("--memory") + 1] = "%dM" % self.mib
        return args

    def fill(self):
        """Random bytes in some three quarters of the memory; how many values hold them."""
        conn = Connection()
        conn.call("SET", "piece:0", "")
        for _ in range(PIECE >> 20):
            conn.call("APPEND", "piece:0", os.urandom(1 << 20))
        pieces = max(1, ((self.mib - 96) * 3 // 4 << 20) // PIECE)
        for n in range(1, pieces):
            if conn.call("COPY", "piece:0", "piece:%d" % n) != b":1":
                raise Failure("redis does not copy a value")
        return pieces


class Dirtier(threading.Thread):
    """Writes 4 KiB to a random place of a random value, again and again."""

    def __init__(self, pieces):
        super().__init__(daemon=True)
        self.pieces, self.running, self.error, self.writes = pieces, True, None, 0
        self.conn = Connection()
        self.start()

    def run(self):
        try:
            while self.running:
                self.conn.call("SETRANGE", "piece:%d" % random.randrange(self.pieces), random.randrange(PIECE - 4096), os.urandom(4096))
                self.writes += 1
        except Exception as e:  # a bench's thread hands everything to the bench
            self.error = e

    def stop(self):
        self.running = False
        self.join(PATIENCE)
        if self.error:
            raise self.error


class Pairing:
    """One guest whose backups come and go."""

    def __init__(self, rig, live):
        self.rig, self.live = rig, live

    def measured(self, do):
        """(what do() returns, longest time without a reply meanwhile, in ms)"""
        client = Client(int(time.monotonic() * 1000))
        since = time.monotonic()
        try:
            got = do()
            time.sleep(0.3)
            gap = client.gap(since)
        finally:
            client.stop()
        if client.error:
            raise Failure("the client: %s" % client.error)
        return got, gap * 1000

    def join(self):
        begun = time.monotonic()
        backup = self.rig.start_backup(other(self.live.host), self.live)
        return backup, time.monotonic() - begun

    def part(self, backup):
        n = len(self.live.events())
        backup.kill(signal.SIGKILL)
        backup.proc.wait(PATIENCE)
        self.live.wait_event("unprotected", PATIENCE, n)

    def switch(self, backup):
        n, m = len(self.live.events()), len(backup.events())
        answer = self.live.ask(command="switch")
        if not answer.get("ok"):
            raise Failure("switch: %s" % answer)
        backup.wait_event("switched", PATIENCE, m)
        self.live.wait_event("follows", PATIENCE, n)


def bench_size(mib, rounds):
    rig = Filled(mib)
    try:
        live = rig.start("primary", "a", rig.boot_args() + ["--no-wait"])
        rig.wait_redis(PATIENCE, live)
        pieces = rig.fill()
        pairing = Pairing(rig, live)
        seen = {(mode, what): [] for mode in ("idle", "dirtying") for what in ("pause", "gap", "seconds", "writes")}
        for _ in range(rounds):
            for mode in ("idle", "dirtying"):
                dirtier = Dirtier(pieces) if mode == "dirtying" else None
                (backup, seconds), gap = pairing.measured(pairing.join)
                if dirtier:
                    dirtier.stop()
                    seen[mode, "writes"].append(dirtier.writes / seconds)
                seen[mode, "pause"].append(live.status()["join_pause_ms"])
                seen[mode, "gap"].append(gap)
                seen[mode, "seconds"].append(seconds)
                pairing.part(backup)
        for mode in ("idle", "dirtying"):
            pause, gap, seconds = (seen[mode, what] for what in ("pause", "gap", "seconds"))
            print("join, %4d MiB, %-8s: guest's pause %.1f ms (longest %.1f), longest gap at a client %.0f ms (longest %.0f), %.1f s%s" % (
                mib, mode, median(pause), max(pause), median(gap), max(gap), median(seconds),
                ", %.0f writes/s" % median(seen[mode, "writes"]) if seen[mode, "writes"] else ""), flush=True)
        backup, _ = pairing.join()
        gaps = []
        for _ in range(rounds * 2):
            gaps.append(pairing.measured(lambda: pairing.switch(backup))[1])
            live, backup = backup, live
            pairing.live = live
        print("switch, %4d MiB: longest gap at a client %.1f ms (longest of %d: %.1f)" % (mib, median(gaps), len(gaps), max(gaps)), flush=True)
    finally:
        rig.close()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--sizes", default="256,1024,4096")
    a = p.parse_args()
    try:
        for mib in map(int, a.sizes.split(",")):
            bench_size(mib, a.rounds)
    except (Failure, OSError, ValueError, subprocess.CalledProcessError) as e:
        print("bench: %s" % e)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
