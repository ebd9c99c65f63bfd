# SPDX-License-Identifier: GPL-2.0-or-later
"""A protected pair beside the same engine alone: redis requests a second, latency, log bandwidth, outage.

usage: bench.py [--rounds N] [--requests N] [--outages N, 0: none]

Alone and protected take turns on the same guest: the backup is killed for the one and started again for the other.
"""
import argparse
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from rig import Client, Failure, GUEST_IP, Rig, median, other  # noqa: E402


def redis_benchmark(requests, clients):
    """(requests a second, median latency in ms) of SET."""
    out = subprocess.run(["redis-benchmark", "-h", GUEST_IP, "-c", str(clients), "-n", str(requests), "-t", "set",
                          "--csv"], capture_output=True, text=True, timeout=300).stdout
    row = [line for line in out.splitlines() if line.startswith('"SET"')]
    if not row:
        raise Failure("redis-benchmark said: " + out[-300:])
    fields = [f.strip('"') for f in row[0].split(",")]
    return float(fields[1]), float(fields[4])


class Bench:
    def __init__(self, rig):
        self.rig = rig
        self.live, self.backup = rig.start_pair()

    def alone(self):
        if self.backup:
            n = len(self.live.events())
            self.backup.kill(signal.SIGKILL)
            self.live.wait_event("unprotected", 20, n)
            self.backup = None

    def protected(self):
        if not self.backup:
            self.backup = self.rig.start_backup(other(self.live.host), self.live)
            time.sleep(1)

    def throughput(self, rounds, requests, clients):
        got = {"alone": [], "protected": []}
        lat = {"alone": [], "protected": []}
        mbit = []
        for _ in range(rounds):
            for mode in ("protected", "alone"):
                getattr(self, mode)()
                before, t = self.live.status()["log_bytes"], time.monotonic()
                rate, ms = redis_benchmark(requests, clients)
                got[mode].append(rate)
                lat[mode].append(ms)
                if mode == "protected":
                    mbit.append((self.live.status()["log_bytes"] - before) * 8e-6 / (time.monotonic() - t))
        a, p = median(got["alone"]), median(got["protected"])
        print("redis SET, %2d clients: alone %6.0f /s (%.2f ms), protected %6.0f /s (%.2f ms): ratio %.2f; log %.2f Mbit/s" % (
            clients, a, median(lat["alone"]), p, median(lat["protected"]), p / a, median(mbit)), flush=True)

    def outage(self, times, sig, name):
        gaps, detect = [], []
        if not times:
            return
        for _ in range(times):
            self.protected()
            client = Client(int(time.monotonic() * 1000))
            time.sleep(0.5)
            t = time.monotonic()
            self.live.kill(sig)
            detect.append(self.backup.wait_event("live", 20)["mono_s"] - t)
            while not client.error and not any(x > t + 0.001 for x in client.replies[-1:]):
                time.sleep(0.005)
                if time.monotonic() > t + 20:
                    raise Failure("no reply after the failover")
            time.sleep(0.5)
            gaps.append(client.gap(t - 0.001))
            client.stop()
            if client.error:
                raise Failure(str(client.error))
            self.live.kill(signal.SIGKILL)
            self.live.proc.wait(20)
            self.live, self.backup = self.backup, None
        print("outage after %s: median %.0f ms, longest %.0f ms (%d times; live after %.0f ms)" % (
            name, median(gaps) * 1000, max(gaps) * 1000, times, median(detect) * 1000), flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--requests", type=int, default=5000)
    p.add_argument("--outages", type=int, default=20)
    a = p.parse_args()
    rig, status = Rig(), 0
    try:
        b = Bench(rig)
        b.throughput(a.rounds, a.requests, 10)
        b.throughput(a.rounds, max(a.requests // 2, 100), 1)
        b.outage(a.outages, signal.SIGKILL, "SIGKILL")
        b.outage(a.outages, signal.SIGSTOP, "SIGSTOP")
    except (Failure, OSError) as e:
        print("bench: %s" % e)
        status = 1
    finally:
        rig.close()
    return status


if __name__ == "__main__":
    sys.exit(main())
