"""Leases: one holder at a time by the database's clock, and a token that unmasks whoever comes too late."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.errors import SupersededError
from ingest.store.leases import check_fence
from ingest.store.ledger import Ledger, open_ledger
from ingest.store.schema import migrate
from tests.services import empty


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    if request.param == "sqlite":
        with open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as ledger:
            yield ledger
        return
    url = request.getfixturevalue("postgres_url")
    migrate(url)
    with open_ledger(url) as ledger:
        yield ledger
    empty(url)


def test_one_holds_it_and_keeps_it_with_the_same_token(ledger: Ledger) -> None:
    first = ledger.leases.acquire("upkeep", holder="a", seconds=60)

    assert first is not None
    assert ledger.leases.acquire("upkeep", holder="b", seconds=60) is None
    assert ledger.leases.acquire("upkeep", holder="a", seconds=60) == first
    assert ledger.leases.acquire("something else", holder="b", seconds=60) is not None


def test_one_that_is_given_back_or_run_out_changes_hands_with_a_higher_token(ledger: Ledger) -> None:
    first = ledger.leases.acquire("upkeep", holder="a", seconds=60)
    ledger.leases.release("upkeep", holder="b")  # not b's to give
    assert ledger.leases.acquire("upkeep", holder="b", seconds=60) is None

    ledger.leases.release("upkeep", holder="a")
    second = ledger.leases.acquire("upkeep", holder="b", seconds=0.2)
    time.sleep(0.3)
    third = ledger.leases.acquire("upkeep", holder="a", seconds=60)

    assert first is not None
    assert second is not None
    assert third is not None
    assert first.token < second.token < third.token


def test_of_many_at_once_one_gets_it(ledger: Ledger) -> None:
    got = []
    together = threading.Barrier(8)

    def ask(holder: str) -> None:
        together.wait()
        if ledger.leases.acquire("upkeep", holder=holder, seconds=60):
            got.append(holder)

    threads = [threading.Thread(target=ask, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(got) == 1


def test_who_lost_the_lease_is_stopped_in_his_transaction(ledger: Ledger) -> None:
    late = ledger.leases.acquire("upkeep", holder="a", seconds=0)
    time.sleep(0.01)
    now = ledger.leases.acquire("upkeep", holder="b", seconds=60)

    with ledger._database.write() as connection:
        check_fence(connection, now)
        check_fence(connection, None)
        with pytest.raises(SupersededError, match="taken over"):
            check_fence(connection, late)
