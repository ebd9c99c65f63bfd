# SPDX-License-Identifier: GPL-2.0-or-later
"""Names in the comments of C and assembler sources, from the list of the tree's files on stdin.

- `name()` must occur somewhere in code or in a string, unless the sentence says whose it is ("Linux's name()").
- `name.c`, `dir/name.h` and the like must be a file of the tree, or a header that is included.
- A comment of a header that begins with `name.c:` or is `name.c` alone stands above what that file
  defines: the function declared next is looked for there.
"""
import os
import re
import sys

TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
CALL = re.compile(r"(\w+'s\s+(?:\*\s+)?)?\b([A-Za-z_]\w*)\(\)")
FILE = re.compile(r"[\w./-]*\w\.(?:c|h|S|sh|py|md)\b")
OWNER = re.compile(r"/\*\s*(?:\*\s*)?(\w+\.c)(?::|\s*\*/)")
PROTOTYPE = re.compile(r"\b([A-Za-z_]\w*)\((?!\*)")


def split(text):
    """The code without comments, and the comments with their places."""
    comments = []

    def take(match):
        if not match.group().startswith("/"):
            return f'" {match.group()[1:-1]} "'
        comments.append((match.start(), match.group()))
        return " " + "\n" * match.group().count("\n")

    return TOKEN.sub(take, text), comments


def main():
    paths = [p for p in sys.stdin.read().split("\n") if os.path.isfile(p)]
    files = {p: open(p, errors="replace").read() for p in paths if re.search(r"\.[chS]$", p)}
    names = {os.path.basename(p) for p in paths}
    parts = {p: split(t) for p, t in files.items()}
    words = {w for code, _ in parts.values() for w in re.findall(r"[A-Za-z_]\w*", code)}
    headers = {h for t in files.values() for h in re.findall(r"#include <(.*?)>", t)}
    bad = []

    def complain(path, start, what):
        bad.append(f"{path}:{files[path].count(chr(10), 0, start) + 1}: {what}")

    def is_file(name):
        if name in headers:
            return True
        if "/" not in name.lstrip("./"):
            return os.path.basename(name) in names
        return any(p == name or p.endswith("/" + name.lstrip("./")) for p in paths)

    def defines(name, function):
        return any(os.path.basename(p) == name and re.search(rf"\b{function}\(", parts[p][0])
                   for p in files)

    for path, (_, comments) in parts.items():
        for start, text in comments:
            for m in CALL.finditer(text):
                if not m.group(1) and m.group(2) not in words:
                    complain(path, start + m.start(), f"there is no {m.group(2)}()")
            for m in FILE.finditer(text):
                if not is_file(m.group()):
                    complain(path, start + m.start(), f"there is no {m.group()}")
            owner = OWNER.match(text)
            if path.endswith(".h") and owner:
                code = split(files[path][start + len(text):])[0]
                m = PROTOTYPE.search(code.split(";")[0])
                if m and not defines(owner.group(1), m.group(1)):
                    complain(path, start, f"{m.group(1)}() is not in {owner.group(1)}")
    for line in bad:
        print("not ok names:", line)
    if not bad:
        print("ok names")
    return bool(bad)


sys.exit(main())
