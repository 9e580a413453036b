"""A program that waits for something says so once, and once more when it goes on."""

import logging
import threading

import pytest

from ingest.errors import UnavailableError
from ingest.logs import errors_only
from ingest.waiting import wait_until_ready


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "ingest.waiting"]


def test_waiting_is_said_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    outcomes = iter([UnavailableError("the index does not answer"), UnavailableError("still not"), None])

    def look() -> None:
        if error := next(outcomes):
            raise error

    with caplog.at_level(logging.INFO):
        wait_until_ready(look, threading.Event(), every_seconds=0)

    assert said(caplog) == [("WARNING", "not ready; waiting"), ("INFO", "ready")]
    assert vars(caplog.records[0])["reason"] == "the index does not answer"
    assert vars(caplog.records[0])["see"] == "akin doctor"


def test_what_need_not_wait_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        wait_until_ready(lambda: None, threading.Event())

    assert said(caplog) == []


def test_waiting_ends_when_it_is_told_to(caplog: pytest.LogCaptureFixture) -> None:
    stop = threading.Event()

    def look() -> None:
        stop.set()
        raise UnavailableError("away")

    with caplog.at_level(logging.INFO):
        wait_until_ready(look, stop, every_seconds=3_600)

    assert said(caplog) == [("WARNING", "not ready; waiting")]


def test_a_command_that_says_itself_what_went_wrong_keeps_its_loggers_quiet(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("ingest.waiting")
    with errors_only("ingest.waiting"):
        logger.warning("hidden")
        logger.error("shown")
    logger.warning("shown again")

    assert said(caplog) == [("ERROR", "shown"), ("WARNING", "shown again")]
