# SPDX-License-Identifier: GPL-2.0-or-later
"""Looks for a pair's key in the memory of processes: memory_scan.py KEYFILE PID... Prints a line for each place, with
the mapping that it is in and whether that is locked and left out of core files: "PID KIND ADDRESS FLAGS NAME", KIND
being raw (the 32 bytes) or text (any 16 digits of the file)."""
import re
import sys

CHUNK = 4 << 20


def mappings(pid):
    found, flags = [], {}
    for line in open("/proc/%s/smaps" % pid):
        m = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)", line)
        if m:
            found.append((int(m.group(1), 16), int(m.group(2), 16), m.group(3), m.group(4).strip() or "anonymous"))
        elif line.startswith("VmFlags:"):
            flags[found[-1]] = line.split()[1:]
    return [(m, flags.get(m, [])) for m in found]


def search(mem, start, end, needles, overlap):
    at = start
    while at < end:
        try:
            mem.seek(at)
            data = mem.read(min(CHUNK, end - at))
        except OSError:
            return
        if not data:
            return
        for kind, needle in needles:
            i = data.find(needle)
            while i >= 0:
                yield kind, at + i
                i = data.find(needle, i + 1)
        at += len(data) if at + len(data) >= end else len(data) - overlap


def main():
    text = open(sys.argv[1]).read().strip().encode()
    needles = [("raw", bytes.fromhex(text.decode()))] + [("text", text[i:i + 16]) for i in range(0, 64, 16)]
    for pid in sys.argv[2:]:
        with open("/proc/%s/mem" % pid, "rb", 0) as mem:  # as root: it is not dumpable
            for (start, end, _, name), flags in mappings(pid):
                if name.startswith(("[vvar", "[vsyscall")):
                    continue
                for kind, at in sorted(set(search(mem, start, end, needles, 64))):
                    print(pid, kind, hex(at), ",".join(flags), name)


main()
