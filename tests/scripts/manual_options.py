#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares the options of each command, as --help lists them, with the manual page. Prints what differs, a line each.

    manual_options.py TWINSTEP docs/twinstep.1

In a section whose title ends in OPTIONS an entry is for the commands that stand after `For`: in the entry itself, else at
the beginning of the section. `.BR record :` at the beginning of an entry's text says the same. In the section COMMANDS an
entry's options are its command's own."""
import re
import subprocess
import sys

OPTION = re.compile(r"--([a-z][a-z-]*)")


def table(twinstep):
    text = subprocess.run([twinstep, "help"], capture_output=True, text=True, check=True).stdout
    commands = re.findall(r"^  ([a-z-]+) +\S", text, re.M)
    options = {}
    for c in commands:
        out = subprocess.run([twinstep, c, "--help"], capture_output=True, text=True, check=True).stdout
        options[c] = set(re.findall(r"^  (?:-[a-z], )?--([a-z-]+)", out, re.M)) - {"help"}
    return options


def named(line, commands):
    return {w for w in re.findall(r"[a-z-]+", line) if w in commands}


def entries(section):
    """The text before the first entry, and the entries."""
    head, *rest = section.split(".TP\n")
    return head, [e.split(".PP\n")[0] for e in rest]


def for_line(text, commands):
    """Commands after the last `For`, or None."""
    found = re.findall(r"^For\n(\.BR? .*)", text, re.M)
    return named(found[-1], commands) if found else None


def manual(path, commands):
    page = open(path).read().replace("\\-", "-")
    page = re.sub(r"\\f[A-Z]", "", page)
    options = {c: set() for c in commands}
    for section in page.split(".SH ")[1:]:
        title = section.split("\n")[0]
        head, rest = entries(section)
        for e in rest:
            first, _, body = e.partition("\n")
            if title == "COMMANDS":
                command = re.match(r"\.BR? ([a-z-]+)", first).group(1)
                for o in OPTION.findall(e):
                    if o in OPTION.findall(first) or command in ("diff", "host"):
                        options[command].add(o)
            elif title.endswith("OPTIONS"):
                prefix = re.match(r"\.BR (.*) :\n", body)
                own = named(prefix.group(1), commands) if prefix else for_line(body, commands)
                for c in own if own is not None else for_line(head, commands) or ():
                    options[c].update(OPTION.findall(first))
    return options


def main():
    have = table(sys.argv[1])
    said = manual(sys.argv[2], have)
    for c in have:
        for o in sorted(have[c] - said[c]):
            print("%s --%s is not in the manual page" % (c, o))
        for o in sorted(said[c] - have[c]):
            print("%s --%s is in the manual page only" % (c, o))


main()
