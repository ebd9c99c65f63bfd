# SPDX-License-Identifier: GPL-2.0-or-later
"""A page in Chromium as a telephone or a desk shows it, by the browser's own protocol over a pair of pipes: what the page says,
whether it fits, a picture of it."""
import base64
import json
import os
import subprocess
import tempfile
import time

PATIENCE = 120


class Browser:
    def __init__(self):
        self.dir = tempfile.TemporaryDirectory(prefix="twinstep-browser-", ignore_cleanup_errors=True)
        to_browser, self.out = os.pipe()
        self.inp, from_browser = os.pipe()
        # The browser reads from descriptor 3 and writes to 4.
        script = 'exec 3<&%d 4>&%d; exec chromium "$@"' % (to_browser, from_browser)
        self.proc = subprocess.Popen(
            ["bash", "-c", script, "bash", "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             "--user-data-dir=" + self.dir.name, "about:blank"],
            pass_fds=(to_browser, from_browser), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.buffer, self.n, self.session = b"", 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def receive(self):
        while b"\0" not in self.buffer:
            got = os.read(self.inp, 1 << 16)
            if not got:
                raise OSError("the browser has ended")
            self.buffer += got
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **params):
        self.n += 1
        message = {"id": self.n, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.n:
                if "error" in answer:
                    raise OSError("%s: %s" % (method, answer["error"]))
                return answer["result"]

    def size(self, width, height=800):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)

    def get(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def open(self, url, until):
        """until: an expression that becomes true when the page is there."""
        end = time.monotonic() + PATIENCE
        while "errorText" in self.call("Page.navigate", url=url) and time.monotonic() < end:
            time.sleep(0.1)  # it does not listen yet
        while not self.get(until):
            if time.monotonic() > end:
                raise OSError("%s does not become true: %s" % (until, self.get("document.body.innerText")))
            time.sleep(0.05)

    def picture(self, path):
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        with open(path, "wb") as f:
            f.write(base64.b64decode(shot["data"]))

    def close(self):
        self.proc.kill()
        self.proc.wait()
        self.dir.cleanup()
