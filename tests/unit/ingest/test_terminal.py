"""Taking in a file for somebody who waits: it ends when all is placed, whoever left what waits."""

import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from ingest.errors import HomeInUseError
from ingest.files import FileReport, FileSource
from ingest.home import hold_home
from ingest.queue import NoQueue
from ingest.terminal import take_events_file, take_items_file
from tests.fakes import Installation, installation

PATIENCE = 20.0


@pytest.fixture
def akin(tmp_path: Path) -> Iterator[Installation]:
    with installation(tmp_path / "home") as made:
        yield made


@pytest.fixture
def file(tmp_path: Path) -> FileSource:
    path = tmp_path / "items.jsonl"
    path.write_text('{"item_id": "a", "title": "A"}\n{"item_id": "b", "title": "B"}\n')
    return FileSource(source=path)


def taken(akin: Installation, file: FileSource, start: Callable[[], object], *, wait: bool = True) -> FileReport:
    """What `take_items_file` reports; fails when it does not end."""
    reports: list[FileReport] = []

    def take() -> None:
        reports.append(take_items_file(akin.ledger, NoQueue(), akin.settings, file, start=start, wait=wait))

    taking = threading.Thread(target=take, daemon=True)
    taking.start()
    taking.join(PATIENCE)
    assert reports, "it is still waiting"
    return reports[0]


def test_a_changed_file_is_placed_by_a_worker_that_is_started_once(akin: Installation, file: FileSource) -> None:
    starts: list[None] = []

    def start() -> None:
        starts.append(None)
        threading.Timer(0.2, akin.place_all).start()

    report = taken(akin, file, start)

    assert (report.accepted, report.unchanged, len(starts)) == (2, 0, 1)
    assert akin.ledger.pending.count() == 0


def test_an_unchanged_file_starts_no_worker(akin: Installation, file: FileSource) -> None:
    taken(akin, file, akin.place_all)

    report = taken(akin, file, lambda: pytest.fail("nothing is to be done"))

    assert (report.accepted, report.unchanged) == (2, 2)


def test_what_an_interrupted_run_left_is_placed_by_the_next(akin: Installation, file: FileSource) -> None:
    # given a run that ended before anything was placed
    taken(akin, file, lambda: None, wait=False)
    assert akin.ledger.pending.count() == 2

    # when the same file is taken in again
    report = taken(akin, file, akin.place_all)

    # then a worker is started, though nothing has changed
    assert report.unchanged == 2
    assert akin.ledger.pending.count() == 0


def test_the_bar_counts_what_an_interrupted_run_left(
    akin: Installation, file: FileSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken(akin, file, lambda: None, wait=False)
    shown: list[tuple[int, int | None]] = []
    monkeypatch.setattr("ingest.terminal.progress_bar", lambda _: nullcontext(lambda *told: shown.append(told)))

    taken(akin, file, akin.place_all)

    assert (0, 2) in shown
    assert shown[-1] == (2, 2)


def test_a_worker_is_started_when_whoever_had_the_folder_leaves(akin: Installation, file: FileSource) -> None:
    # given a command that has the folder for a moment and places nothing
    held, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with hold_home(akin.settings.home):
            held.set()
            leave.wait(PATIENCE)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(PATIENCE)
    started_early = []

    def start() -> None:
        started_early.append(not leave.is_set())
        akin.place_all()

    threading.Timer(0.5, leave.set).start()

    # when a file is taken in meanwhile, then it is placed once the folder is free
    taken(akin, file, start)
    holder.join()
    assert started_early == [False]
    assert akin.ledger.pending.count() == 0


def test_somebody_who_takes_the_folder_first_is_waited_for(akin: Installation, file: FileSource) -> None:
    attempts: list[None] = []

    def start() -> None:
        attempts.append(None)
        if len(attempts) == 1:
            raise HomeInUseError("another akin process has the data folder open")
        akin.place_all()

    taken(akin, file, start)

    assert len(attempts) == 2


def test_a_file_of_events_is_read_under_a_bar_of_its_share(
    akin: Installation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "events.csv"
    path.write_text("user_id,item_id,type\n" + "".join(f"u,{n},view\n" for n in range(3)))

    report = take_events_file(akin.ledger, akin.settings, FileSource(source=path))

    assert report.accepted == 3
    assert "100%" in capsys.readouterr().err
