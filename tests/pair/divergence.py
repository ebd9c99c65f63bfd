# SPDX-License-Identifier: GPL-2.0-or-later
"""A flipped bit in either replica is found, named, and handled as --on-divergence says. That it is found within two epochs of the
guest's time, tests/record/test_replay.c shows.

usage: divergence.py [CASE...]     SEED: of the bits
"""
import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from rig import PATIENCE, Failure, Rig  # noqa: E402

EPOCH_MS = 100


def wait_divergence(r, seconds=PATIENCE):
    e = r.wait_event("divergence", seconds)
    return e["mono_s"], e["text"]


def case(victim, kind, bit, survivor):
    """Starts a pair, damages `victim`, and checks who goes on."""
    rig = Rig(["--epoch", str(EPOCH_MS), "--on-divergence", survivor, "--max-lag", "1000", "--timeout", "10000"])
    try:
        primary, backup = rig.start_pair()
        time.sleep(0.5)
        t = time.monotonic()
        answer = (primary if victim == "primary" else backup).ask(command="fault", kind=kind, bit=bit)
        if not answer.get("ok"):
            raise Failure("fault refused: %s" % answer)
        found, text = wait_divergence(backup)
        took = found - t
        if kind == "memory" and "page" not in text and "cpu" not in text:
            raise Failure("the report does not name a page: %s" % text)
        if survivor == "primary":
            primary.wait_event("unprotected", PATIENCE)
            if backup.proc.wait(PATIENCE) != 123:
                raise Failure("the backup ended with %s" % backup.proc.returncode)
            rig.wait_redis(PATIENCE, primary) if victim == "backup" else None
        elif survivor == "backup":
            backup.wait_event("live", PATIENCE)
            primary.proc.wait(PATIENCE)
            rig.wait_redis(PATIENCE, backup) if victim == "primary" else None
        else:
            if primary.proc.wait(PATIENCE) != 123 or backup.proc.wait(PATIENCE) != 123:
                raise Failure("a replica goes on after 'halt'")
        return took, text
    finally:
        rig.close()


def main():
    seed = int(os.environ.get("SEED", time.time()))
    random.seed(seed)
    failed = 0
    page = random.randrange(4096, 60000)
    cases = [("backup", "memory", page * 4096 * 8 + random.randrange(32768), "primary"),
             ("primary", "memory", page * 4096 * 8 + random.randrange(32768), "backup"),
             ("backup", "register", 15 * 64 + random.randrange(48), "primary"),
             ("backup", "memory", page * 4096 * 8, "halt")]
    for c in cases:
        name = "divergence.%s-%s-%s" % (c[0], c[1], c[3])
        if sys.argv[1:] and name.split(".")[1] not in sys.argv[1:]:
            continue
        try:
            took, text = case(*c)
            print("ok %s: after %.0f ms: %s" % (name, took * 1000, text), flush=True)
        except (Failure, OSError) as e:
            failed = 1
            print("not ok %s (seed %d): %s" % (name, seed, e), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
