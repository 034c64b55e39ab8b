"""A page in a real browser without a window and without a network."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)
PATIENCE = 60  # seconds for anything to come


class Tab:
    """One page; asked over the browser's debugging pipe."""

    def __init__(self, reading, writing):
        self.reading, self.writing = reading, writing
        self.numbers = itertools.count(1)
        self.events, self.rest, self.session = [], b"", {}
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self.session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Network", "Runtime"):
            self.ask(f"{domain}.enable")

    def ask(self, method, **params):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params, **self.session}
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        while (answer := self._message()).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, file, width, height=844, dark=False):
        """Load a file on a screen of so many CSS pixels."""
        phone = width < 600
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.ask("Emulation.setEmulatedMedia", features=scheme)
        self.events.clear()
        self.ask("Page.navigate", url=Path(file).resolve().as_uri())
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self._message())

    def value(self, expression):
        """What a JavaScript expression gives on the page."""
        told = self.ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def requested(self):
        """Addresses that the page asked for, data inside it apart."""
        asked = (e for e in self.events if e.get("method") == "Network.requestWillBeSent")
        urls = [e["params"]["request"]["url"] for e in asked]
        return [url for url in urls if not url.startswith("data:")]

    def screenshot(self, file):
        """The whole page."""
        shot = self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        Path(file).write_bytes(base64.b64decode(shot["data"]))

    def _message(self):
        while b"\0" not in self.rest:
            assert select.select([self.reading], [], [], PATIENCE)[0], "the browser is silent"
            part = os.read(self.reading, 1 << 20)
            assert part, "the browser has gone"
            self.rest += part
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)


@contextmanager
def browser(profile):
    """A tab of a new browser, whose every way to a network ends nowhere."""
    ours_in, theirs_out = os.pipe()
    theirs_in, ours_out = os.pipe()

    def connect():  # the browser reads commands from 3 and answers on 4
        # above both first: one of the pipes may be 3 or 4 itself
        low, high = os.dup2(theirs_in, 100), os.dup2(theirs_out, 101)
        os.dup2(low, 3)
        os.dup2(high, 4)

    options = [
        "--headless",
        "--no-sandbox",  # containers
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--remote-debugging-pipe",
        "--proxy-server=127.0.0.1:1",
        "--no-first-run",
        f"--user-data-dir={profile}",
    ]
    process = subprocess.Popen(
        [BROWSER, *options],
        preexec_fn=connect,
        close_fds=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Tab(ours_in, ours_out)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(ours_in)
        os.close(ours_out)
        time.sleep(0.1)  # its children still write into the profile
