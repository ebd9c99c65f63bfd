# SPDX-License-Identifier: GPL-2.0-or-later
"""Failovers that three real members of etcd decide. Two hosts run `twinstep up` under a supervisor, as in up.py; they and
the members are five parties on one network, each in a namespace of its own:

    host a 10.79.0.1, host b 10.79.0.2 ---- bridge ---- relay.py ---- member 10.79.0.11, .12, .13

    tests/pair/pair.sh etcd_failover.py [--count N] [--seed S] [--kinds KIND,...]

Each round is one fault, with a kill of the live host where that is what makes somebody ask. At most one replica is live at
any time; no count that has been shown is lost; with a majority of etcd and one replica that can reach it the guest goes on
while the fault lasts, and without a majority nobody goes live; afterwards the pair is protected again. At the end each
generation that etcd has given away stands in the events of one host, and of one only."""
import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, HERE + "/../etcd"]
import up  # noqa: E402
from cluster import Cluster  # noqa: E402
from rig import PATIENCE, Failure, other, sh  # noqa: E402

PARTIES = {"a": "10.79.0.1", "b": "10.79.0.2", "0": "10.79.0.11", "1": "10.79.0.12", "2": "10.79.0.13"}
MEMBERS = "012"
CLIENTS, PEERS = 2379, 2380


class Net:
    """The five parties. Whatever is done to it ends with heal()."""

    def __init__(self):
        tag = "twinstep-%d-" % os.getpid()
        self.ns = {p: tag + p for p in PARTIES}
        self.relay = {}
        self.cut = set()
        sh("ip", "link", "set", "lo", "up")
        sh("ip", "link", "add", "br0", "type", "bridge")
        sh("ip", "link", "set", "br0", "up")
        for p in PARTIES:
            self.add(p)

    def on(self, p, *args):
        sh("ip", "netns", "exec", self.ns[p], *args)

    def enter(self, p):
        return ("ip", "netns", "exec", self.ns[p])

    def add(self, p):
        sh("ip", "netns", "add", self.ns[p])
        sh("ip", "link", "add", "port-" + p, "type", "veth", "peer", "name", "wire0", "netns", self.ns[p])
        sh("ip", "link", "set", "port-" + p, "master", "br0", "up")
        self.on(p, "ip", "link", "set", "lo", "up")
        # What a relay is given are frames as on a wire: none joined, none without its checksum.
        self.on(p, "ethtool", "-K", "wire0", "tx", "off", "tso", "off", "gso", "off", "gro", "off")
        dev = "wire0"
        if p in MEMBERS:
            self.on(p, "ip", "link", "set", "wire0", "arp", "off")
            self.on(p, "ip", "link", "set", "wire0", "up")  # before there is a relay, which ends when it is down
            dev = "eth0"
            self.relay[p] = subprocess.Popen([*self.enter(p), "setpriv", "--pdeathsig", "KILL", sys.executable, HERE + "/relay.py",
                                              "frames", dev, "wire0"], stdin=subprocess.PIPE)
        end = time.monotonic() + PATIENCE
        while subprocess.run([*self.enter(p), "ip", "link", "set", dev, "up"], stderr=subprocess.DEVNULL).returncode:
            if time.monotonic() > end:
                raise Failure("no %s of %s" % (dev, p))
            time.sleep(0.05)
        self.on(p, "ip", "addr", "add", PARTIES[p] + "/24", "dev", dev)

    def filter(self, p, rules):
        """Rules of one party, in place of those that it had."""
        if p in self.cut:
            self.on(p, "nft", "delete", "table", "inet", "cut")
            self.cut.discard(p)
        if rules:
            self.on(p, "nft", "add table inet cut; " + "; ".join(
                "add chain inet cut %s { type filter hook %s priority 0; policy accept; }" % (h, h) for h in ("input", "output"))
                + "; " + "; ".join("add rule inet cut " + r + " drop" for r in rules))
            self.cut.add(p)

    def part(self, some, others):
        """Nothing passes between any of the ones and any of the others."""
        for p in some:
            self.filter(p, [r for q in others for r in ("input ip saddr " + PARTIES[q], "output ip daddr " + PARTIES[q])])

    def swallow_answers(self):
        """Members take requests, and do as they say; no byte of an answer leaves them."""
        for p in MEMBERS:
            self.filter(p, ["output oifname eth0 tcp sport %d tcp flags & psh == psh" % CLIENTS])

    def defects(self, loss, delay, jitter):
        for p in MEMBERS:
            self.relay[p].stdin.write(b"%g %g %g\n" % (loss, delay, jitter))
            self.relay[p].stdin.flush()

    def heal(self):
        for p in list(self.cut):
            self.filter(p, [])
        self.defects(0, 0, 0)

    def close(self):
        for r in self.relay.values():
            r.kill()
            r.wait()
        for p in PARTIES:
            subprocess.run(["ip", "link", "del", "port-" + p], stderr=subprocess.DEVNULL)
            subprocess.run(["ip", "netns", "del", self.ns[p]], stderr=subprocess.DEVNULL)
        subprocess.run(["ip", "link", "del", "br0"], stderr=subprocess.DEVNULL)


class Etcd(Cluster):
    def __init__(self, folder, net):
        os.mkdir(folder)
        super().__init__(folder, None, [net.enter(p) for p in MEMBERS], [PARTIES[p] for p in MEMBERS], [CLIENTS] * 3, [PEERS] * 3)

    def generations(self):
        """Those that have been given away."""
        out = self.ctl("get", "web/generation/", "--prefix", "--keys-only")
        if out.returncode:
            raise Failure("etcdctl: " + out.stdout)
        return sorted(int(n) for n in re.findall(r"^web/generation/(\d+)$", out.stdout, re.M))


class Host(up.Host):
    net = None

    def command(self, *args):
        return [*self.net.enter(self.letter), *super().command(*args)]


class Test(up.Test):
    """up.Test, whose hosts and arbiter are parties of a network."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.dir = tempfile.mkdtemp(prefix="twinstep-etcd-")
        self.etcd = self.net = self.witness = None
        self.hosts = {}
        try:
            self.build()
        except BaseException:
            self.close()
            raise

    def build(self):
        self.net = Host.net = Net()
        self.etcd = Etcd(self.dir + "/etcd", self.net)
        arbiter = "etcd://%s/web" % ",".join("%s:%d" % (PARTIES[p], CLIENTS) for p in MEMBERS)
        self.prepare(arbiter, {h: PARTIES[h] + ":7777" for h in "ab"}, Host)

    def close(self):
        super().close()
        if self.etcd:
            self.etcd.close()
        if self.net:
            self.net.close()

    # ---- what is looked at ----

    def counts(self, what, seconds=PATIENCE):
        """One host has the guest, and it goes on there, whatever is wrong now."""
        before, end = None, time.monotonic() + seconds
        while before is None or self.highest <= before:
            self.check()
            if before is None and self.live():
                before = self.highest + 1  # what its predecessor has shown may still be on its way
            if time.monotonic() > end:
                raise Failure("%s: the guest does not go on after %s: %s; %s" % (
                    what, self.highest, self.hosts["a"].tail(), self.hosts["b"].tail()))
            time.sleep(0.02)

    def decided(self):
        return sum(e["event"] in ("start", "live") for h in "ab" for e in self.hosts[h].events())

    def kill_live(self):
        self.hosts[self.live()].kill("all")

    # ---- faults: each leaves the network and etcd as they like; round() heals ----

    def live_host(self):
        self.kill_live()
        return "counts"

    def backup_host(self):
        self.hosts[other(self.live())].kill("all")
        return "counts"

    def both_hosts(self):
        """Nothing is left but what is on the disks."""
        for h in self.random.sample("ab", 2):
            self.hosts[h].kill("all")
        return "counts"

    def live_replica(self):
        self.hosts[self.live()].kill("replica")
        return "counts"

    def kill_members(self, members, live=True):
        for i in members:
            self.etcd.kill(i)
        if live:
            self.kill_live()

    def leader(self):
        self.kill_members([self.etcd.leader()])
        return "counts"

    def minority(self):
        self.kill_members([self.random.randrange(3)])
        return "counts"

    def majority(self):
        """The live host as well: nobody may go on alone before there is a majority again."""
        self.hosts[self.live()].delay = 3
        self.kill_members(self.random.sample(range(3), 2))
        before = self.decided()
        time.sleep(2.5)
        if self.decided() != before:
            raise Failure("somebody went live without a majority of etcd")
        return "later"

    def majority_alone(self):
        """A pair that is protected needs no arbiter."""
        self.kill_members(self.random.sample(range(3), 2), live=False)
        return "counts"

    def pair_of_parties(self):
        one, two = self.random.sample(sorted(PARTIES), 2)
        self.net.part([one], [two])
        self.said = "%s|%s" % (one, two)
        return "counts"

    def pair_of_parties_and_kill(self):
        one, two = self.random.sample(sorted(PARTIES), 2)
        self.net.part([one], [two])
        self.said = "%s|%s" % (one, two)
        self.kill_live()
        return "counts"

    def live_alone(self):
        """The live host sees nobody: the other one goes on."""
        live = self.live()
        self.net.part([live], [p for p in PARTIES if p != live])
        return "counts"

    def live_without_etcd(self):
        self.net.part([self.live()], MEMBERS)
        return "counts"

    def hosts_apart(self):
        self.net.part("a", "b")
        return "counts"

    def two_sides(self):
        """The live host and one member here, the other host and two members there."""
        live, member = self.live(), self.random.choice(MEMBERS)
        here = [live, member]
        self.net.part(here, [p for p in PARTIES if p not in here])
        return "counts"

    def slow(self):
        self.net.defects(0, 80, 60)
        self.kill_live()
        return "counts"

    def lossy(self):
        self.net.defects(15, 5, 10)
        self.kill_live()
        return "counts"

    def lost_answer(self):
        """The survivor's generation is given to it, and nobody tells it, until it asks again."""
        before, live = max(self.etcd.generations()), self.live()
        self.hosts[live].delay = 1
        self.net.swallow_answers()
        self.kill_live()
        end = time.monotonic() + PATIENCE
        while True:
            if max(self.etcd.generations()) > before:
                break
            if time.monotonic() > end:
                raise Failure("nobody asked for a generation after %d" % before)
            time.sleep(0.05)
        time.sleep(1)
        if any(e.get("generation", 0) > before and e["event"] == "live" for h in "ab" for e in self.hosts[h].events()):
            raise Failure("went live without an answer")
        return "later"

    KINDS = [live_host, backup_host, both_hosts, live_replica, leader, minority, majority, majority_alone, pair_of_parties,
             pair_of_parties_and_kill, live_alone, live_without_etcd, hosts_apart, two_sides, slow, lossy, lost_answer]

    def fault(self, n, kind):
        self.said = ""
        for h in "ab":
            self.hosts[h].delay = self.random.uniform(0, 0.5)
        started, what = time.monotonic(), kind.__name__
        if kind(self) == "counts":
            self.counts(what)
        lived = time.monotonic() - started
        self.net.heal()
        for i in range(3):
            if not self.etcd.proc[i]:
                self.etcd.start(i)
        self.etcd.wait()
        self.wait_protected(what)
        print("ok etcd-failover.%d: %s %s; %s is live in generation %d, %d counted; went on after %.1f s, protected after %.1f s" % (
            n, what, self.said, self.live(), max(self.etcd.generations()), self.highest, lived, time.monotonic() - started), flush=True)

    def decisions(self):
        """What etcd has given away against what the hosts have written."""
        given, told = self.etcd.generations(), {}
        for h in "ab":
            for e in self.hosts[h].events():
                if e["event"] in ("start", "live", "unprotected"):
                    told.setdefault(e["generation"], set()).add(h)
        twice = {g: hs for g, hs in told.items() if len(hs) > 1}
        silent = sorted(set(given) - set(told))
        if twice or given != list(range(1, len(given) + 1)) or set(told) - set(given):
            raise Failure("generations: twice %s, etcd has %s, events have %s" % (twice, given, sorted(told)))
        # One whose replica was killed between etcd's answer and its own word may be silent.
        if len(silent) > len(given) // 50:
            raise Failure("generations that no event tells of: %s" % silent)
        print("ok etcd-failover.decisions: %d generations, each of one owner, %d of them in the events%s" % (
            len(given), len(told), ", without %s" % silent if silent else ""), flush=True)


def main():
    names = {k.__name__.replace("_", "-"): k for k in Test.KINDS}
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=len(names))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kinds", help="these, one after the other: " + ", ".join(names))
    args = parser.parse_args()
    failed, test = 0, None
    try:
        test = Test(args.seed)
        kinds = [names[k] for k in args.kinds.split(",")] if args.kinds else []
        while len(kinds) < args.count and not args.kinds:
            kinds += test.random.sample(Test.KINDS, len(Test.KINDS))
        test.start()
        test.wait_protected("start")
        print("ok etcd-failover.start: seed %d" % args.seed, flush=True)
        for n, kind in enumerate(kinds[:args.count] if not args.kinds else kinds):
            test.fault(n + 1, kind)
        test.decisions()
        test.check()
    except (Failure, OSError, ValueError, KeyError, RuntimeError, subprocess.SubprocessError) as e:
        failed = 1
        print("not ok etcd-failover: seed %d: %r" % (args.seed, e), flush=True)
    finally:
        if test:
            test.close()
    return failed


if __name__ == "__main__":
    sys.exit(main())
