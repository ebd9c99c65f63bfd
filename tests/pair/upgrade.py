# SPDX-License-Identifier: GPL-2.0-or-later
"""An upgrade without an outage: two hosts have an earlier twinstep, the backup's gets this one, the guest goes there, and the
other host gets it too. Where wire versions differ, the new one is refused by name, and the guest goes on as before.

    tests/pair/pair.sh upgrade.py EARLIER [--refused]     EARLIER: the path of that program
"""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import up  # noqa: E402
from rig import PATIENCE, TWINSTEP, Failure, other  # noqa: E402


class Test(up.Test):
    def __init__(self, earlier):
        super().__init__(0, None, False)
        self.earlier = earlier
        for h in self.hosts.values():
            h.program = earlier

    def wait(self, what, text):
        end = time.monotonic() + PATIENCE
        while not what():
            self.check()
            if time.monotonic() > end:
                raise Failure("%s; a: %s; b: %s" % (text, self.hosts["a"].tail(), self.hosts["b"].tail()))
            time.sleep(0.05)

    def step(self, name, text):
        """The guest is protected and goes on."""
        self.wait_protected(name)
        print("ok upgrade.%s: %s, %s is live, %d counted" % (name, text, self.live(), self.highest), flush=True)

    def replace(self, h, program):
        """Ends a host's side in order, and begins it again with another program."""
        host = self.hosts[h]
        host.wanted = False
        self.wait(lambda: host.call("down", "web").returncode in (0, 1) and not host.state().get("replica"), "down on " + h)
        host.join(PATIENCE)
        again = up.Host.__new__(up.Host)
        again.__dict__.update(host.__dict__)
        up.threading.Thread.__init__(again, daemon=True)
        again.program, again.wanted = program, True
        self.hosts[h] = again
        again.start()

    def upgrade(self):
        self.start()
        self.step("before", "both hosts have the earlier one")
        backup = other(self.live())
        boots = self.boots
        self.replace(backup, TWINSTEP)
        self.step("backup", "the backup's host has the new one")
        old = self.live()
        if old == backup:
            raise Failure("the live host changed")
        out = self.hosts[old].call("switch", "web")
        if out.returncode:
            raise Failure("switch: " + out.stderr)
        self.wait(lambda: self.live() == backup, "the guest did not change its place")
        self.step("switch", "the guest is on the new one")
        self.replace(old, TWINSTEP)
        self.step("after", "both hosts have the new one")
        if self.boots != boots or self.live() != backup:
            raise Failure("the guest was booted again, or is not where it was")
        self.generations()

    def refusal(self):
        self.start()
        self.step("refused-before", "both hosts have the earlier one")
        live = self.live()
        self.replace(other(live), TWINSTEP)
        said = "speaks wire version"
        self.wait(lambda: said in open(self.hosts[other(live)].dir + "/log").read(), "the new one does not say why not")
        line = next(x for x in open(self.hosts[other(live)].dir + "/log") if said in x)
        before = self.highest
        self.wait(lambda: self.highest > before + 5 and self.live() == live, "the guest does not go on")
        print("ok upgrade.refused: %s" % line.strip(), flush=True)
        self.replace(other(live), self.earlier)
        self.step("refused-back", "the earlier one is taken again")


def main():
    test, failed = Test(os.path.abspath(sys.argv[1])), 0
    try:
        test.refusal() if "--refused" in sys.argv else test.upgrade()
        test.check()
    except (Failure, OSError, ValueError, KeyError, subprocess.SubprocessError) as e:
        failed = 1
        print("not ok upgrade: %s" % e, flush=True)
    finally:
        test.close()
    return failed


if __name__ == "__main__":
    sys.exit(main())
