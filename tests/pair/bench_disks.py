# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks of a protected pair: fio and pgbench beside the same engine alone, and how fast a join copies beside rsync.

usage: bench_disks.py [--rounds N] [--seconds N, of a pgbench] [--mib N, that are copied] [--only copy,fio,pgbench]

Alone and protected take turns on the same guest, join and rsync on the same link with the same bytes.
"""
import argparse
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from bench import Bench  # noqa: E402
from postgres import GUEST, PostgresRig, native  # noqa: E402
from rig import APPEND, BUILD, Failure, GUEST_IP, PATIENCE, PEER_IP, Rig, median, sh  # noqa: E402

SERVER = ("-h", GUEST_IP, "-U", "postgres", "postgres")


class PlainRig(PostgresRig):
    """The same server on images that nothing stands before."""

    def __init__(self):
        Rig.__init__(self)
        self.disk = {}
        for h in "ab":
            self.disk[h] = argparse.Namespace(path="%s/disk-%s.img" % (self.dir, h))
            sh("cp", "--sparse=always", GUEST + "/disk.img", self.disk[h].path)

    def wait_redis(self, seconds, live):
        """The server that answers here is PostgreSQL."""
        deadline = time.monotonic() + seconds
        while native("pg_isready", "-h", GUEST_IP).returncode:
            if time.monotonic() > deadline or not live.alive():
                raise Failure("the server does not answer: " + live.tail())
            time.sleep(0.2)


def pgbench(*args):
    r = native("pgbench", *args, *SERVER)
    if r.returncode:
        raise Failure("pgbench: " + r.stderr[-300:])
    return r.stdout


def bench_pgbench(rounds, seconds):
    rig = PlainRig()
    try:
        b = Bench(rig)
        pgbench("-i", "-q", "-s", "1")
        for clients in (1, 8):
            tps = {"alone": [], "protected": []}
            for _ in range(rounds):
                for mode in ("protected", "alone"):
                    getattr(b, mode)()
                    out = pgbench("-N", "-c", str(clients), "-j", "2", "-T", str(seconds))
                    found = re.search(r"^tps = ([0-9.]+)", out, re.M)
                    if not found:
                        raise Failure("pgbench: " + out[-300:])
                    tps[mode].append(float(found.group(1)))
            a, p = median(tps["alone"]), median(tps["protected"])
            print("pgbench -N, %d clients: alone %4.0f /s, protected %4.0f /s: ratio %.2f" % (clients, a, p, p / a), flush=True)
    finally:
        rig.close()


# ---- fio ----

# Two jobs by turns for ever; the host's clock measures from the line "fio NAME" to the line "fio done".
FIO_JOBS = {"write": ("4 KiB random write, each with a flush", "--rw=randwrite --bs=4k --io_size=4m --fsync=1", 1024, "writes/s"),
            "stream": ("1 MiB sequential write, flush at the end", "--rw=write --bs=1m --io_size=64m --end_fsync=1", 64, "MiB/s")}
FIO_RUN = ("mkdir /x; mount -t ext4 /dev/vda /x; mount --bind /dev /x/dev; mount -t proc proc /x/proc; while :; do " +
           "".join("echo fio %s; LD_LIBRARY_PATH=/lib chroot /x /bin/fio --name=%s --filename=/dev/vdb --size=64m --direct=1 "
                   "--ioengine=psync --minimal %s >/tmp/out || cat /tmp/out; echo fio done; " % (name, name, job[1])
                   for name, job in FIO_JOBS.items()) + "done")


class FioRig(Rig):
    """A guest that writes to its second disk; the first holds the program."""

    def boot_args(self):
        return ["--kernel", BUILD + "/guest/vmlinuz", "--initrd", BUILD + "/guest/initramfs", "--memory", "256M",
                "--append", APPEND.replace(" twinstep.redis", ' twinstep.run="%s"' % FIO_RUN)]

    def start(self, role, host, args):
        disks = ["%s/%s-%s.img" % (self.dir, name, host) for name in ("program", "data")]
        if not os.path.exists(disks[0]):
            sh("cp", "--sparse=always", BUILD + "/guest-fio/disk.img", disks[0])
            sh("truncate", "-s", "64M", disks[1])
        return super().start(role, host, args + ["--disk", disks[0], "--disk", disks[1]])

    def wait_redis(self, seconds, live):
        """Nobody answers here: the first job begins."""
        Console(live).job(seconds)


class Console:
    """The guest's console from its present end on."""

    def __init__(self, live):
        self.live = live
        self.file = open(live.console, "rb")
        self.file.seek(0, os.SEEK_END)
        self.rest = b""

    def line(self, seconds):
        """(time, line): the next that begins with "fio"."""
        deadline = time.monotonic() + seconds
        while True:
            while b"\n" in self.rest:
                line, self.rest = self.rest.split(b"\n", 1)
                words = line.split()
                if words[:1] == [b"fio"] and len(words) == 2:
                    return time.monotonic(), words[1].decode()
                if b"fio:" in line:
                    raise Failure("fio: " + line.decode(errors="replace"))
            if time.monotonic() > deadline or not self.live.alive():
                raise Failure("the guest's fio does not go on: " + self.live.tail())
            self.rest += self.file.read()
            time.sleep(0.002)

    def job(self, seconds=PATIENCE):
        """(name, seconds) of the next job that begins and ends from here on."""
        while True:
            begun, name = self.line(seconds)
            if name in FIO_JOBS:
                ended, done = self.line(seconds)
                if done == "done":
                    return name, ended - begun


def bench_fio(rounds):
    rig = FioRig()
    took = {(mode, name): [] for mode in ("alone", "protected") for name in FIO_JOBS}
    try:
        b = Bench(rig)
        for _ in range(rounds):
            for mode in ("protected", "alone"):
                getattr(b, mode)()
                console = Console(b.live)
                for _ in FIO_JOBS:
                    name, seconds = console.job()
                    took[mode, name].append(seconds)
        for name, (words, _, amount, unit) in FIO_JOBS.items():
            a, p = (amount / median(took[mode, name]) for mode in ("alone", "protected"))
            print("fio, %s: alone %.0f %s, protected %.0f %s: ratio %.2f" % (words, a, unit, p, unit, p / a), flush=True)
    finally:
        rig.close()


# ---- copying ----

def join_rate(rig, live, mib):
    """Bytes a second, from the first block of the disk that a joining backup has until little is left."""
    n, begun, last = len(live.events()), None, None
    backup = rig.start("backup", "b", ["--connect", "%s:7777" % PEER_IP["a"]])
    deadline = time.monotonic() + PATIENCE
    while not any(e["event"] == "protected" for e in live.events()[n:]):
        if time.monotonic() > deadline or not backup.alive():
            raise Failure("the backup does not join: " + backup.tail())
        sync = live.status().get("sync")
        if sync and sync["bytes"]:
            now = (time.monotonic(), sync["bytes"])
            begun = begun or now
            if not last or now[1] > last[1]:
                last = now
        time.sleep(0.01)
    backup.kill(signal.SIGKILL)
    backup.proc.wait(PATIENCE)
    if not last or last[1] < (mib << 20) * 0.9:
        raise Failure("only %s bytes were copied" % (last and last[1]))
    return (last[1] - begun[1]) / max(last[0] - begun[0], 0.001)


def rsync_rate(rig, source, target, mib):
    conf = rig.dir + "/rsyncd.conf"
    with open(conf, "w") as f:
        f.write("use chroot = no\nuid = %d\ngid = %d\n[to]\npath = %s\nread only = no\n" % (
            os.getuid(), os.getgid(), rig.dir))
    daemon = subprocess.Popen(["ip", "netns", "exec", rig.top.ns["b"], "setpriv", "--pdeathsig", "KILL", "rsync", "--daemon",
                               "--no-detach", "--address", PEER_IP["b"], "--port", "8730", "--config", conf])
    try:
        time.sleep(1)
        t = time.monotonic()
        rig.top.on("a", "rsync", "--inplace", "--whole-file", source, "rsync://%s:8730/to/%s" % (
            PEER_IP["b"], os.path.basename(target)))
        return (mib << 20) / (time.monotonic() - t)
    finally:
        daemon.kill()
        daemon.wait()


def bench_copy(rounds, mib):
    rig = Rig()
    path = {h: "%s/copy-%s.img" % (rig.dir, h) for h in "ab"}
    rates = {"join": [], "rsync": []}
    try:
        sh("dd", "if=/dev/urandom", "of=" + path["a"], "bs=1M", "count=%d" % mib, "status=none")
        live = rig.start("primary", "a", rig.boot_args() + ["--disk", path["a"], "--no-wait"])
        rig.wait_redis(PATIENCE, live)
        rig.options = ["--disk", path["b"]]
        for _ in range(rounds):
            for old in (path["b"], path["b"] + ".twin"):
                if os.path.exists(old):
                    os.unlink(old)
            sh("truncate", "-s", "%dM" % mib, path["b"])
            rates["join"].append(join_rate(rig, live, mib))
            sh("truncate", "-s", "0", path["b"])
            rates["rsync"].append(rsync_rate(rig, path["a"], path["b"], mib))
            if subprocess.run(["cmp", "-s", path["a"], path["b"]]).returncode:
                raise Failure("rsync has not copied the image")
        j, r = median(rates["join"]) / 1e6, median(rates["rsync"]) / 1e6
        print("%d MiB to an empty image: join %.0f MB/s, rsync %.0f MB/s: ratio %.2f" % (mib, j, r, j / r), flush=True)
    finally:
        rig.close()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=int, default=10)
    p.add_argument("--mib", type=int, default=512)
    p.add_argument("--only", default="copy,fio,pgbench")
    a = p.parse_args()
    parts = {"copy": lambda: bench_copy(a.rounds, a.mib), "fio": lambda: bench_fio(a.rounds),
             "pgbench": lambda: bench_pgbench(a.rounds, a.seconds)}
    try:
        for name in filter(None, a.only.split(",")):
            parts[name]()
    except KeyError as e:
        print("bench: --only takes %s, not %s" % (", ".join(parts), e))
        return 1
    except (Failure, OSError, subprocess.CalledProcessError) as e:
        print("bench: %s" % e)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
