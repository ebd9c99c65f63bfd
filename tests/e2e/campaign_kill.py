#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Starts a campaign and ends it, or its workers, by SIGKILL when its results have ROWS rows: while nobody else can write
# results. It must have many more experiments than a host does while this process waits for its turn.
#   campaign_kill.py RESULTS ROWS campaign|workers COMMAND...
import os
import signal
import sqlite3
import subprocess
import sys
import time

path, rows, victim, command = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]
campaign = subprocess.Popen(command, stdin=subprocess.DEVNULL)


def is_there():
    """The file is whole: a lock before that would be in the way."""
    try:
        db.execute("SELECT count(*) FROM result")
        return True
    except sqlite3.OperationalError:
        return False


def alive():
    if campaign.poll() is not None:
        sys.exit(f"the campaign ended by itself, with {campaign.returncode}")


while not os.path.exists(path):
    alive()
    time.sleep(0.001)
db = sqlite3.connect(path, timeout=60, isolation_level=None)
while not is_there():
    alive()
    time.sleep(0.001)
while True:
    alive()
    db.execute("BEGIN IMMEDIATE")
    have = db.execute("SELECT count(*) FROM result").fetchone()[0]
    if have >= rows:
        break
    db.execute("ROLLBACK")
    time.sleep(0.001)
pids = [campaign.pid]
if victim == "workers":
    with open(f"/proc/{campaign.pid}/task/{campaign.pid}/children", encoding="ascii") as children:
        pids = [int(pid) for pid in children.read().split()]
for pid in pids:
    os.kill(pid, signal.SIGKILL)
if victim == "campaign":
    campaign.wait()
db.execute("ROLLBACK")
db.close()
status = campaign.wait()
print(f"killed at {have} rows; the campaign's status is {status}")
sys.exit(0 if status else "the campaign has not noticed")
