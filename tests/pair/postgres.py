# SPDX-License-Identifier: GPL-2.0-or-later
"""PostgreSQL in a protected pair with a disk on each side, and what happens to hosts.

usage: postgres.py [--rounds N] [--seed N] [--only FAULT,...]

A round: clients commit; a fault; the server answers, and no acknowledged commit is missing; the pair is protected again, and `twinstep verify` finds both images equal.
The images lie behind diskdouble.c: a host that loses its power forgets what was not flushed, in any order, and a disk
can fail or be full. At the end the guest ends in order: pg_amcheck, pg_checksums and fsck find nothing, and both images
are equal, byte for byte.
"""
import argparse
import collections
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import psycopg2

sys.path.insert(0, os.path.dirname(__file__))
from rig import BUILD, GUEST_IP, PATIENCE, APPEND, PEER_IP, TWINSTEP, Failure, Rig, other, winner  # noqa: E402

GUEST = BUILD + "/guest-postgres"
BIN = "/usr/lib/postgresql/15/bin/"
SECTOR = 512
UNDO = struct.Struct("<IIQ")
KEPT = 200  # rows of each client that are kept
RUN = "mkdir -p /mnt; mount -t ext4 /dev/vda /mnt && chroot /mnt /start; umount /mnt"


def native(program, *args):
    """One of PostgreSQL's programs, on this host."""
    return subprocess.run([GUEST + "/root/host.sh", BIN + program, *args], capture_output=True, text=True)


class Lost(Failure):
    """Data is missing or damaged: no host is so slow that this is its doing."""


def expect(cond, text):
    if not cond:
        raise Failure(text)


def expect_kept(cond, text):
    if not cond:
        raise Lost(text)


# ---- disks ----

class Disk:
    """An image, its metadata, and what storage need not have kept of them."""

    def __init__(self, path):
        self.path = path
        subprocess.run(["cp", "--sparse=always", GUEST + "/disk.img", path], check=True)
        for p, size in ((path, 64 << 20), (path + ".twin", 4 << 20)):
            with open(p + ".undo", "wb") as f:
                f.truncate(size)

    def fail(self, errno):
        with open(self.path + ".undo", "r+b") as f:
            f.write(struct.pack("<I", errno))

    def lose_power(self):
        """What was not flushed is kept or not, sector by sector, each as it was at some moment since the flush."""
        return sum(self.forget(p) for p in (self.path, self.path + ".twin"))

    @staticmethod
    def forget(path):
        if not os.path.exists(path):
            return 0
        with open(path + ".undo", "r+b") as undo, open(path, "r+b") as image:
            _, _, used = UNDO.unpack(undo.read(UNDO.size))
            log, at = undo.read(used), 0
            before = collections.defaultdict(list)
            while at < used:
                offset, length = struct.unpack_from("<QQ", log, at)
                at += 16
                for i in range(0, length, SECTOR):
                    before[offset + i].append(log[at + i:at + i + SECTOR])
                at += length
            mode = random.choice(("all", "none", "any"))
            for sector, versions in before.items():
                which = {"all": 0, "none": len(versions)}.get(mode, random.randint(0, len(versions)))
                if which < len(versions):
                    image.seek(sector)
                    image.write(versions[which])
            undo.seek(0)
            undo.write(UNDO.pack(0, 0, 0))
            return len(before)


class PostgresRig(Rig):
    def __init__(self):
        super().__init__()
        self.wrap = ("env", "LD_PRELOAD=" + os.path.abspath(BUILD + "/tests/pair/diskdouble.so"))
        self.disk = {h: Disk("%s/disk-%s.img" % (self.dir, h)) for h in "ab"}

    def boot_args(self):
        return ["--kernel", BUILD + "/guest/vmlinuz", "--initrd", BUILD + "/guest/initramfs", "--memory", "192M",
                "--append", APPEND.replace(" twinstep.redis", ' twinstep.run="%s"' % RUN)]

    def start(self, role, host, args):
        return super().start(role, host, args + ["--disk", self.disk[host].path])


# ---- clients ----

class Writer(threading.Thread):
    """Commits rows with rising numbers; what was acknowledged has to be there for ever."""

    COMMIT = ("BEGIN; INSERT INTO log VALUES (%d, %d, repeat(md5('%d'), %d)); UPDATE counter SET n = %d WHERE client = %d;"
              " DELETE FROM log WHERE client = %d AND seq <= %d; COMMIT")

    def __init__(self, number):
        super().__init__(daemon=True)
        self.number = number
        self.acked = 0
        self.error = None
        self.running = True
        self.may_break = threading.Event()  # nobody is live: the connection ends
        self.conn = connect(PATIENCE)
        self.start()

    def run(self):
        try:
            while self.running:
                self.step()
        except Exception as e:  # a test's thread hands everything to the test
            self.error = e

    def step(self):
        n, s = self.number, self.acked + 1
        try:
            self.conn.cursor().execute(self.COMMIT % (n, s, s, random.choice((1, 8, 60)), s, n, n, s - KEPT))
            self.acked = s
        except psycopg2.OperationalError:
            if not self.may_break.is_set():
                raise
            self.again(s)

    def again(self, tried):
        """A commit that was not answered is there or not."""
        while self.running:
            try:
                self.conn = connect()
                cur = self.conn.cursor()
                cur.execute("SELECT n FROM counter WHERE client = %d" % self.number)
                got = cur.fetchone()[0]
                break
            except psycopg2.OperationalError:
                time.sleep(0.2)
        else:
            return
        expect_kept(got in (tried - 1, tried), "client %d has %d, acknowledged were %d" % (self.number, got, tried - 1))
        self.acked = got
        self.may_break.clear()

    def cut(self):
        """The guest is gone, and its connections with it."""
        self.may_break.set()
        try:
            socket.socket(fileno=os.dup(self.conn.fileno())).shutdown(socket.SHUT_RDWR)
        except (OSError, psycopg2.InterfaceError):
            pass


def connect(seconds=10):
    """Of a server that has to answer: connect(PATIENCE), since a busy host may take long."""
    c = psycopg2.connect(host=GUEST_IP, user="postgres", dbname="postgres", connect_timeout=seconds)
    c.autocommit = True
    return c


def check_rows(writers):
    """Every acknowledged commit is there as a whole, seen by a new connection."""
    conn = connect(PATIENCE)
    cur = conn.cursor()
    before = [w.acked for w in writers]
    cur.execute("SELECT c.client, c.n, count(l.seq), min(l.seq), max(l.seq), count(*) FILTER (WHERE left(l.filler, 32) <> md5(l.seq::text))"
                " FROM counter c LEFT JOIN log l USING (client) GROUP BY 1, 2")
    rows = {r[0]: r[1:] for r in cur.fetchall()}
    conn.close()
    for w, low in zip(writers, before):
        n, count, first, last, wrong = rows[w.number]
        high = w.acked + 1
        expect_kept(low <= n <= high, "client %d: counter %d, acknowledged %d to %d" % (w.number, n, low, high))
        if n:
            expect_kept((last, first, count, wrong) == (n, max(n - KEPT + 1, 1), min(n, KEPT), 0),
                        "client %d: rows %s to %s, %d of them, %d wrong, counter %d" % (w.number, first, last, count, wrong, n))


# ---- rounds ----

class Postgres:
    def __init__(self, rig):
        self.rig = rig
        self.writers = []
        self.joins = 4 << 20  # bytes that a join has sent
        self.live = rig.start("primary", "a", rig.boot_args())
        self.backup = rig.start_backup("b", self.live)
        self.answers()
        cur = connect(PATIENCE).cursor()
        cur.execute("CREATE EXTENSION amcheck; CREATE TABLE log (client int, seq int, filler text, PRIMARY KEY (client, seq));"
                    "CREATE TABLE counter (client int PRIMARY KEY, n int); INSERT INTO counter VALUES (0, 0), (1, 0), (2, 0)")
        self.writers = [Writer(i) for i in range(3)]

    def answers(self):
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return connect().close()
            except psycopg2.OperationalError as e:
                expect(self.live.alive(), "the live side ended: " + self.live.tail())
                expect(time.monotonic() < deadline, "the server does not answer: %s" % e)
                time.sleep(0.2)

    def check_writers(self):
        for w in self.writers:
            if w.error:
                raise (Lost if isinstance(w.error, Lost) else Failure)("client %d: %s" % (w.number, w.error))

    def progress(self):
        before = [w.acked for w in self.writers]
        deadline = time.monotonic() + PATIENCE
        while any(w.acked < b + 2 for w, b in zip(self.writers, before)):
            self.check_writers()
            expect(time.monotonic() < deadline, "clients are stuck: " + self.live.tail())
            time.sleep(0.01)

    def kill(self, replica):
        """Half of the time its host goes with it."""
        replica.kill(signal.SIGKILL)
        replica.proc.wait(PATIENCE)
        if random.random() < 0.5:
            self.rig.disk[replica.host].lose_power()

    def swap(self):
        old, self.live = self.live, self.backup
        return old

    def protect(self):
        n = self.sent()
        self.backup = self.rig.start_backup(other(self.live.host), self.live)
        self.joins = max(self.sent() - n, 1 << 20)

    def verify(self):
        """Both images are equal, byte for byte, at the records that both execute."""
        answer = self.live.ask(command="verify")
        expect(answer.get("ok"), "disks cannot be compared: %s" % answer)
        deadline = time.monotonic() + PATIENCE
        while True:
            v = self.live.status()["verify"]
            if not v["running"]:
                break
            expect(time.monotonic() < deadline, "disks are not compared to their end: %s" % v)
            time.sleep(0.1)
        expect_kept(v["compared"] == v["blocks"] and not v["differing"], "the disks differ: %s" % v)

    def sent(self):
        """Bytes that the live side's host has sent to the other one."""
        with open("/proc/%d/net/dev" % self.live.proc.pid) as f:
            for line in f:
                if line.strip().startswith("peer0:"):
                    return int(line.split(":")[1].split()[8])
        return 0

    def boot(self):
        """Nobody is live: of the two sides the one that may start does."""
        for w in self.writers:
            w.cut()
        for host in (self.live.host, other(self.live.host)):
            r = self.rig.start("primary", host, self.rig.boot_args() + ["--no-wait"])
            try:
                r.wait_event("start", PATIENCE)
                self.live = r
                break
            except Failure:
                expect(not r.alive() and "may be old" in r.tail(), "side %s does not start: %s" % (host, r.tail()))
        else:
            raise Failure("neither side may start")
        self.answers()

    # ---- faults ----

    def kill_live(self):
        self.kill(self.live)
        self.backup.wait_event("live", PATIENCE)
        self.swap()

    def kill_backup(self):
        n = len(self.live.events())
        self.kill(self.backup)
        self.live.wait_event("unprotected", PATIENCE, n)

    def kill_both(self):
        both = [self.live, self.backup]
        random.shuffle(both)
        both[0].kill(signal.SIGKILL)
        time.sleep(random.choice((0, 0, 0.01, 0.5)))
        both[1].kill(signal.SIGKILL)
        for r in both:
            r.proc.wait(PATIENCE)
            self.rig.disk[r.host].lose_power()
        self.boot()

    def freeze_live(self):
        self.live.kill(signal.SIGSTOP)
        self.backup.wait_event("live", PATIENCE)
        old = self.swap()
        self.progress()
        self.ends(old, signal.SIGCONT)

    def freeze_backup(self):
        n = len(self.live.events())
        self.backup.kill(signal.SIGSTOP)
        self.live.wait_event("unprotected", PATIENCE, n)
        self.progress()
        self.ends(self.backup, signal.SIGCONT)

    def ends(self, old, sig=None):
        if sig:
            old.kill(sig)
        old.proc.wait(PATIENCE)
        expect(old.proc.returncode in (118, 122), "%s ended with status %d: %s" % (old.host, old.proc.returncode, old.tail()))

    def cut_link(self):
        n = len(self.live.events())
        self.rig.top.link(False)
        try:
            self.ends(self.swap() if winner(self.live, self.backup, n) is self.backup else self.backup)
            self.progress()
        finally:
            self.rig.top.link(True)

    def disk_fails(self, side, errno):
        n, host = len(self.live.events()), side.host
        self.rig.disk[host].fail(errno)
        if side is self.live:
            self.backup.wait_event("live", PATIENCE)
            self.swap()
        else:
            self.live.wait_event("unprotected", PATIENCE, n)
        self.ends(side)
        self.rig.disk[host].fail(0)

    def disk_error(self):
        self.disk_fails(random.choice((self.live, self.backup)), 5)

    def disk_full(self):
        self.disk_fails(random.choice((self.live, self.backup)), 28)

    def join_killed(self, moment):
        """Either side dies while a backup joins, at a moment that this waits for."""
        self.kill_backup()
        self.progress()
        sent, n = self.sent(), len(self.live.events())
        joiner = self.rig.start("backup", other(self.live.host), ["--connect", "%s:7777" % PEER_IP[self.live.host]])
        moment(n, sent)
        protected = any(e["event"] == "protected" for e in self.live.events()[n:])
        if random.random() < 0.5:
            self.kill(joiner)
            if protected:
                self.live.wait_event("unprotected", PATIENCE, n)
        else:
            self.kill(self.live)
            deadline = time.monotonic() + PATIENCE
            while joiner.alive() and not any(e["event"] == "live" for e in joiner.events()):
                expect(time.monotonic() < deadline, "the joiner neither goes live nor ends: " + joiner.tail())
                time.sleep(0.01)
            if joiner.alive():
                self.live = joiner
            else:
                expect(not protected or "taken" in joiner.tail(), "a protecting backup did not go live: " + joiner.tail())
                self.boot()

    def at_bytes(self, low, high):
        def moment(n, sent):
            limit = sent + self.joins * random.uniform(low, high)
            deadline = time.monotonic() + PATIENCE
            while self.sent() < limit and not any(e["event"] == "protected" for e in self.live.events()[n:]):
                expect(time.monotonic() < deadline, "the join does not go on")
                time.sleep(0.001)
        return moment

    def at_event(self, name):
        def moment(n, sent):
            self.live.wait_event(name, PATIENCE, n)
            time.sleep(random.choice((0, 0, 0.001, 0.01)))
        return moment

    def join_identity(self):
        self.join_killed(self.at_event("joining"))

    def join_disks(self):
        self.join_killed(self.at_bytes(0.001, 0.1))

    def join_memory(self):
        self.join_killed(self.at_bytes(0.1, 0.95))

    def join_last_round(self):
        self.join_killed(random.choice((self.at_event("transferred"), self.at_bytes(0.95, 1))))

    def join_first_record(self):
        self.join_killed(self.at_event("protected"))

    # The two change places; then a host dies, or does so meanwhile.

    def switch(self):
        n, m = len(self.live.events()), len(self.backup.events())
        answer = self.live.ask(command="switch")
        expect(answer.get("ok"), "they do not change places: %s" % answer)
        self.backup.wait_event("switched", PATIENCE, m)
        self.live.wait_event("follows", PATIENCE, n)
        self.backup = self.swap()
        expect(not any(e["event"] in ("live", "unprotected", "joining") for e in self.live.events()[m:] + self.backup.events()[n:]),
               "it was unprotected")

    def switches(self):
        for _ in range(random.choice((1, 2, 3))):
            self.switch()
            self.progress()
        self.verify()

    def switch_kill_live(self):
        self.switches()
        self.kill_live()

    def switch_kill_backup(self):
        self.switches()
        self.kill_backup()

    def switch_kill_both(self):
        self.switches()
        self.kill_both()

    def switch_at_once(self):
        """Killed as soon as they have changed places: what is written down of it may be old."""
        self.switch()
        random.choice((self.kill_live, self.kill_backup, self.kill_both))()

    def switch_killed(self):
        """One side, or both, die at some moment of a switch."""
        n, m = len(self.live.events()), len(self.backup.events())
        asks = threading.Thread(target=self.ask_to_switch, daemon=True)
        asks.start()
        time.sleep(random.choice((0, random.uniform(0, 0.05), random.uniform(0, 0.4))))
        both, sides = random.random() < 0.3, [self.live, self.backup]
        random.shuffle(sides)
        for r in sides[:1 + both]:
            self.kill(r)
        asks.join(PATIENCE)
        if both:
            self.boot()
            return
        dead, left = sides
        since = m if left is self.backup else n
        deadline = time.monotonic() + PATIENCE
        while not any(e["event"] in ("live", "unprotected") for e in left.events()[since:]):
            expect(left.alive(), "the side that is left ended with %s: %s" % (left.proc.returncode, left.tail()))
            expect(time.monotonic() < deadline, "the side that is left does not go on: " + left.tail())
            time.sleep(0.005)
        self.live, self.backup = left, dead

    def ask_to_switch(self):
        try:
            self.live.ask(command="switch")
        except (OSError, ValueError):  # it was killed before it could answer
            pass

    # The guest moves to the other host, where a backup waits to be called.

    def migrate_killed(self):
        """Either side dies at some moment of the move, or as soon as it is over."""
        self.kill_backup()
        self.progress()
        n, sent, old = len(self.live.events()), self.sent(), self.live
        new = self.rig.start("backup", other(old.host), [])
        deadline = time.monotonic() + PATIENCE
        while "waiting at" not in new.tail():
            expect(new.alive() and time.monotonic() < deadline, "it does not wait to be called: " + new.tail())
            time.sleep(0.01)
        mover = subprocess.Popen(["ip", "netns", "exec", self.rig.top.ns[old.host], TWINSTEP, "migrate", old.control, "--to",
                                  "%s:7777" % PEER_IP[new.host], "--keep"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            random.choice((self.at_event("joining"), self.at_bytes(0.001, 0.95), self.at_event("transferred"),
                           self.at_event("protected"), self.at_event("follows"), lambda *_: mover.wait(PATIENCE)))(n, sent)
            protected = any(e["event"] == "protected" for e in old.events()[n:])
            dead, left = random.choice(((old, new), (new, old)))
            self.kill(dead)
            said = mover.communicate(timeout=PATIENCE)[1]
        finally:
            mover.kill()
            mover.wait()
        if self.goes_live(left):
            self.live = left
            return
        expect(left is new and not protected, "%s did not go live, migrate said: %s" % (left.host, said))
        if left.alive():  # it waits to be called again
            left.kill(signal.SIGKILL)
        left.proc.wait(PATIENCE)
        self.boot()

    @staticmethod
    def goes_live(replica):
        """Whether one that has lost its other side is live: False when it ends, or waits to be called."""
        deadline = time.monotonic() + PATIENCE
        while replica.alive():
            expect(time.monotonic() < deadline, "it neither goes live nor ends: " + replica.tail())
            try:
                s = replica.status()
            except (OSError, ValueError):  # it ends
                s = {"state": ""}
            if s["state"] == "alone" or (s["state"] == "loading" and not s.get("peer")):
                return s["state"] == "alone"
            time.sleep(0.05)
        return False

    FAULTS = {"kill-live": kill_live, "kill-backup": kill_backup, "kill-both": kill_both, "freeze-live": freeze_live,
              "freeze-backup": freeze_backup, "cut-link": cut_link, "disk-error": disk_error, "disk-full": disk_full,
              "join-identity": join_identity, "join-disks": join_disks, "join-memory": join_memory,
              "join-last-round": join_last_round, "join-first-record": join_first_record,
              "switch-kill-live": switch_kill_live, "switch-kill-backup": switch_kill_backup,
              "switch-kill-both": switch_kill_both, "switch-at-once": switch_at_once, "switch-killed": switch_killed,
              "migrate-killed": migrate_killed}

    def round(self, fault):
        time.sleep(random.uniform(0.1, 1.5))
        self.check_writers()
        self.FAULTS[fault](self)
        self.progress()
        check_rows(self.writers)
        self.protect()
        self.progress()
        self.verify()
        check_rows(self.writers)

    def end(self):
        """In good order; then both images are what the guest has left."""
        for w in self.writers:
            w.running = False
            w.join(PATIENCE)
        self.check_writers()
        check_rows(self.writers)
        r = native("pg_amcheck", "-h", GUEST_IP, "-U", "postgres", "--heapallindexed", "postgres")
        expect_kept(r.returncode == 0, "pg_amcheck: %s %s" % (r.stdout, r.stderr))
        asks = connect().cursor()
        try:
            asks.execute("COPY (SELECT 1) TO PROGRAM '/bin/busybox kill -INT $(/bin/busybox head -n 1 /data/postmaster.pid)'")
        except psycopg2.Error:
            pass  # The shutdown may end the very request that asked for it; whether the guest ends is seen below.
        for r in (self.live, self.backup):
            r.proc.wait(PATIENCE)
            expect(r.proc.returncode == 0, "%s ended with status %d: %s" % (r.host, r.proc.returncode, r.tail()))
        check_images(self.rig)


def check_images(rig):
    a, b = rig.disk["a"].path, rig.disk["b"].path
    r = subprocess.run(["cmp", a, b], capture_output=True, text=True)
    expect_kept(r.returncode == 0, "the images differ: " + r.stdout + r.stderr)
    r = subprocess.run(["fsck.ext4", "-fn", a], capture_output=True, text=True)
    expect_kept(r.returncode == 0, "fsck: " + r.stdout + r.stderr)
    data = rig.dir + "/data"
    os.mkdir(data)
    subprocess.run(["debugfs", "-R", "rdump /data " + data, a], check=True, capture_output=True)
    r = native("pg_checksums", "--check", "-D", data + "/data")
    expect_kept(r.returncode == 0, "pg_checksums: " + r.stdout + r.stderr)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int)
    p.add_argument("--seed", type=int, default=int(time.time()))
    p.add_argument("--only", help=", ".join(Postgres.FAULTS))
    a = p.parse_args()
    names = a.only.split(",") if a.only else list(Postgres.FAULTS)
    random.seed(a.seed)
    print("# seed %d" % a.seed, flush=True)
    rounds, faults = a.rounds or len(names), []
    while len(faults) < rounds:
        faults += random.sample(names, len(names))
    rig, fault, done = PostgresRig(), "start", collections.Counter()
    try:
        pg = Postgres(rig)
        for n, fault in enumerate(faults[:rounds]):
            t = time.monotonic()
            pg.round(fault)
            done[fault] += 1
            print("ok postgres.%s: round %d, %.0f s, %d commits" % (
                fault, n + 1, time.monotonic() - t, sum(w.acked for w in pg.writers)), flush=True)
        fault = "end"
        pg.end()
        print("ok postgres.end: %d commits, images equal, nothing found by pg_amcheck, pg_checksums and fsck" %
              sum(w.acked for w in pg.writers))
    except (Failure, OSError, ValueError, psycopg2.Error) as e:
        os.environ["KEEP"] = "1"
        fault = "lost." + fault if isinstance(e, Lost) else fault
        print("not ok postgres.%s: %s; seed %d, logs in %s" % (fault, e, a.seed, rig.dir), flush=True)
        return 1
    finally:
        rig.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
