"""Whole files: what is said of one that would pass for a success, and of events that match nothing."""

import logging
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from ingest.errors import InvalidInputError
from ingest.files import FileSource, file_source, take_events, take_items, validate
from ingest.queue import NoQueue
from ingest.readers import Progress
from ingest.settings import Settings
from ingest.store.ledger import Ledger, open_ledger


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    with open_ledger(settings.ledger_url) as opened:
        yield opened


def source(folder: Path, name: str, *rows: dict[str, object], options: tuple[str, ...] = ()) -> FileSource:
    path = folder / name
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return FileSource(source=path, options=options, rejects=folder / "rejects.jsonl")


def said(caplog: pytest.LogCaptureFixture) -> dict[str, logging.LogRecord]:
    return {record.getMessage(): record for record in caplog.records}


ITEM = {"item_id": "a", "title": "A"}
VIEW = {"user_id": "u", "item_id": "a", "type": "view"}


def test_events_on_items_that_are_not_there_are_taken_and_counted(
    ledger: Ledger, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = source(tmp_path, "items.jsonl", ITEM)
    take_items(ledger, NoQueue(), settings, items, progress=Progress(), committed=lambda _: None)
    events = source(
        tmp_path, "events.jsonl", VIEW, VIEW | {"item_id": "sku-a"}, VIEW | {"item_id": "sku-a", "value": 1}
    )

    report = take_events(ledger, settings, events, progress=Progress(), committed=lambda: None)

    assert (report.accepted, report.unmatched) == (3, 2)
    assert ledger.events.unmatched() == 2
    warning = said(caplog)["events name items that are not there"]
    assert (vars(warning)["events"], vars(warning)["of"]) == (2, 3)


def test_a_report_of_items_says_nothing_of_events(ledger: Ledger, settings: Settings, tmp_path: Path) -> None:
    items = source(tmp_path, "items.jsonl", ITEM)
    report = take_items(ledger, NoQueue(), settings, items, progress=Progress(), committed=lambda _: None)
    assert "unmatched" not in report.as_json()


def test_a_refused_event_without_an_id_is_listed_by_its_item(
    ledger: Ledger, settings: Settings, tmp_path: Path
) -> None:
    ledger.users.delete("u")
    events = source(tmp_path, "events.jsonl", VIEW, VIEW | {"event_id": "e1"})

    take_events(ledger, settings, events, progress=Progress(), committed=lambda: None)

    listed = [orjson.loads(line)["subject_id"] for line in (tmp_path / "rejects.jsonl").read_bytes().splitlines()]
    assert listed == ["a", "e1"]


def test_events_given_as_items_are_recognised(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events, progress = source(tmp_path, "events.jsonl", VIEW), Progress()

    report = validate(events.items(settings, progress), events, progress)

    assert (report.accepted, report.rejected) == (0, 1)
    assert "--events" in vars(said(caplog)["every row was refused, and the rows look like events"])["remedy"]


@pytest.mark.parametrize("name", ["empty.jsonl", "empty.csv"])
def test_a_file_without_rows_is_taken_and_said_to_be_empty(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    empty, progress = source(tmp_path, name), Progress()

    report = validate(empty.items(settings, progress), empty, progress)

    assert report.rows == 0
    assert "the file has no rows" in said(caplog)


def test_a_mapping_that_meets_no_column_is_said(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items, progress = source(tmp_path, "items.jsonl", ITEM, options=("text=nosuch",)), Progress()

    validate(items.items(settings, progress), items, progress)

    assert vars(said(caplog)["no row has a column that is mapped"])["columns"] == "nosuch"


def test_a_file_without_a_name_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="name of the file is empty"):
        file_source("")
