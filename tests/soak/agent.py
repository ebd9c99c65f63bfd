#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's own guest agent, from Debian: a snapshot with --freeze, and what a machine that is restored is told.

    tests/soak/agent.py DISK

DISK is made by `twinstep image make DISK qemu-guest-agent` where it is not there, and not written to. On demand, as root."""
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from debian import PATIENCE, PROMPT, TWINSTEP, Guest  # noqa: E402

failed = False


def result(name, good, why=""):
    global failed
    failed |= not good
    print("ok agent.%s" % name if good else "not ok agent.%s: %s" % (name, why), flush=True)


def start(work, what, *more):
    return Guest([TWINSTEP, what, "--no-jail", "--control", work + "/control", "--guest-agent", "unix:" + work + "/agent",
                  "--console", "stdio", *more])


def twinstep(*words):
    done = subprocess.run([TWINSTEP, *words], capture_output=True, text=True, timeout=PATIENCE)
    return done.returncode, done.stdout.strip() or done.stderr.strip()


def agent(work, *words):
    return twinstep("agent", work + "/agent", *words)


def waits_for_agent(work, guest):
    deadline = time.monotonic() + PATIENCE
    while agent(work, "ping", "--timeout", "20000")[0]:
        if time.monotonic() > deadline or guest.proc.poll() is not None:
            return False
    return True


def guest_time(work):
    """The guest's clock less the host's, in seconds, and by how much that may be wrong."""
    before = time.time()
    status, text = agent(work, "guest-get-time")
    after = time.time()
    return (int(text) / 1e9 - (before + after) / 2, (after - before) / 2) if status == 0 else (float("inf"), 0)


def takes_snapshot(work, disk):
    guest = start(work, "run", "--disk", disk + ",overlay", "--memory", "512M")
    try:
        guest.wait(PROMPT)
        result("answers", waits_for_agent(work, guest), guest.console[-300:])
        status, text = twinstep("snapshot", work + "/control", work + "/snap", "--freeze", work + "/agent", "--json")
        result("snapshot", status == 0 and json.loads(text)["frozen"] >= 1, text)
        result("thawed", agent(work, "frozen") == (0, '"thawed"'), agent(work, "frozen"))
        result("writes", guest.ask("echo written >/root/file; sync; cat /root/file") == ["written"])
    finally:
        guest.close()


def restores(work, disk):
    """It is thawed and has the host's time. Recorded, it replays."""
    time.sleep(20)  # that the guest's clock is wrong by
    guest = start(work, "record", "-o", work + "/log", "--restore", work + "/snap", "--disk", disk + ",overlay")
    try:
        result("restored", waits_for_agent(work, guest), guest.console[-300:])
        result("restored-thawed", agent(work, "frozen") == (0, '"thawed"'), agent(work, "frozen"))
        wrong, known = guest_time(work)
        result("time", abs(wrong) < 5 + known, "%.1f s, known to %.1f s" % (wrong, known))
        result("power-off", guest.power_off() == 0, guest.proc.returncode)
    finally:
        guest.close()
    status, text = twinstep("replay", work + "/log", "--quiet", "--console", work + "/console")
    result("replay", status == 0, text[-300:])


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    disk = os.path.abspath(sys.argv[1])
    if not os.path.exists(disk):
        subprocess.run([TWINSTEP, "image", "make", disk, "qemu-guest-agent"], check=True)
    with tempfile.TemporaryDirectory(prefix="twinstep-agent-") as work:
        takes_snapshot(work, disk)
        restores(work, disk)
    sys.exit(failed)


if __name__ == "__main__":
    main()
