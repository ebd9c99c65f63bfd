# SPDX-License-Identifier: GPL-2.0-or-later
"""A primary whose console is a pipe that nobody reads any more: the pair stays protected and the guest goes on."""
import json
import os
import select
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(__file__))
from rig import PATIENCE, BUILD, Failure, TWINSTEP, read_events, sh  # noqa: E402

GUEST = ["--kernel", BUILD + "/guest/vmlinuz", "--initrd", BUILD + "/guest/initramfs", "--append",
         "console=ttyS0 quiet nokaslr cryptomgr.notests "
         "twinstep.run=\"while :; do echo a line that somebody should read; done\""]
ADDR = "127.0.0.1:7777"


def start(role, directory, args):
    base = "%s/%s" % (directory, role)
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", TWINSTEP, role, "--key-file", directory + "/key", "--timeout",
         os.environ.get("TIMEOUT", "200"), "--arbiter", "file:" + directory + "/arbiter", "--events", base + ".events",
         "--control", base + ".ctl"] + args, stdout=subprocess.PIPE, stderr=open(base + ".log", "w"))


def wait_event(directory, role, name):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if any(e["event"] == name for e in read_events("%s/%s.events" % (directory, role))):
            return
        time.sleep(0.02)
    with open("%s/%s.log" % (directory, role)) as f:
        raise Failure("no event '%s': %s" % (name, f.read()[-600:]))


def read_until(pipe, word):
    """Reads as a person would."""
    seen, deadline = b"", time.monotonic() + PATIENCE
    while word not in seen:
        if not select.select([pipe], [], [], max(0, deadline - time.monotonic()))[0]:
            raise Failure("the guest does not say '%s'" % word.decode())
        got = os.read(pipe.fileno(), 65536)
        if not got:
            raise Failure("the console was closed")
        seen = seen[-200:] + got


def status(directory):
    out = subprocess.run([TWINSTEP, "status", directory + "/primary.ctl", "--json"], stdout=subprocess.PIPE,
                         timeout=PATIENCE, check=True).stdout
    return json.loads(out)


def check(directory, primary):
    before = status(directory)["outputs_released"]
    time.sleep(int(os.environ.get("TIMEOUT", "200")) / 1000 * 2 + 1)
    s = status(directory)
    if s["state"] != "protected":
        raise Failure("the primary is '%s' now" % s["state"])
    if s["outputs_released"] <= before:
        raise Failure("no output has left since")
    for role in ("primary", "backup"):
        for e in read_events("%s/%s.events" % (directory, role)):
            if e["event"] in ("unprotected", "live", "hang", "fenced"):
                raise Failure("the %s's event '%s': %s" % (role, e["event"], e["text"]))
    read_until(primary.stdout, b"a line that")
    deadline = time.monotonic() + PATIENCE
    while "output is missing" not in open(directory + "/primary.log").read():
        if time.monotonic() > deadline:
            raise Failure("nobody says that output was lost")
        read_until(primary.stdout, b"a line that")


def main():
    sh("ip", "link", "set", "lo", "up")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="twinstep-console-") as directory:
        sh(TWINSTEP, "keygen", directory + "/key")
        sh(TWINSTEP, "arbiter", "init", "file:" + directory + "/arbiter")
        processes = [start("primary", directory, GUEST + ["--listen", ADDR, "--console", "stdio"])]
        try:
            processes.append(start("backup", directory, ["--connect", ADDR, "--listen", "127.0.0.1:7778", "--console",
                                                         "none"]))
            wait_event(directory, "primary", "protected")
            read_until(processes[0].stdout, b"a line that")
            check(directory, processes[0])
            print("ok console.unread: the pair stayed protected, the guest went on")
        except (Failure, OSError, subprocess.SubprocessError, KeyError) as e:
            failed = 1
            print("not ok console.unread: %s" % e)
        for p in processes:
            p.kill()
            p.wait()
    return failed


if __name__ == "__main__":
    sys.exit(main())
