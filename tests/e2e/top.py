#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`twinstep top` on a terminal (a pty): what is on the screen, as wide and high as the screen is now; q, signals and Ctrl-Z
leave the terminal as it was.

    top.py TWINSTEP GUEST"""
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

PATIENCE = 180
ENTER, LEAVE = b"\x1b[?1049h\x1b[?25l", b"\x1b[?25h\x1b[?1049l"
twinstep, guest = sys.argv[1:]


class Terminal:
    """With a shell that stays in the foreground behind it, as far as the terminal's modes go."""

    def __init__(self, rows=24, columns=80):
        self.master, self.slave = pty.openpty()
        self.size(rows, columns)
        self.before, self.out = termios.tcgetattr(self.slave), b""
        self.proc = subprocess.Popen([twinstep, "top", "--delay", "200"], stdin=self.slave, stdout=self.slave,
                                     stderr=subprocess.PIPE, start_new_session=True,
                                     preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def size(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        while select.select([self.master], [], [], 0.05)[0]:
            self.out += os.read(self.master, 65536)

    def until(self, what, text):
        end = time.monotonic() + PATIENCE
        while not what():
            self.read()
            if time.monotonic() > end:
                raise AssertionError("%s: %r" % (text, self.out[-600:]))

    def screens(self):
        """Lines of each whole screen: from one way home to the next."""
        parts = self.out.split(b"\x1b[H")[1:]
        return [p.replace(b"\x1b[K", b"").split(b"\x1b[J")[0].decode().replace("\r", "").rstrip("\n").split("\n")
                for p in parts if b"\x1b[J" in p]

    def fresh(self, what, text):
        """Waits for a screen that comes from now on."""
        self.read()
        self.out = b""
        self.until(lambda: any(what(s) for s in self.screens()), text)
        return next(s for s in self.screens() if what(s))

    def ended(self, name, status):
        """The screen is left, the cursor is back, the modes are as before."""
        self.until(lambda: self.proc.poll() is not None, name + ": top goes on")
        self.read()
        assert self.proc.returncode == status, (name, self.proc.returncode, self.proc.stderr.read())
        assert self.out.endswith(LEAVE), (name, self.out[-100:])
        assert termios.tcgetattr(self.slave) == self.before, name + ": the terminal's modes are not as before"
        os.close(self.master)
        os.close(self.slave)
        print("ok exporter.top-%s" % name, flush=True)


def shows_guest(screen):
    return any(line.startswith(guest) and " alone " in line for line in screen)


def main():
    t = Terminal()
    t.until(lambda: ENTER in t.out, "another screen")
    screen = t.fresh(shows_guest, "the guest")
    assert all(len(line) <= 80 for line in screen) and len(screen) <= 24, screen
    assert screen[0].startswith("twinstep on ") and "1 live here" in screen[0], screen
    assert any("UNPROTECTED: alone" in line for line in screen), screen
    assert any("digests agreed" in line for line in screen), screen
    assert not termios.tcgetattr(t.slave)[3] & (termios.ECHO | termios.ICANON), "keys are echoed"
    # Narrow and low: nothing wraps, nothing scrolls; and wide again, without waiting for the next look.
    t.size(6, 30)
    small = t.fresh(lambda s: all(len(line) <= 30 for line in s), "30 columns")
    assert len(small) <= 6 and small[0].startswith("twinstep on"), small
    t.size(40, 200)
    t.fresh(shows_guest, "200 columns")
    # Any other key looks again at once.
    t.fresh(shows_guest, "the next look")
    os.write(t.master, b" ")
    t.fresh(shows_guest, "after a key")
    print("ok exporter.top-screen", flush=True)
    # Ctrl-Z: the shell has its terminal back; and ours again when it lets us go on.
    os.kill(t.proc.pid, signal.SIGTSTP)
    t.until(lambda: state(t.proc.pid) == "T", "it does not stop")
    t.read()
    assert t.out.endswith(LEAVE) and termios.tcgetattr(t.slave) == t.before, t.out[-100:]
    os.kill(t.proc.pid, signal.SIGCONT)
    t.until(lambda: t.out.rfind(ENTER) > t.out.rfind(LEAVE), "it does not come back")
    t.fresh(shows_guest, "after a stop")
    print("ok exporter.top-stop", flush=True)
    os.write(t.master, b"q")
    t.ended("q", 0)
    for name, key, number, status in (("Q", b"Q", None, 0), ("ctrl-c", b"\x03", None, 0), ("term", None, signal.SIGTERM, 143),
                                      ("hup", None, signal.SIGHUP, 129)):
        t = Terminal()
        t.until(lambda: t.screens(), "a screen")
        os.write(t.master, key) if key else os.kill(t.proc.pid, number)
        t.ended(name, status)


def state(pid):
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rsplit(")", 1)[1].split()[0]


try:
    main()
except AssertionError as e:
    print("not ok exporter.top-screen: %s" % e)
    sys.exit(1)
