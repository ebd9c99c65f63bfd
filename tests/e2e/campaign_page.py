#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""campaign_page.py PAGE CSV: a campaign's page is whole, needs nothing else, and says what the results say."""

import csv
import html.parser
import re
import sys
import xml.etree.ElementTree

VOID = {"meta", "link", "br", "img", "input"}
DRAWN = {"rect", "path"}


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.cells, self.cell = [], [], None

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            assert name not in ("src", "href", "onload") and "://" not in value, (tag, name, value)
        assert tag != "script"
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th", "code"):
            self.cells.append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        # What HTML lets be: a row's last cell, a cell before the next one.
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th", "code"):
            self.cells[-1] += data


text = open(sys.argv[1], encoding="utf-8").read()
rows = list(csv.DictReader(open(sys.argv[2], encoding="utf-8")))
page = Page()
page.feed(text)
page.close()
assert not page.open, page.open
drawings = [xml.etree.ElementTree.fromstring(d) for d in re.findall(r"<svg.*?</svg>", text, re.S)]
assert len(drawings) >= 4, len(drawings)
for drawing in drawings:
    assert any(e.tag in DRAWN for e in drawing.iter())
for outcome in {r["outcome"] for r in rows}:
    count = sum(r["outcome"] == outcome for r in rows)
    at = page.cells.index(outcome)
    assert page.cells[at + 1] == str(count), (outcome, count, page.cells[at + 1])
worst = [c for c in page.cells if c.startswith("twinstep campaign show ")]
bad = [r["n"] for r in rows if r["outcome"] in ("wrong output", "detected", "hang", "crash")]
assert len(worst) == min(len(bad), 25), (len(worst), len(bad))
assert all(c.split()[-1] in bad for c in worst)
