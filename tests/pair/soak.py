# SPDX-License-Identifier: GPL-2.0-or-later
"""Failovers at random moments under load, with a disk that is written throughout.

usage: soak.py [--count N] [--clients N] [--seed N] [--only FAULT] [--samples FILE, a line for each round]

The first faults are each kind once, in the order of their names. In the end failover.frames has looked at every frame of the
guest on both hosts' ports: the two sides never sent by turns; failover.growth at what each round has found of memory,
descriptors, metadata and files (growth.py); and failover.images at both images, which are equal byte for byte.

One guest lives through all of it: after each fault whoever is live takes a new backup. The clients keep their TCP
connections from the first fault to the last.
"""
import argparse
import json
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from growth import Growth  # noqa: E402
from rig import PATIENCE, Client, Failure, Watch, check_counters, median, other, winner  # noqa: E402
from written import DiskRig  # noqa: E402

IMAGES_EVERY = 10  # rounds


def expect(cond, text):
    if not cond:
        raise Failure(text)


class Soak:
    def __init__(self, rig, clients):
        self.rig = rig
        self.live, self.backup = rig.start_pair()
        self.watch = Watch()
        self.clients = [Client(i) for i in range(clients)]
        self.swaps = 0

    def check_clients(self):
        for c in self.clients:
            if c.error:
                raise Failure("client %s: %s" % (c.key, c.error))

    def progress(self, seconds=PATIENCE):
        """Every client gets a reply to a request made from now on."""
        before = [c.count for c in self.clients]
        deadline = time.monotonic() + seconds
        while any(c.count < b + 3 for c, b in zip(self.clients, before)):
            self.check_clients()
            expect(time.monotonic() < deadline, "clients are stuck: %s, live: %s" % (
                [c.count - b for c, b in zip(self.clients, before)], self.live.tail()))
            time.sleep(0.002)

    def swap(self):
        """The backup is the live one now; the old one's host gets a new backup."""
        old = self.live
        self.live = self.backup
        self.swaps += 1
        return old

    def new_backup(self):
        self.backup = self.rig.start_backup(other(self.live.host), self.live)

    # ---- faults; each returns (time of the fault, host that must be silent afterwards or None) ----

    def primary_kill(self):
        t = time.monotonic()
        self.live.kill(signal.SIGKILL)
        self.backup.wait_event("live", PATIENCE)
        self.swap()
        return t, None

    def primary_stop(self):
        """Frozen, then woken up when the other one is live: must emit nothing and end."""
        t = time.monotonic()
        self.live.kill(signal.SIGSTOP)
        self.backup.wait_event("live", PATIENCE)
        t2 = time.monotonic()
        old = self.swap()
        self.progress()
        old.kill(signal.SIGCONT)
        old.proc.wait(PATIENCE)
        self.watch.silent_after(old.host, t2, "the frozen primary")
        return t, None

    def backup_kill(self):
        t = time.monotonic()
        n = len(self.live.events())
        self.backup.kill(signal.SIGKILL)
        self.live.wait_event("unprotected", PATIENCE, n)
        return t, None

    def one_wins(self, n):
        """Both lived and lost each other: exactly one goes on."""
        loser = self.swap() if winner(self.live, self.backup, n) is self.backup else self.backup
        t = time.monotonic()
        loser.proc.wait(PATIENCE)
        expect(loser.proc.returncode == 118, "the loser ended with status %s: %s" % (loser.proc.returncode, loser.tail()))
        self.progress()
        self.watch.silent_after(loser.host, t + 0.02, "the loser")

    def link_down(self):
        t, n = time.monotonic(), len(self.live.events())
        self.rig.top.link(False)
        try:
            self.one_wins(n)
        finally:
            self.rig.top.link(True)
        return t, None

    def link_filter(self):
        t, n = time.monotonic(), len(self.live.events())
        host = random.choice("ab")
        self.rig.top.drop(host, True)
        try:
            self.one_wins(n)
        finally:
            self.rig.top.drop(host, False)
        return t, None

    def early_kill(self):
        """The primary dies as soon as it calls a new backup protected: what it said while that joined counts."""
        n = len(self.live.events())
        self.backup.kill(signal.SIGKILL)
        self.live.wait_event("unprotected", PATIENCE, n)
        self.new_backup()
        return self.primary_kill()

    def lossy_client(self):
        """The primary dies while the client's link loses, delays and reorders frames."""
        self.rig.top.defects(3, 2, 8)
        time.sleep(1)
        try:
            result = self.primary_kill()
            self.progress()
        finally:
            self.rig.top.defects(0, 0, 0)
        return result

    def slow_peer(self):
        """The primary dies while the link between the replicas is slow."""
        n = len(self.live.events())
        self.backup.kill(signal.SIGKILL)
        self.live.wait_event("unprotected", PATIENCE, n)
        host = other(self.live.host)
        p, address = self.rig.slow_link(host, self.live, 20e6, 2)
        try:
            self.backup = self.rig.start_backup(host, self.live, address)
            time.sleep(1)
            result = self.primary_kill()
            self.progress()
        finally:
            p.kill()
            p.wait()
        return result

    def primary_hang(self):
        """Its vCPU thread hangs, its network threads answer."""
        t = time.monotonic()
        answer = self.live.ask(command="fault", kind="hang", ms=0)
        expect(answer.get("ok"), "the hang is refused: %s" % answer)
        self.backup.wait_event("hang", PATIENCE)
        self.backup.wait_event("live", PATIENCE)
        t2 = time.monotonic()
        old = self.swap()
        old.proc.wait(PATIENCE)
        self.progress()
        self.watch.silent_after(old.host, t2, "the hanging primary")
        return t, None

    def switch(self):
        """No fault: both live on, in each other's place, and nothing is sent anew."""
        t = time.monotonic()
        n = len(self.live.events())
        answer = self.live.ask(command="switch")
        expect(answer.get("ok"), "the switch is refused: %s" % answer)
        self.backup.wait_event("switched", PATIENCE)
        expect(not [e for e in self.live.events()[n:] if e["event"] == "unprotected"], "unprotected in a switch")
        self.backup = self.swap()
        self.backup.wait_event("follows", PATIENCE, n)
        self.backup.past = len(self.backup.events())
        return t, None

    FAULTS = {"early-kill": early_kill, "primary-hang": primary_hang, "lossy-client": lossy_client, "slow-peer": slow_peer,
              "primary-kill": primary_kill, "primary-stop": primary_stop, "backup-kill": backup_kill,
              "link-down": link_down, "link-filter": link_filter, "switch": switch}

    def round(self, fault):
        time.sleep(random.uniform(0.05, 0.6))
        self.check_clients()
        for kept in [self.watch] + self.clients:
            kept.forget()
        t, _ = self.FAULTS[fault](self)
        self.progress()
        gap = max(c.gap(t - 0.001) for c in self.clients)
        check_counters(self.clients)
        if fault != "switch":
            self.new_backup()
        self.progress()
        return gap


class DiskSoak(Soak):
    """Of a DiskRig: the guest's disk is written, and looked at, in every round."""

    def __init__(self, rig, clients):
        super().__init__(rig, clients)
        self.rounds = 0
        self.sample = {}
        names = {"data.img", "data.img.twin"}
        self.growth = Growth({os.path.dirname(i): names for i in rig.images.values()},
                             [i + ".twin" for i in rig.images.values()], rig.dir + "/arbiter")

    def round(self, fault):
        gap = super().round(fault)
        self.rig.wait_kept(self.live, 2)
        self.sample = self.growth.look(self.live, self.backup)
        self.rounds += 1
        if self.rounds % IMAGES_EVERY == 0:
            self.rig.equal_while_written(self.live)
        return gap

    def images(self):
        """The end: both sides' images are equal while they are written, and when nobody writes any more."""
        self.rig.equal_while_written(self.live)
        self.rig.verify(self.live)
        writes = self.rig.kept(self.live)
        for c in self.clients:
            c.stop()
        self.check_clients()
        self.rig.stop_equal(self.live, self.backup)
        return writes


def check_frames(watch, swaps):
    """The sides never send by turns: each change of the live side is one end of frames on one port, one beginning on the other."""
    turns = watch.turns()
    changes = list(zip(turns, turns[1:]))
    expect(len(changes) == swaps, "frames changed sides %d times in %d failovers: %s" % (len(changes), swaps, turns[-8:]))
    print("ok failover.frames: %d (%d not seen), %d changes of the sending side, silence between the two %s ms" % (
        sum(n for _, _, _, n in turns), watch.missed, len(changes),
        ", ".join("%.1f" % ((new[1] - old[2]) / 1e6) for old, new in changes)), flush=True)


def run_faults(faults, gaps, hang, clients, samples):
    """One guest lives through the faults, which are taken from the list one by one, up to the first that fails."""
    rig, soak, failed = DiskRig(["--hang-timeout", str(hang)], relay=True), None, 0
    fault, begun = faults[0], time.monotonic()
    try:
        soak = DiskSoak(rig, clients)
        while faults:
            fault = faults.pop(0)
            gap = soak.round(fault)
            gaps.setdefault(fault, []).append(gap)
            print("ok failover.%s: longest gap %.0f ms, %d replies" % (
                fault, gap * 1000, sum(c.count for c in soak.clients)), flush=True)
            if samples:
                print(json.dumps({"fault": fault, "seconds": round(time.monotonic() - begun, 1), **soak.sample}),
                      file=samples, flush=True)
        fault = "images"
        print("ok failover.images: equal after %d rounds and %d flushed writes, all of which were read back" % (
            soak.rounds, soak.images()), flush=True)
        fault = "growth"
        print("ok failover.growth: %s" % soak.growth.check(), flush=True)
        print("# %d connections, none broken" % len(soak.clients))
    except (Failure, OSError, ValueError) as e:
        failed = 1
        print("not ok failover.%s: %s" % (fault, e), flush=True)
        os.environ["KEEP"] = "1"
        print("logs in %s" % rig.dir)
        if not soak and faults:
            del faults[0]
    finally:
        if soak:
            soak.watch.close()
        rig.close()
    try:
        if not failed:
            check_frames(soak.watch, soak.swaps)
    except Failure as e:
        failed = 1
        print("not ok failover.frames: %s" % e, flush=True)
    return failed


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--count", type=int, default=10)
    p.add_argument("--clients", type=int, default=10)
    p.add_argument("--seed", type=int, default=int(time.time()))
    p.add_argument("--only", choices=sorted(Soak.FAULTS))
    p.add_argument("--samples", type=argparse.FileType("w"))
    a = p.parse_args()
    random.seed(a.seed)
    print("seed %d" % a.seed, flush=True)
    hang = int(os.environ.get("TIMEOUT", "200")) + 1000
    names = sorted(Soak.FAULTS)
    faults = [a.only or (names[i] if i < len(names) else random.choice(names)) for i in range(a.count)]
    gaps, failed = {}, 0
    while faults:  # after a failure the others still have their turn, with a new pair
        failed |= run_faults(faults, gaps, hang, a.clients, a.samples)
    for fault, values in sorted(gaps.items()):
        print("# %s: %d times, median gap %.0f ms, longest %.0f ms" % (
            fault, len(values), median(values) * 1000, max(values) * 1000))
    return failed


if __name__ == "__main__":
    sys.exit(main())
