"""A running akin with the sample catalogue, and a headless Chromium to look at it with. `make browser` brings both."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest import sample
from tests.artifacts import default_artifact

playwright = pytest.importorskip("playwright.sync_api", reason="`make browser` installs Playwright")

REPOSITORY = Path(__file__).resolve().parents[2]
SCREENSHOTS = REPOSITORY / "build" / "screenshots"
READY_SECONDS = 60
HOSTILE_ID = "hostile/<b>&id"
HOSTILE = {"title": '5 < 6 & "quoted" \u202eabc', "text": "long " * 2_000, "categories": ["a & b", "عربي"]}


class Akin:
    """One installation as a process of its own that can be stopped and started."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AKIN_")},
            "AKIN_HOME": str(home),
            "AKIN_ENCODER": str(default_artifact()),
            "AKIN_ATTRIBUTES": json.dumps({name: str(kind) for name, kind in sample.ATTRIBUTES.items()}),
            "AKIN_MIN_FREE_BYTES": "0",
            "AKIN_PORT": str(self.port),
            "PYTHONPATH": str(REPOSITORY),
        }
        self.home = home
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "akin", *arguments]
        subprocess.run(command, env=self._variables, cwd=self.home.parent, check=True, capture_output=True, timeout=240)

    def start(self, *, wait: bool = True) -> None:
        log = (self.home.parent / "akin.log").open("ab")
        command = [sys.executable, "-m", "akin", "up"]
        self._process = subprocess.Popen(command, env=self._variables, cwd=self.home.parent, stdout=log, stderr=log)
        log.close()
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz"):
                    return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
        raise AssertionError((self.home.parent / "akin.log").read_text())

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=60)
            self._process = None

    def put(self, item_id: str, item: dict) -> None:
        path = urllib.request.quote(item_id, safe="")
        headers = {"Content-Type": "application/json"}
        body = json.dumps(item).encode()
        request = urllib.request.Request(f"{self.url}/v1/items/{path}", body, headers, method="PUT")
        with urllib.request.urlopen(request) as answer:
            job = json.load(answer)["job_id"]
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            with urllib.request.urlopen(f"{self.url}/v1/jobs/{job}") as answer:
                if json.load(answer)["state"] == "done":
                    return
            time.sleep(0.1)
        raise AssertionError("the item was not placed")


@pytest.fixture(scope="session")
def akin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Akin]:
    made = Akin(tmp_path_factory.mktemp("browser") / "home")
    made.run("ingest", "items", str(sample.ITEMS))
    made.run("ingest", "events", str(sample.EVENTS))
    files = ("--items", str(sample.ITEMS), "--events", str(sample.EVENTS))
    made.run("evaluate", *files, "--home", str(made.home), "--strategies", "popular,mean,interests,popularity")
    made.start()
    made.put(HOSTILE_ID, HOSTILE)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator["playwright.Browser"]:
    chromium = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    with playwright.sync_playwright() as started:
        made = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield made
        made.close()


class Seen:
    """A page, and everything on it that must not be: console errors, failed scripts, requests to elsewhere."""

    def __init__(self, page: "playwright.Page", url: str) -> None:
        self.page = page
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        self.bytes = 0
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(url) else self.elsewhere.append(request.url))

    def shot(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


@pytest.fixture
def seen(akin: Akin, browser: "playwright.Browser") -> Iterator[Seen]:
    context = browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 900})
    context.set_default_timeout(15_000)
    made = Seen(context.new_page(), akin.url)
    yield made
    context.close()
