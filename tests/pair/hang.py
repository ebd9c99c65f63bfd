# SPDX-License-Identifier: GPL-2.0-or-later
"""A vCPU thread, or a receiver, that hangs while its replica's network threads answer: found, fenced, replaced.

usage: hang.py [CASE...]
"""
import contextlib
import ctypes
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(__file__))
from rig import PATIENCE, Client, Failure, Rig, Watch, check_counters  # noqa: E402

HANG_MS = 1500
LONG_HANG_MS = 5000  # of the case in which the test itself has to come first
FENCED = 118
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def expect(cond, text):
    if not cond:
        raise Failure(text)


def ptrace(request, thread):
    if libc.ptrace(request, thread, None, None) < 0:
        raise OSError(ctypes.get_errno(), "ptrace(%#x) of thread %d" % (request, thread))


@contextlib.contextmanager
def frozen(pid, name):
    """One thread of a process stands still."""
    for thread in map(int, os.listdir("/proc/%d/task" % pid)):
        with open("/proc/%d/task/%d/comm" % (pid, thread)) as f:
            if f.read().strip() == name:
                break
    else:
        raise Failure("process %d has no thread '%s'" % (pid, name))
    ptrace(PTRACE_SEIZE, thread)
    ptrace(PTRACE_INTERRUPT, thread)
    os.waitpid(thread, WALL)
    try:
        yield
    finally:
        ptrace(PTRACE_DETACH, thread)


@contextlib.contextmanager
def crawling(pid, name):
    """One thread of a process stands still for nine tenths of the time."""
    over = threading.Event()

    def crawl():
        while not over.wait(0.05):
            with frozen(pid, name):
                over.wait(0.45)

    thread = threading.Thread(target=crawl)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Hang:
    def __init__(self, options):
        self.rig = Rig(options)
        self.primary, self.backup = self.rig.start_pair()
        self.watch = Watch()
        self.clients = [Client(i) for i in range(4)]
        time.sleep(0.3)

    def close(self):
        for c in self.clients:
            c.running = False
        self.watch.close()
        self.rig.close()

    def hang(self, replica, ms):
        answer = replica.ask(command="fault", kind="hang", ms=ms)
        expect(answer.get("ok"), "fault refused: %s" % answer)
        return time.monotonic()

    def progress(self, seconds=PATIENCE):
        """Every client gets replies, on the connection that it always had, and what was acknowledged is there."""
        before = [c.count for c in self.clients]
        deadline = time.monotonic() + seconds
        while any(c.count < b + 3 for c, b in zip(self.clients, before)):
            for c in self.clients:
                expect(not c.error, "client %s: %s" % (c.key, c.error))
            expect(time.monotonic() < deadline, "clients are stuck")
            time.sleep(0.01)
        check_counters(self.clients)

    def went_live(self, t):
        """The backup noticed, in time but not too early, and took over; milliseconds until then."""
        expect("vCPU or its receiver or poller" in self.backup.wait_event("hang", PATIENCE)["text"], "the event does not name them")
        live = self.backup.wait_event("live", PATIENCE)
        took = (live["mono_s"] - t) * 1000
        expect(took >= HANG_MS, "live after %.0f ms already" % took)
        expect("hang" in live["text"], "another reason: %s" % live["text"])
        self.progress()
        return live["mono_s"], took

    def ended_silently(self, live):
        expect(self.primary.proc.wait(PATIENCE) == FENCED, "the primary ended with status %s" % self.primary.proc.returncode)
        self.progress()
        self.watch.silent_after("a", live, "the fenced primary")

    # ---- cases; each returns what it saw ----

    def primary_for_ever(self):
        live, took = self.went_live(self.hang(self.primary, 0))
        self.ended_silently(live)
        return "live after %.0f ms; the process with the hanging vCPU ended" % took

    def primary_wakes_up(self):
        timeout = int(os.environ.get("TIMEOUT", "200"))
        live, took = self.went_live(self.hang(self.primary, HANG_MS + timeout + 700))
        self.ended_silently(live)
        return "live after %.0f ms; the primary that woke up was silent" % took

    def primary_receiver(self):
        """Its vCPU runs and its sender sends: without the receiver nothing leaves all the same."""
        with frozen(self.primary.pid(), "receiver"):
            live, took = self.went_live(time.monotonic())
        self.ended_silently(live)
        return "live after %.0f ms; the primary whose receiver came back was silent" % took

    def primary_poller(self):
        """Its vCPU, receiver and sender run: without the poller no console is read."""
        with frozen(self.primary.pid(), "poller"):
            live, took = self.went_live(time.monotonic())
        self.ended_silently(live)
        return "live after %.0f ms; the primary whose poller came back was silent" % took

    def primary_for_a_moment(self):
        before = len(self.primary.events()), len(self.backup.events())
        self.hang(self.primary, HANG_MS // 6)
        time.sleep(HANG_MS / 6000 + 0.2)
        self.progress()
        events = self.primary.events()[before[0]:] + self.backup.events()[before[1]:]
        expect(not events, "something happened: %s" % events)
        return "nothing happened"

    def backup_for_ever(self):
        n = len(self.primary.events())
        t = self.hang(self.backup, 0)
        expect("vCPU" in self.primary.wait_event("hang", PATIENCE, n)["text"], "the event does not name the vCPU")
        took = (self.primary.wait_event("unprotected", PATIENCE, n)["mono_s"] - t) * 1000
        expect(took >= HANG_MS, "unprotected after %.0f ms already" % took)
        self.progress()
        expect(self.backup.proc.wait(PATIENCE) == FENCED, "the backup ended with status %s" % self.backup.proc.returncode)
        self.watch.silent_after("b", t, "the backup")
        return "unprotected after %.0f ms; the process with the hanging vCPU ended" % took

    def too_slow(self, why):
        """The primary leaves its backup behind for that reason, and goes on at once."""
        n = len(self.primary.events())
        text = self.primary.wait_event("slow-backup", PATIENCE, n)["text"]
        expect(why in text, "another reason: %s" % text)
        self.primary.wait_event("unprotected", PATIENCE, n)
        self.progress()

    def backup_stalls(self):
        """Long before the hang counts as one."""
        t = self.hang(self.backup, 2 * PATIENCE * 1000)
        self.too_slow("longer than --max-stall")
        return "left behind within %.0f ms" % ((time.monotonic() - t) * 1000)

    def backup_crawls(self):
        """It never stands still for long: replays, answers, and holds the guest up all the time."""
        with crawling(self.backup.pid(), "vcpu"):
            self.too_slow("than --min-speed")
        return "left behind"

    def primary_without_backup(self):
        """While its vCPU hangs a primary must not ask the arbiter, even when its backup dies; when it wakes up it may."""
        n = len(self.primary.events())
        t = self.hang(self.primary, LONG_HANG_MS + 3000)
        time.sleep(0.5)  # a vCPU thread that still runs on its way there may ask
        self.backup.kill(signal.SIGKILL)
        alone = self.primary.wait_event("unprotected", PATIENCE, n)["mono_s"]
        expect(alone > t + LONG_HANG_MS / 1000, "it took the generation %.0f ms after the hang" % ((alone - t) * 1000))
        expect(any(e["event"] == "hang" for e in self.primary.events()[n:]), "its own log does not tell of the hang")
        self.progress()
        return "unprotected when it came back"

    CASES = [primary_for_a_moment, primary_for_ever, primary_wakes_up, primary_receiver, primary_poller, backup_for_ever,
             backup_stalls, backup_crawls, primary_without_backup]
    OPTIONS = {
        primary_without_backup: ["--hang-timeout", str(LONG_HANG_MS)],
        backup_stalls: ["--hang-timeout", str(4 * PATIENCE * 1000), "--max-stall", "1000"],
        backup_crawls: ["--hang-timeout", str(4 * PATIENCE * 1000), "--max-stall", str(4 * PATIENCE * 1000), "--min-speed", "50"],
    }


def main():
    failed = 0
    for case in Hang.CASES:
        if sys.argv[1:] and case.__name__ not in sys.argv[1:]:
            continue
        hang = None
        try:
            hang = Hang(Hang.OPTIONS.get(case, ["--hang-timeout", str(HANG_MS)]))
            print("ok hang.%s: %s" % (case.__name__, case(hang)), flush=True)
        except (Failure, OSError, ValueError) as e:
            failed = 1
            print("not ok hang.%s: %s" % (case.__name__, e), flush=True)
        finally:
            if hang:
                hang.close()
    return failed


if __name__ == "__main__":
    sys.exit(main())
