# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares what strace saw each kind of thread ask of the kernel (files named on the command line) with what
`twinstep jail --list --json` (standard input) says it may ask: each of its calls, but for those marked as rare, has to
be seen, and nothing else."""
import collections
import json
import re
import sys

LINE = re.compile(r"\d+<([^>]*)> +(\w+)\(")


def seen_in(files):
    seen = collections.defaultdict(collections.Counter)
    for name in files:
        narrowed, starting = set(), collections.defaultdict(collections.Counter)
        for line in open(name, errors="replace"):
            m = LINE.match(line)
            if not m:
                continue
            task, (comm, call) = line.split("<")[0], m.groups()
            if task in narrowed:
                seen["main" if comm == "twinstep" else comm][call] += 1
                continue
            starting[task][call] += 1
            if "seccomp(SECCOMP_SET_MODE_FILTER, 0, {" in line:  # the last step before the work
                narrowed.add(task)
                if comm not in ("twinstep", "keeper", "courier"):  # a thread begins with the rights of the one that made it
                    seen["main"] += starting[task]
    return seen


def main():
    roles, seen, bad = json.load(sys.stdin)["roles"], seen_in(sys.argv[1:]), 0
    for role in roles:
        name = role["role"]
        needed = {c["call"] for c in role["calls"] if not c["rare"] and c["rule"].startswith("allow")}
        if name not in seen and not needed:
            continue
        if name not in seen:
            print("not ok jail.lists-%s: no such thread was seen" % name)
            bad = 1
            continue
        listed = {c["call"] for c in role["calls"]}
        if name == "main":  # it has everybody's as well
            needed -= {c["call"] for r in roles if r is not role and r["role"] not in ("keeper", "courier") for c in r["calls"]}
        calls = seen[name]
        unlisted, unused = calls.keys() - listed, needed - calls.keys()
        if unlisted or unused:
            print("not ok jail.lists-%s: used and not listed: %s; listed and not used: %s" % (
                name, " ".join(sorted(unlisted)) or "none", " ".join(sorted(unused)) or "none"))
            bad = 1
        else:
            least = min(needed, key=lambda call: calls[call], default=None)
            rarest = "least of those that must be: %s, %d times" % (least, calls[least]) if needed else "none must be"
            print("ok jail.lists-%s (%d of %d calls seen; %s)" % (name, len(calls.keys() & listed), len(listed), rarest))
    return bad


sys.exit(main())
