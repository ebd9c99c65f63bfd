#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a host does to the pairs of a campaign beside its faults.

campaign_pair.py WHAT DB COMMAND...: runs the command, a campaign of one job with results in DB, and
  experiments  while experiment 1 runs kills its backup before the fault, while 2 runs takes away the backup's control
               socket, and while 3 runs renames SHORT to GUEST, the program that pairs boot (both in the environment)
  golden       kills both replicas of the first pair
  apart        kills the primary of the first pair
  always       kills the primary of each pair
  end          kills the campaign when its first pair is protected, and waits for the directory of that to go
"""
import os, signal, sqlite3, subprocess, sys, time

what, db, command = sys.argv[1], sys.argv[2], sys.argv[3:]
process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
until = time.monotonic() + 300


def descendants(pid):
    try:
        children = open(f"/proc/{pid}/task/{pid}/children").read().split()
    except OSError:
        return []
    return [d for child in children for d in [int(child), *descendants(child)]]


def replicas():
    """Of the pair that runs: its directory, and the process of each role."""
    found, where = {}, None
    for pid in descendants(process.pid):
        try:
            args = open(f"/proc/{pid}/cmdline").read().split("\0")
        except OSError:
            continue
        for a in args:
            if a.startswith("--key-file=") and args[1] in ("primary", "backup"):
                where = os.path.dirname(a.split("=", 1)[1])
                found.setdefault(args[1], pid)
    return where, found


def rows():
    try:
        return sqlite3.connect(db).execute("SELECT count(*) FROM result").fetchone()[0]
    except sqlite3.Error:
        return 0


def is_protected(where):
    try:
        return '"protected"' in open(f"{where}/a.events").read()
    except OSError:
        return False


def protected():
    """The pair that runs, once its guest is protected."""
    while process.poll() is None and time.monotonic() < until:
        where, found = replicas()
        if where and len(found) == 2 and is_protected(where):
            return where, found
        time.sleep(0.01)
    sys.exit(f"no pair came up: exit status {process.poll()}")


if what == "experiments":
    for n in (1, 2, 3):
        while rows() < n and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        where, found = protected()
        if n == 1:
            os.kill(found["backup"], signal.SIGKILL)
        elif n == 2:
            os.unlink(f"{where}/s/b")
        else:
            os.rename(os.environ["SHORT"], os.environ["GUEST"])
elif what == "golden":
    for pid in protected()[1].values():
        os.kill(pid, signal.SIGKILL)
elif what == "apart":
    os.kill(protected()[1]["primary"], signal.SIGKILL)
elif what == "always":
    where = None
    while process.poll() is None and time.monotonic() < until:
        now, found = replicas()
        if now and now != where and "primary" in found and is_protected(now):
            os.kill(found["primary"], signal.SIGKILL)
            where = now
        time.sleep(0.01)
elif what == "end":
    where, _ = protected()
    process.kill()
    while os.path.exists(where) and time.monotonic() < until:
        time.sleep(0.05)
    sys.exit(f"{where} is still there" if os.path.exists(where) else 0)
sys.exit(process.wait(timeout=300))
