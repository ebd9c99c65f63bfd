# SPDX-License-Identifier: GPL-2.0-or-later
"""What a pair holds while it is protected: memory, descriptors, threads, metadata, files; and whether that grows."""
import os
import struct

from rig import Failure, median

GUEST_RAM = "memfd:twinstep-guest-ram"
PAGE, BITMAP = 4096, 4  # of a disk's metadata, docs/disk-metadata.md: where the bitmap begins, in pages

# What may be more in the later rounds: a share of the earlier, and so much in all (what a host and a moment make of it).
SLACK = {"memory KiB": (0.1, 4096), "descriptors": (0, 1), "threads": (0, 0), "metadata bytes": (0, 0), "metadata KiB": (0, 0),
         "blocks marked": (0.1, 128), "files": (0, 0), "arbiter files beyond generations": (0, 0)}


def tree(pid):
    """The process and all that come from it."""
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return [pid] + [p for child in f.read().split() for p in tree(int(child))]


def memory(pid):
    """KiB of a process beyond its guest's memory; what processes share counts as a whole once."""
    kib, counts = 0, True
    with open("/proc/%d/smaps" % pid) as f:
        for line in f:
            words = line.split()
            if "-" in words[0]:
                counts = GUEST_RAM not in line
            elif words[0] == "Pss:" and counts:
                kib += int(words[1])
    return kib


def marked(meta):
    """Blocks that the stable bitmap of a disk marks."""
    with open(meta, "rb") as f:
        data = f.read()[BITMAP * PAGE:]
    # Of each page 24 bytes in front and the checksum at the end are no bits.
    return sum(bin(word).count("1") for at in range(0, len(data), PAGE)
               for word in struct.unpack_from("<%dQ" % ((PAGE - 32) // 8), data, at + 24))


class Growth:
    """Samples of rounds. dirs: all that may be in each of them; arbiter: directory with a file for each generation."""

    def __init__(self, dirs, metas, arbiter):
        self.dirs, self.metas, self.arbiter = dirs, metas, arbiter
        self.rounds = []

    def look(self, *replicas):
        """Of a pair that is protected: (memory, descriptors, ...) of this round."""
        pids = [p for r in replicas for p in tree(r.proc.pid)]
        generation = replicas[0].status()["generation"]
        for path, names in self.dirs.items():
            there = set(os.listdir(path))
            if there != names:
                raise Failure("%s holds %s instead of %s" % (path, sorted(there), sorted(names)))
        stats = [os.stat(m) for m in self.metas]
        sample = {
            "memory KiB": sum(memory(p) for p in pids),
            "descriptors": sum(len(os.listdir("/proc/%d/fd" % p)) for p in pids),
            "threads": sum(len(os.listdir("/proc/%d/task" % p)) for p in pids),
            "metadata bytes": sum(s.st_size for s in stats),
            "metadata KiB": sum(s.st_blocks for s in stats) // 2,
            "blocks marked": sum(marked(m) for m in self.metas),
            "files": sum(len(os.listdir(d)) for d in self.dirs),
            # The marker, and one for each generation: what a failover needs to know for ever.
            "arbiter files beyond generations": len(os.listdir(self.arbiter)) - generation,
        }
        self.rounds.append(sample)
        return sample

    def grown(self):
        """A line for each kind: medians of the first and the last third of the rounds, and whether it has grown."""
        part = max(len(self.rounds) // 3, 1)
        early, late = self.rounds[:part], self.rounds[-part:]
        for kind, (share, some) in SLACK.items():
            a, b = median([r[kind] for r in early]), median([r[kind] for r in late])
            yield "%s %d, then %d" % (kind, a, b), b > a + max(a * share, some)

    def check(self):
        lines = list(self.grown())
        grown = [text for text, bad in lines if bad]
        if grown:
            raise Failure("more in the later of %d rounds: %s" % (len(self.rounds), "; ".join(grown)))
        return "; ".join(text for text, _ in lines)
