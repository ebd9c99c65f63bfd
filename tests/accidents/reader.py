# SPDX-License-Identifier: GPL-2.0-or-later
"""Who reads a guest's console stops, reads on, goes: `reader.py KIND TWINSTEP GUEST DIR`, KIND being one of pipe, pty, fifo, unix."""
import fcntl
import json
import os
import pty
import socket
import subprocess
import sys
import time
import tty

KIND, TWINSTEP, GUEST, DIR = sys.argv[1:5]
PATIENCE = 150
failed = False


def check(test, why, passed):
    global failed
    failed |= not passed
    print("ok reader.%s-%s" % (KIND, test) if passed else "not ok reader.%s-%s: %s" % (KIND, test, why), flush=True)


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def status():
    out = subprocess.run([TWINSTEP, "status", DIR + "/control", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                         timeout=PATIENCE).stdout
    return json.loads(out) if out else {}


def start(options, **streams):
    return subprocess.Popen([TWINSTEP, "run", "--kernel", GUEST, "--control", DIR + "/control"] + options,
                            stderr=open(DIR + "/err", "w"), **streams)


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    return s if wait_for(lambda: os.path.exists(path)) and s.connect(path) is None else None


def open_console():
    """The machine, and the descriptor at which its console is read."""
    if KIND == "unix":
        machine = start(["--console", "unix:" + DIR + "/console"], stdin=subprocess.DEVNULL)
        return machine, connect(DIR + "/console").detach()
    if KIND == "fifo":
        os.mkfifo(DIR + "/console")
        fd = os.open(DIR + "/console", os.O_RDONLY | os.O_NONBLOCK)
        return start(["--clock", "host", "--console", DIR + "/console"], stdin=subprocess.DEVNULL), fd
    if KIND == "pty":
        fd, terminal = pty.openpty()
        tty.setraw(terminal)
        machine = start(["--clock", "host"], stdin=subprocess.DEVNULL, stdout=terminal)
        os.close(terminal)
        return machine, fd
    fd, end = os.pipe()
    machine = start(["--clock", "host"], stdin=subprocess.DEVNULL, stdout=end)
    os.close(end)
    return machine, fd


def read_lines(fd):
    """Whole lines of what comes within a moment, as numbers."""
    text, end = b"", time.monotonic() + 0.5
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK)
    while time.monotonic() < end:
        try:
            text += os.read(fd, 65536)
        except OSError:
            time.sleep(0.01)
    return [int(line, 16) for line in text.replace(b"\r", b"").split(b"\n")[1:-1] if len(line) == 8]


def goes_on():
    """The guest executes more, and loses more."""
    before = status()
    return wait_for(lambda: (lambda s: s.get("instructions", 0) > before["instructions"] + 10**6 and
                             s.get("console_lost", 0) > before["console_lost"])(status()))


machine, fd = open_console()
check("runs", "no status", wait_for(lambda: status().get("console_out", 0) > 0))
check("lost", "nothing is lost: %s" % status(), wait_for(lambda: status().get("console_lost", 0) > 0))
check("goes-on", "the guest stands still: %s" % status(), goes_on())
seen = read_lines(fd)
check("read-on", "no line behind the gap: %s" % seen[-3:], wait_for(lambda: (read_lines(fd) or [0])[-1] > (seen or [0])[-1] + 1))
with open(DIR + "/err") as f:
    check("said", f.read(), wait_for(lambda: "output is missing there" in open(DIR + "/err").read()))
os.close(fd)
before = status()
check("gone", "the guest stands still: %s" % status(),
      wait_for(lambda: status().get("instructions", 0) > before["instructions"] + 10**6))
machine.terminate()
check("ends", "it does not end", machine.wait(PATIENCE) == 143)
sys.exit(failed)
