#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The exporter's page in Chromium, of guests whose every number is known: everything is on it, as words, on a telephone as well.

    page.py tools/exporter.html [URL WORDS...]        and an exporter's page, which is to have those words
SCREENSHOTS=DIR: pictures."""
import http.server
import json
import os
import re
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from browser import Browser  # noqa: E402

WIDE = """[...document.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > innerWidth + 0.5)
    .map(e => e.tagName + '.' + e.getAttribute('class')).join(' ')"""
now = int(time.time())
LONG = "cannot receive from a-host-with-a-very-long-name.example.org:" + "7" * 60
GUESTS = [
    {"name": "web", "configured": True, "phase": "live", "memory_bytes": 300 << 20, "cpu_s": 12.0, "age_s": 600.0, "alarms": [],
     "disks": [{"path": "/srv/web.img", "state": "in step", "bytes": 4 << 30, "generation": 3},
               {"path": "/srv/logs.img", "error": "cannot open /srv/logs.img.twin: Permission denied"}],
     "status": {"state": "protected", "role": "primary", "live": True, "generation": 3, "peer": "10.0.0.2:7777", "lag_ms": 1.25,
                "ack_us": 340.0, "outputs_held": 2, "outputs_released": 4711, "digests_compared": 999, "failover": {"count": 2, "ms": 212.5},
                "switch": {"count": 1, "ms": 3.0}, "verify": {"running": False, "blocks": 64, "compared": 64, "differing": 0, "mended": 0}},
     "timeline": {"since": now - 300,
                  "states": [{"from": now - 600, "state": "backup"}, {"from": now - 300, "state": "unprotected"},
                             {"from": now - 290, "state": "joining"}, {"from": now - 286, "state": "protected"}],
                  "marks": [{"at": now - 300, "kind": "failover", "s": 0.2125, "text": "the primary is gone (%s)" % LONG},
                            {"at": now - 290, "kind": "join", "s": 4.0, "text": "backup follows"}]},
     "history": {"seconds": 2, "lag_ms": [None, 1.5, 7.25, None, 2.0], "ack_us": [None, 300.0, 900.0, None, 340.0]},
     "events": [{"time": "2026-01-01T12:00:00.000Z", "event": "live", "text": "<b>LIVE</b>"}]},
    {"name": "db", "configured": True, "phase": "live", "age_s": 30.0, "cpu_s": 30.0, "alarms": ["diverged: RAX", "UNPROTECTED: joining"],
     "disks": [{"path": "/srv/db.img", "state": "ahead", "bytes": 1 << 30, "generation": 1}],
     "status": {"state": "joining", "role": "primary", "live": True, "generation": 1, "peer": "10.0.0.2:7778", "lag_ms": 0.0, "ack_us": 0.0,
                "sync": {"bytes": 1 << 20, "left": 512 << 20, "bytes_s": 64 << 20, "left_s": 8.0}, "join": {"memory_left": 77 << 20}},
     "timeline": {"since": now - 30, "states": [{"from": now - 30, "state": "joining"}], "marks": []},
     "history": {"seconds": 2, "lag_ms": [None], "ack_us": [None]}, "events": []},
    {"name": "idle", "configured": True, "phase": "down", "alarms": [], "timeline": {"states": [], "marks": []}, "history": None, "events": []},
]
SAID = ["Twinstep on alpha", "protected", "live here since", "0.34 ms", "1.3 ms", "999", "4711", "2, last 213 ms", "1, last 3.0 ms", "failover, 213 ms",
        "join, 4.0 s", "Lag of the backup", "highest 7.3 ms", "highest 0.9 ms", "Time line", "live alone", "backup joins", "/srv/web.img",
        "in step, 4.0 GiB", "cannot open /srv/logs.img.twin: Permission denied", "64 of 64 blocks, 0 differ", "diverged: RAX", "UNPROTECTED: joining",
        "512 MiB left to send, 64 MiB a second, 8.0 s", "77 MiB", "ahead, 1.0 GiB", "idle", "down", LONG]


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        page = self.path == "/"
        body = open(sys.argv[1], "rb").read() if page else json.dumps({"host": "alpha", "time": now, "machines": GUESTS}).encode()
        self.send_response(200 if page or self.path == "/api/v1/machines" else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8" if page else "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def check(name, wrong):
    print("not ok page.%s: %s" % (name, wrong) if wrong else "ok page." + name, flush=True)
    return bool(wrong)


def real(browser, url, words):
    """What is wrong with an exporter's own page, on a telephone."""
    browser.size(360)
    browser.open(url, "%s.every(w => document.body.innerText.includes(w))" % json.dumps(words))
    picture(browser, "exporter-360")
    return browser.get(WIDE)


def picture(browser, name):
    if "SCREENSHOTS" in os.environ:
        browser.picture("%s/%s.png" % (os.environ["SCREENSHOTS"], name))


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url, failed, browser = "http://127.0.0.1:%d/" % server.server_port, False, Browser()
    try:
        for width in 360, 1000:
            browser.size(width)
            browser.open(url, "document.querySelectorAll('section').length === %d" % len(GUESTS))
            text = browser.get("document.body.innerText")
            failed |= check("says-%d" % width, ["%r is not on the page" % s for s in SAID if s not in text])
            # Nothing reaches beyond the screen, and no text is smaller than a telephone's reader can take.
            wide = browser.get(WIDE)
            small = browser.get("""[...document.querySelectorAll('body *')].filter(e => e.innerText &&
                parseFloat(getComputedStyle(e).fontSize) < 12).map(e => e.tagName).join(' ')""")
            inner = browser.get("innerWidth")
            failed |= check("fits-%d" % width, wide or small or (inner != width and "the window is %s wide" % inner))
            picture(browser, "page-%d" % width)
        alarms = browser.get("[...document.querySelectorAll('.alarm')].map(e => e.textContent).join('|')")
        failed |= check("alarms", alarms != "diverged: RAX|UNPROTECTED: joining" and alarms)
        lines = browser.get("document.querySelector('.chart').querySelectorAll('polyline').length")
        failed |= check("gaps", lines != 2 and "%s lines for two runs of numbers" % lines)
        markup = browser.get("document.querySelectorAll('ol.events li b + b').length")
        failed |= check("markup", markup != 0 and "an event's text has become markup")
        server.shutdown()
        server.server_close()
        if sys.argv[2:]:
            failed |= check("real", real(browser, sys.argv[2], sys.argv[3:]))
    finally:
        browser.close()
    return failed


if __name__ == "__main__":
    sys.exit(main())
