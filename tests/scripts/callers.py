# SPDX-License-Identifier: GPL-2.0-or-later
"""Public functions of the library without a caller outside tests: see callers.sh. usage: callers.py BUILD"""
import collections
import os
import re
import subprocess
import sys

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)


def read(path):
    with open(path, errors="replace") as f:
        return f.read()


def symbols(objects):
    """Functions that an object defines for others, and the objects that want them of others."""
    defined, wanted = {}, collections.defaultdict(set)
    for line in subprocess.run(["nm", "-A", "-g", *objects], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines():
        path, rest = line.split(":", 1)
        kind, name = rest.split()[-2:]
        if kind == "U":
            wanted[name].add(path)
        elif kind == "T" and name != "main":
            defined[name] = path
    return defined, wanted


def declarations(files):
    """Of each name that a header declares as a function: header, and the comment above the declaration."""
    found = {}
    pattern = re.compile(r"((?:/\*(?:(?!\*/).)*\*/\n)?)(?:^[a-z][^;{}()#/]*\b(\w+)\([^;{}]*\);)", re.S | re.M)
    for path in files:
        for m in pattern.finditer(read(path)):
            found[m.group(2)] = path, m.group(1)
    return found


def main():
    build = sys.argv[1]
    files = subprocess.run(["git", "ls-files", "*.c", "*.h"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    sources = [f for f in files if f.endswith(".c") and not f.startswith("tests/")]
    objects = {"%s/obj/%s.o" % (build, f[:-2]): f for f in sources}
    objects = {o: f for o, f in objects.items() if os.path.exists(o)}
    defined, wanted = symbols(objects)
    declared = declarations(f for f in files if f.endswith(".h") and not f.startswith("tests/"))
    bad = 0
    for name, path in sorted(defined.items()):
        if wanted[name] or name not in declared:
            continue
        uses = len(re.findall(r"\b%s\b" % name, COMMENT.sub("", read(objects[path]))))
        header, comment = declared[name]
        if uses <= 1 and "tests" not in comment:
            print("not ok callers.%s: %s declares it, and nothing but tests calls it" % (name, header))
            bad = 1
    if not bad:
        print("ok callers (%d functions)" % len(defined))
    return bad


if __name__ == "__main__":
    sys.exit(main() if len(sys.argv) == 2 else __doc__)
