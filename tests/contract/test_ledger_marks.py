"""What tells that a user's events are others than they were, over SQLite and PostgreSQL."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from ledger_fixtures import NOON, event
from sqlalchemy import insert

from ingest.store.events import _row
from ingest.store.ledger import Ledger, open_ledger
from ingest.store.schema import migrate
from ingest.store.tables import events
from tests.services import empty


def test_a_mark_changes_with_every_event_and_with_the_erasure(ledger: Ledger) -> None:
    ledger.events.add([event("1", "Ann"), event("2", "Bob")])
    marks = [ledger.events.mark("Ann")]
    assert ledger.events.mark("Ann") == marks[0]

    for number in range(3, 6):
        ledger.events.add([event(str(number), "Ann", timestamp=NOON - timedelta(days=number))])
        marks.append(ledger.events.mark("Ann"))
    ledger.events.add([event("6", "Bob")])
    assert ledger.events.mark("Ann") == marks[-1]
    ledger.users.delete("Ann")
    marks.append(ledger.events.mark("Ann"))

    assert len(set(marks)) == len(marks)
    assert ledger.events.mark("nobody") == marks[-1]


def test_an_event_that_is_committed_after_a_newer_one_changes_the_mark(postgres_url: str) -> None:
    migrate(postgres_url)
    with open_ledger(postgres_url) as ledger:
        with ledger._database.write() as connection:
            connection.execute(insert(events), [_row(event("older", "Ann"))])
            ledger.events.add([event("newer", "Ann")])
            before = ledger.events.mark("Ann")

        assert ledger.events.mark("Ann") != before
    empty(postgres_url)


def test_the_mark_of_thousands_of_events_takes_one_look(tmp_path: Path) -> None:
    with open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
        ledger.events.add([event(str(n), "Ann") for n in range(5_000)])
        ledger.events.add([event("one", "Bob")])
        with ledger._database.read() as connection:  # the one that this thread reads with
            driver: Any = connection.connection.dbapi_connection
            hundreds: list[None] = []
            driver.set_progress_handler(lambda: hundreds.append(None), 100)  # steps of SQLite's machine
            ledger.events.mark("Ann")
            driver.set_progress_handler(None, 0)

    assert not hundreds
