#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A whole Debian in a protected pair, a copy of its disk on each side: a client commits to PostgreSQL over one ssh
connection, another asks nginx, and the live side is killed, some times. What was acknowledged is there, on the same
connection. At the end the guest ends in order, and both disks are equal.

    BUILD=build tests/pair/pair.sh tests/soak/debian_pair.py DISK KEY [--kills 2]

DISK and KEY are those of debian.py. On demand, as root."""
import argparse
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from debian import GUEST_IP, PATIENCE, ssh_words  # noqa: E402
from rig import Failure, Rig, other  # noqa: E402

SQL = "su postgres -c 'psql -qAt postgres'"


class DebianRig(Rig):
    def __init__(self, disk, place):
        super().__init__()
        self.disk = {h: "%s/disk-%s.img" % (place, h) for h in "ab"}
        for path in self.disk.values():
            subprocess.run(["cp", "--sparse=always", disk, path], check=True)

    def boot_args(self):
        return ["--memory", "1G"]

    def start(self, role, host, args):
        return super().start(role, host, args + ["--disk", self.disk[host]])


def until(what, text):
    deadline = time.monotonic() + PATIENCE
    while not what():
        if time.monotonic() > deadline:
            raise Failure(text)
        time.sleep(0.5)


class Committer(threading.Thread):
    """Counts in a table, each step a commit, over one ssh connection that is never replaced."""

    def __init__(self, ssh):
        super().__init__(daemon=True)
        self.acked, self.error, self.running = 0, None, True
        self.proc = subprocess.Popen(ssh + [SQL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.ask("create table count (n int); insert into count values (0) returning n;")
        self.start()

    def ask(self, sql):
        self.proc.stdin.write(sql + "\n")
        return self.proc.stdout.readline().strip()

    def run(self):
        try:
            while self.running:
                got = self.ask("update count set n = n + 1 returning n;")
                if got != str(self.acked + 1):
                    raise Failure("%r after %d" % (got, self.acked))
                self.acked += 1
        except Exception as e:  # a test's thread hands everything to the test
            self.error = e

    def goes_on(self, steps=5):
        start = self.acked
        until(lambda: self.error or self.acked >= start + steps, "the client does not go on")
        if self.error:
            raise self.error

    def end(self):
        self.running = False
        self.join(PATIENCE)
        self.proc.stdin.close()
        self.proc.wait(PATIENCE)
        if self.error:
            raise self.error


def page():
    with urllib.request.urlopen("http://%s/" % GUEST_IP, timeout=300) as f:
        return b"nginx" in f.read()


def there(ssh, line):
    return subprocess.run(ssh + [line], capture_output=True, text=True, timeout=PATIENCE).stdout.strip()


def kill_live(rig, client, live, backup):
    """The live side goes, the other one goes on, and gets a new backup; returns them."""
    before = client.acked
    live.kill()
    backup.wait_event("live", PATIENCE)
    client.goes_on()
    if not page():
        raise Failure("nginx does not answer")
    new = rig.start_backup(other(backup.host), backup)
    print("ok debian.kill: %d commits before, %d after it" % (before, client.acked - before), flush=True)
    client.goes_on()
    return backup, new


def run(rig, key, kills):
    ssh = ssh_words(key)
    start = time.monotonic()
    live = rig.start("primary", "a", rig.boot_args())
    backup = rig.start_backup("b", live)
    until(lambda: there(ssh, "systemctl is-active postgresql") == "active" or not live.alive(), "ssh does not answer")
    print("protected, PostgreSQL is there after %.0f s" % (time.monotonic() - start), flush=True)
    client = Committer(ssh)
    client.goes_on()
    for _ in range(kills):
        live, backup = kill_live(rig, client, live, backup)
    client.end()
    got = there(ssh, "echo 'select n from count;' | " + SQL)
    if got != str(client.acked):
        raise Failure("the table has %s, acknowledged were %d" % (got, client.acked))
    failed = there(ssh, "systemctl --failed --no-legend --plain")
    if failed:
        raise Failure("units have failed: " + failed)
    print("ok debian.commits: %d" % client.acked, flush=True)
    there(ssh, "systemctl poweroff")
    for replica in (live, backup):
        if replica.proc.wait(PATIENCE):
            raise Failure("replica on %s: status %d: %s" % (replica.host, replica.proc.returncode, replica.tail()))
    if subprocess.run(["cmp", rig.disk["a"], rig.disk["b"]]).returncode:
        raise Failure("the disks differ")
    print("ok debian.end: both disks are equal", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("disk")
    p.add_argument("key")
    p.add_argument("--kills", type=int, default=2)
    a = p.parse_args()
    place = a.disk + ".pair"
    os.mkdir(place)
    rig = None
    try:
        rig = DebianRig(a.disk, place)
        run(rig, a.key, a.kills)
    except Failure as e:
        print("not ok debian.pair: %s" % e, flush=True)
        return 1
    finally:
        if rig:
            rig.close()
        shutil.rmtree(place)
    return 0


sys.exit(main())
