# SPDX-License-Identifier: GPL-2.0-or-later
"""The demonstration: redis in a protected pair on two hosts, a client that counts on one TCP connection, and the primary
killed under it. Everything lives in network namespaces that go away with this process (tests/pair/pair.sh)."""
import os
import signal
import subprocess
import sys
import threading
import time

from rig import PATIENCE, CLIENT_IP, GUEST_IP, PEER_IP, Connection, Failure, Rig

START = time.monotonic()
SECONDS_BEFORE, SECONDS_AFTER = 3.0, 3.0


def say(text):
    print("%7.2f s  %s" % (time.monotonic() - START, text), flush=True)


class Counter(threading.Thread):
    """INCR after INCR on one connection; keeps each reply and when it came."""

    def __init__(self):
        super().__init__(daemon=True)
        self.conn = Connection()
        self.local = self.conn.sock.getsockname()
        self.replies = []  # (time, value)
        self.error = None
        self.running = True
        self.start()

    def run(self):
        try:
            while self.running:
                value = int(self.conn.call("INCR", "visits")[1:])
                self.replies.append((time.monotonic(), value))
        except Exception as e:  # the main thread reports it
            self.error = e

    def wait_reply(self, since):
        deadline = time.monotonic() + PATIENCE
        while not self.error and not any(t > since for t, _ in self.replies[-1:]) and time.monotonic() < deadline:
            time.sleep(0.01)


def timeline(replies, killed):
    """The replies around the kill; returns the pause that it made and the longest one of all."""
    times = [t for t, _ in replies]
    at = sum(t <= killed for t in times)
    if not 0 < at < len(times):
        raise Failure("no replies on both sides of the kill")
    outage = times[at] - times[at - 1]
    for i in range(max(0, at - 4), min(len(replies), at + 4)):
        t, value = replies[i]
        if i == at:
            print("             ---------- primary killed: no reply for %.1f ms ----------" % (outage * 1000))
        print("   %+9.1f ms   INCR -> %d" % ((t - killed) * 1000, value))
    return outage, max(b - a for a, b in zip(times, times[1:]))


def demo(rig):
    say("three hosts as network namespaces: replicas %s and %s, client %s, joined by a bridge" % (
        PEER_IP["a"], PEER_IP["b"], CLIENT_IP))
    live = rig.start("primary", "a", rig.boot_args())
    backup = rig.start_backup("b", live)
    say("the pair is protected: host b follows host a; booting Debian with redis in it")
    rig.wait_redis(PATIENCE, live)
    say("redis at %s answers" % GUEST_IP)
    client = Counter()
    client.wait_reply(0)
    time.sleep(SECONDS_BEFORE)
    s = live.status()
    say("%d replies; backup is %.1f ms behind, log %.2f Mbit/s, %d outputs held, %d digests agree" % (
        len(client.replies), s["lag_ms"], s["log_bytes_s"] * 8 / 1e6, s["outputs_held"], s["digests_compared"]))
    killed = time.monotonic()
    live.kill(signal.SIGKILL)
    say("SIGKILL to the primary on host a")
    event = backup.wait_event("live", PATIENCE)
    say("host b: " + event["text"])
    client.wait_reply(killed)
    time.sleep(SECONDS_AFTER)
    client.running = False
    client.join(PATIENCE)
    if client.error:
        raise Failure("the connection broke: %s" % client.error)
    outage, longest = timeline(client.replies, killed)
    before = sum(t <= killed for t, _ in client.replies)
    after = len(client.replies) - before
    values = [v for _, v in client.replies]
    stored = int(client.conn.call("GET", "visits"))
    say("replies before the kill: %d, after it: %d; outage %.1f ms, longest gap of all %.1f ms" % (
        before, after, outage * 1000, longest * 1000))
    say("the TCP connection from %s:%d is unbroken" % client.local)
    if values != list(range(1, len(values) + 1)):
        raise Failure("a reply is missing or came twice")
    if stored != len(values):
        raise Failure("redis holds %d, acknowledged were %d" % (stored, len(values)))
    say("the counter in redis is %d: exactly the %d acknowledged increments" % (stored, len(values)))


def main():
    def stop(sig, frame):
        raise KeyboardInterrupt

    endings = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for sig in endings:
        signal.signal(sig, stop)
    rig, status = None, 1
    try:
        rig = Rig(os.environ.get("DEMO_OPTIONS", "").split())
        demo(rig)
        status = 0
    except (Failure, OSError, ValueError, subprocess.SubprocessError) as e:
        say("FAILED: %s" % e)
    except KeyboardInterrupt:
        say("stopped")
        status = 130
    finally:
        for sig in endings:
            signal.signal(sig, signal.SIG_IGN)
        if rig:
            rig.close()
    if not status or status == 130:
        say("done; everything that was made is removed")
    return status


if __name__ == "__main__":
    sys.exit(main())
