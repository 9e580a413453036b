"""What people and programs read of a log record."""

import json
import logging
from collections.abc import Iterator

import pytest

import akin
from ingest.logs import JsonFormatter


@pytest.fixture(autouse=True)
def own_root_logger() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


def test_a_command_shows_a_warning_with_its_fields_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        logging.getLogger("ingest.somewhere").warning("item set aside", extra={"item_id": "a-1", "reason": "no text"})
        logging.getLogger("ingest.somewhere").warning("nothing more to say")
        logging.getLogger("ingest.somewhere").info("chatter")

    monkeypatch.setattr(akin, "app", command)

    akin.main()

    assert capsys.readouterr() == (
        "",
        "akin: item set aside (item_id: a-1, reason: no text)\nakin: nothing more to say\n",
    )


def test_a_command_shows_the_traceback_of_what_was_logged_with_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        try:
            int("odd")
        except ValueError:
            logging.getLogger("ingest.somewhere").exception("failed", extra={"item_id": "a-1"})

    monkeypatch.setattr(akin, "app", command)

    akin.main()

    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "akin: failed (item_id: a-1)"
    assert lines[1].startswith("Traceback")
    assert lines[-1].startswith("ValueError: ")


def test_a_program_writes_the_same_fields_as_json() -> None:
    record = logging.makeLogRecord(
        {"name": "ingest", "levelname": "WARNING", "msg": "item set aside", "item_id": "a-1"}
    )

    line = json.loads(JsonFormatter().format(record))

    assert (line["event"], line["level"], line["item_id"]) == ("item set aside", "warning", "a-1")
