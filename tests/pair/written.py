# SPDX-License-Identifier: GPL-2.0-or-later
"""A pair with a disk that its guest writes for ever, each block with a flush, and reads back."""
import os
import subprocess
import time

from rig import APPEND, PATIENCE, TWINSTEP, Failure, Rig, sh

MIB, BLOCK, PLACES, APART = 40, 4096, 128, 68  # a write of BLOCK bytes after the other, APART blocks apart, PLACES by turns
CHECK = 4  # so many writes later two are read back
# "kept N": of the writes up to N the last but one and the oldest are there, as the disk says behind the guest's cache.
GUEST = ("i=0; while :; do i=$((i+1)); "
         "printf %%%dd $i | dd of=/dev/vda bs=%d seek=$((i%%%d*%d)) conv=fsync,notrunc 2>/dev/null || echo BAD $i; "
         "[ $((i%%%d)) = 0 ] || continue; echo 3 >/proc/sys/vm/drop_caches; "
         "for j in $((i-1)) $((i>=%d?i-%d:i)); do "
         "v=$(dd if=/dev/vda bs=%d skip=$((j%%%d*%d)) count=1 2>/dev/null | tr -dc 0-9); "
         "[ x$v = x$j ] || echo BAD $j is $v; done; echo kept $i; done") % (
             BLOCK, BLOCK, PLACES, APART, CHECK, PLACES, PLACES - 1, BLOCK, PLACES, APART)


class DiskRig(Rig):
    """Both sides' images lie in directories that hold nothing else."""

    def __init__(self, options=(), relay=False):
        super().__init__(options, relay)
        self.images = {}
        for host in "ab":
            os.mkdir(self.dir + "/disk-" + host)
            self.images[host] = "%s/disk-%s/data.img" % (self.dir, host)
            sh("truncate", "-s", "%dM" % MIB, self.images[host])

    def boot_args(self):
        args = super().boot_args()
        return args[:-1] + ['%s twinstep.run="%s"' % (APPEND, GUEST)] if args[-2] == "--append" else args

    def start(self, role, host, args):
        return super().start(role, host, args + ["--disk", self.images[host]])

    # ---- what the guest has written ----

    def kept(self, live):
        """The last write that the guest has read back, as its console says."""
        try:
            with open(live.console, "rb") as f:
                f.seek(max(0, os.fstat(f.fileno()).st_size - 4096))
                lines = f.read().split(b"\n")[:-1]
        except FileNotFoundError:
            return 0
        bad = [line for line in lines if line.startswith(b"BAD")]
        if bad:
            raise Failure("the guest's disk has lost what was flushed: %s" % bad[0].decode())
        return max([int(line.split()[1]) for line in lines if line.startswith(b"kept ")], default=0)

    def wait_kept(self, live, more):
        """The guest writes so many blocks from now on."""
        deadline = time.monotonic() + PATIENCE
        first = self.kept(live)
        while self.kept(live) < max(first, 1) + more:
            if time.monotonic() > deadline or not live.alive():
                raise Failure("the guest does not write: %d after %d: %s" % (self.kept(live), first, live.tail()))
            time.sleep(0.01)

    def no_bad(self):
        """Nothing that the guest has read back was wrong, on any side, ever."""
        for r in self.all:
            if os.path.exists(r.console):
                with open(r.console, errors="replace") as f:
                    for line in f:
                        if line.startswith("BAD"):
                            raise Failure("replica %d on %s: %s" % (r.number, r.host, line.strip()))

    # ---- both images ----

    def differing(self, blocks):
        images = [open(self.images[host], "rb") for host in "ab"]
        try:
            return [b for b in blocks if len({os.pread(f.fileno(), BLOCK, b * BLOCK) for f in images}) > 1]
        finally:
            for f in images:
                f.close()

    def equal_while_written(self, live):
        """
        Each block is the same on both sides at some moment, before the guest has come around to write it again: what is not
        yet on the other side comes there, and what was left out does not.
        """
        deadline = time.monotonic() + PATIENCE
        self.wait_kept(live, 1)
        first = self.kept(live)
        differ = self.differing(range(MIB * (1 << 20) // BLOCK))
        while differ:
            if self.kept(live) > first + PLACES // 2 or time.monotonic() > deadline:
                raise Failure("images differ in blocks %s of %d bytes" % (differ[:8], BLOCK))
            differ = self.differing(differ)

    def stop_equal(self, live, backup):
        """The pair ends in good order, and its images are equal byte for byte."""
        live.ask(command="stop")
        for r in (live, backup):
            r.proc.wait(PATIENCE)
        self.no_bad()
        out = subprocess.run(["cmp", self.images["a"], self.images["b"]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if out.returncode:
            raise Failure("after the end: " + out.stdout)

    def verify(self, live):
        """The pair's own comparison, which copies and mends nothing."""
        out = subprocess.run([TWINSTEP, "verify", live.control], capture_output=True, text=True, timeout=PATIENCE)
        if out.returncode:
            raise Failure("verify: " + out.stdout + out.stderr)
