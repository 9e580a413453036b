"""Long work says how far it has come, to a terminal and to whoever reads its lines later."""

import io

import pytest
from rich.console import Console

from ingest import progress


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    out = io.StringIO()
    monkeypatch.setattr(progress, "stderr", Console(file=out, width=80))
    return out


def test_where_nobody_watches_a_step_is_a_line_and_not_each_of_them(written: io.StringIO) -> None:
    with progress.spinner("index") as say:
        for left in range(100, 0, -1):
            say(f"{left} items [to] place")

    assert written.getvalue() == "index: 100 items [to] place\n"


def test_work_that_takes_long_says_so_again(written: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("ingest.progress.time.monotonic", lambda: now)
    with progress.spinner("index") as say:
        say("building")
        now += progress.LINE_SECONDS
        say("catching up")

    assert written.getvalue().splitlines() == ["index: building", "index: catching up"]
