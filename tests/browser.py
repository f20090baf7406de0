"""Chromium without a window, spoken to over a pipe by its DevTools protocol.

Owns the process, which reaches no network, and what happened in a page: which scripts ran, what
was fetched, what the page's policy refused.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

_LIMIT_S = 120.0
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)  # fmt: skip
# Stands in every page before anything of it: whatever runs says so.
_ALARMS = """
for (const name of ["alert", "confirm", "prompt", "open", "print"])
  window[name] = (...said) => console.error("RAN " + name + " " + said.join());
"""
# What a reader may do to a page, done to all of it.
_TOUCHED = """
for (const each of document.querySelectorAll("*"))
  for (const name of ["mouseover", "mouseenter", "mousemove", "wheel", "focus", "keyup", "copy",
                      "toggle", "animationstart", "pointerover", "blur", "input", "error", "load"])
    each.dispatchEvent(new Event(name, {bubbles: true}));
for (const each of document.querySelectorAll("a"))
  if (!/^(https?|mailto):/.test(each.protocol)) each.click();
"""


class Visit(NamedTuple):
    """What happened in a page. `ran`: what scripts said; `fetched`: every address beside its own;
    `refused`: what its policy kept from happening."""

    ran: list[str]
    fetched: list[str]
    refused: list[str]


class Browser:
    """A browser with one page."""

    def __init__(self, process: "subprocess.Popen[bytes]", to: int, back: int) -> None:
        self._process = process
        self._to = to
        self._back = back
        self._number = 0
        self._unread = b""
        self._session: str | None = None
        self._events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Page.addScriptToEvaluateOnNewDocument", source=_ALARMS)

    def call(self, method: str, **params: Any) -> Any:
        """A command of the protocol, and what it gives."""
        self._number += 1
        command: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        data = memoryview(json.dumps(command).encode() + b"\0")
        while data:
            data = data[os.write(self._to, data) :]
        while True:
            said = self._next()
            if said.get("id") == self._number:
                assert "error" not in said, (method, said["error"])
                return said["result"]
            self._events.append(said)

    def open(self, path: Path) -> None:
        """Go to the page in a file, until all of it is there."""
        self._events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(each["method"] == "Page.loadEventFired" for each in self._events):
            self._events.append(self._next())

    def visit(self, path: Path, *, with_policy: bool = True) -> Visit:
        """Open a page, and do to all of it what a reader may do to some of it. `with_policy`: the
        page's own Content Security Policy holds."""
        self.call("Page.setBypassCSP", enabled=not with_policy)
        self.open(path)
        self.value(_TOUCHED)
        self.value("new Promise(done => setTimeout(done, 300))")
        own = path.as_uri()
        asked = [
            each["params"]["request"]["url"] for each in self._all("Network.requestWillBeSent")
        ]
        spoken = [
            str(each["params"]["args"][0].get("value", ""))
            for each in self._all("Runtime.consoleAPICalled")
        ]
        moved = [each["params"]["frame"]["url"] for each in self._all("Page.frameNavigated")]
        told = [each["params"]["entry"]["text"] for each in self._all("Log.entryAdded")]
        return Visit(
            ran=spoken + [each for each in moved if each.partition("#")[0] != own],
            fetched=[each for each in asked if each.partition("#")[0] != own],
            refused=[each for each in told if "Content Security Policy" in each],
        )

    def value(self, expression: str) -> Any:
        """What an expression is in the page."""
        done = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def look(self, width: int, scheme: str = "light", media: str = "screen") -> None:
        """Show the page as a screen so wide, or paper, does."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=844,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def picture(self, path: Path, height: int | None = None) -> None:
        """Keep what is shown as a PNG; all of the page, or its first `height` pixels."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"]}
        shot = self.call(
            "Page.captureScreenshot", captureBeyondViewport=True, clip={**clip, "scale": 1}
        )
        path.write_bytes(base64.b64decode(shot["data"]))

    def _all(self, method: str) -> Sequence[dict[str, Any]]:
        return [each for each in self._events if each["method"] == method]

    def _next(self) -> dict[str, Any]:
        ends_at = time.monotonic() + _LIMIT_S
        while b"\0" not in self._unread:
            left = ends_at - time.monotonic()
            assert left > 0, "the browser says nothing"
            if select.select([self._back], [], [], left)[0]:
                data = os.read(self._back, 1 << 20)
                assert data, "the browser has ended"
                self._unread += data
        said, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(said)
        return message


@contextmanager
def a_browser(folder: Path) -> Iterator[Browser]:
    """A browser that keeps what it must in `folder`, and ends with the block."""
    name = shutil.which("chromium")
    assert name, "there is no chromium: apt-get install chromium"
    pipes = [os.pipe(), os.pipe()]
    # Out of the way of 3 and 4, which are what the browser reads and writes.
    theirs = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (pipes[0][0], pipes[1][1])]

    def in_their_place() -> None:
        os.dup2(theirs[0], 3)
        os.dup2(theirs[1], 4)

    process = subprocess.Popen(
        [name, *_FLAGS, f"--user-data-dir={folder}"],
        preexec_fn=in_their_place,
        pass_fds=(3, 4),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder)},
    )
    for end in (*theirs, pipes[0][0], pipes[1][1]):
        os.close(end)
    to, back = pipes[0][1], pipes[1][0]
    try:
        browser = Browser(process, to, back)
        yield browser
    finally:
        os.close(to)  # the end of the pipe is the end of the browser
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(back)
