#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Manual pages of the subcommands, twinstep-COMMAND.1, from what `twinstep COMMAND --help` says.

    subcommand.py TWINSTEP DIRECTORY"""
import os
import re
import subprocess
import sys

SPECIAL = str.maketrans({"\\": "\\e", "-": "\\-"})


def roff(text):
    text = text.translate(SPECIAL)
    return re.sub(r"^(['.])", r"\\&\1", text, flags=re.M)


def paragraph(lines):
    return roff(" ".join(line.strip() for line in lines))


def options(lines):
    """`  -d, --detach ARG   text` and its further lines, as entries."""
    out, text = [], []
    for line in lines:
        head = re.match(r"  ((?:-\w, )?--\S+(?: \S+)?)(?: {2,}(.*))?$", line) or re.match(r"  ((?:-\w, )?--\S+ .*?)(?: {2,}(.*))?$", line)
        if head:
            if text:
                out.append(paragraph(text))
            out += [".TP", ".B " + roff(head.group(1))]
            text = [head.group(2) or ""]
        else:
            text.append(line)
    return out + [paragraph(text)]


def page(command, summary, help_text):
    text = re.sub(r"\n(Exit status:)", r"\n\n\1", help_text.strip())
    blocks = [b.split("\n") for b in text.split("\n\n")]
    out = ['.\\" SPDX-License-Identifier: GPL-2.0-or-later', '.TH TWINSTEP\\-%s 1 "" "Twinstep" "User Commands"' %
           roff(command.upper()), ".SH NAME", "twinstep\\-%s \\- %s" % (roff(command), roff(summary)), ".SH SYNOPSIS",
           ".B " + paragraph(blocks[0]).replace("usage: ", "", 1), ".SH DESCRIPTION"]
    for block in blocks[1:]:
        title = re.match(r"([A-Z][A-Za-z' ]+):$", block[0])
        if title:
            out += [".SH " + title.group(1).upper().replace("'", "\\(aq")] + options(block[1:])
        elif block[0].startswith("Exit status:"):
            out += [".SH EXIT STATUS", paragraph(block)[len("Exit status: "):]]
        else:
            out += [".PP", paragraph(block)]
    return "\n".join(out + [".SH SEE ALSO", ".BR twinstep (1)", ""])


def main():
    twinstep, directory = sys.argv[1:]
    os.makedirs(directory, exist_ok=True)
    text = subprocess.run([twinstep, "help"], capture_output=True, text=True, check=True).stdout
    for command, summary in re.findall(r"^  ([a-z-]+) +(\S.*)", text, re.M):
        shown = subprocess.run([twinstep, command, "--help"], capture_output=True, text=True, check=True).stdout
        with open("%s/twinstep-%s.1" % (directory, command), "w") as f:
            f.write(page(command, summary, shown))


main()
