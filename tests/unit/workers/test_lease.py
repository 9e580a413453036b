"""Of several that could do the upkeep one does, for as long as its step takes, unless another has taken over."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.errors import UnavailableError
from ingest.reindex import Reindexer
from ingest.store.leases import Fence, LeaseStore
from ingest.store.ledger import Ledger
from ingest.trainer import Trainer
from tests.fakes import Installation, installation
from workers.app import CeleryQueue, make_app
from workers.resources import Resources
from workers.upkeep import Leased, Upkeep

SECONDS = 1.0  # of a lease


def leased(ledger: Ledger) -> Leased:
    return Leased(ledger.leases, seconds=SECONDS)


def test_a_lease_is_kept_for_as_long_as_the_work_takes(sqlite_ledger: Ledger) -> None:
    # given one that works and one that stands by
    one, other = leased(sqlite_ledger), leased(sqlite_ledger)
    assert one.holds()
    before = one.fence

    # when the work takes several times as long as the lease
    with one.renewing():
        until = time.monotonic() + 4 * SECONDS
        while time.monotonic() < until:
            assert not sqlite_ledger.leases.acquire("upkeep", holder="another", seconds=SECONDS)
            time.sleep(0.05)

    # then it is still the one, with what its writes are fenced with
    assert one.holds()
    assert one.fence == before
    assert not other.holds()


def test_nothing_renews_a_lease_once_the_work_is_done(sqlite_ledger: Ledger) -> None:
    one, other = leased(sqlite_ledger), leased(sqlite_ledger)
    assert one.holds()
    with one.renewing():
        pass

    time.sleep(1.5 * SECONDS)

    assert other.holds()
    assert [thread.name for thread in threading.enumerate() if thread.name == "lease"] == []


def test_a_lease_that_was_lost_is_not_taken_back_behind_the_work_s_back(sqlite_ledger: Ledger) -> None:
    # given one that was stopped for longer than its lease, and another that took over and is done
    one, other = leased(sqlite_ledger), leased(sqlite_ledger)
    assert one.holds()
    before = one.fence
    time.sleep(1.5 * SECONDS)
    assert other.holds()
    other.end()

    # when the first goes on with its work
    with one.renewing():
        time.sleep(SECONDS)
        assert one.fence == before  # which what it writes is refused by

    # then it asks again before the next
    assert one.holds()
    assert one.fence != before


class Unsteady(LeaseStore):
    """Does not answer the second time it is asked."""

    def __init__(self, leases: LeaseStore) -> None:
        self._leases = leases
        self.asked = 0

    def acquire(self, name: str, *, holder: str, seconds: float) -> Fence | None:
        self.asked += 1
        if self.asked == 2:
            raise UnavailableError("away")
        return self._leases.acquire(name, holder=holder, seconds=seconds)


def test_a_ledger_that_does_not_answer_once_is_asked_again(sqlite_ledger: Ledger) -> None:
    unsteady = Unsteady(sqlite_ledger.leases)
    one = Leased(unsteady, seconds=SECONDS)
    assert one.holds()

    with one.renewing():
        time.sleep(1.5 * SECONDS)

    assert unsteady.asked >= 3
    assert one.holds()


@pytest.fixture
def akin(tmp_path: Path) -> Iterator[Installation]:
    with installation(tmp_path) as made:
        yield made


def test_a_step_that_takes_longer_than_the_lease_is_not_begun_by_another_too(akin: Installation) -> None:
    # given two clocks, and a step that takes several times as long as a lease
    began: list[str] = []

    def clock(name: str) -> Upkeep:
        def put_in_order() -> None:
            began.append(name)
            time.sleep(4 * SECONDS)

        reindexer = Reindexer(akin.settings, akin.ledger, akin.index, akin.encoders, lambda _: pytest.fail("not asked"))
        resources = Resources(
            settings=akin.settings,
            ledger=akin.ledger,
            reconciler=akin.reconciler,
            reindexer=reindexer,
            trainer=Trainer(akin.settings, akin.ledger, akin.index),
        )
        return Upkeep(resources, CeleryQueue(make_app(akin.settings)), leased(akin.ledger), put_in_order)

    one, other = clock("one"), clock("other")

    # when both run
    working = threading.Thread(target=one.step)
    working.start()
    while not began:
        time.sleep(0.01)
    while working.is_alive():
        other.step()
        time.sleep(0.05)
    working.join()

    # then one alone has begun it
    assert began == ["one"]
