"""Which programs may run on one ledger in PostgreSQL, and what becomes of one that lost its connection to it."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from ingest.errors import HomeInUseError, UnavailableError
from ingest.store import hold
from ingest.store.ledger import Ledger, open_ledger
from ingest.store.schema import migrate
from tests.services import empty, end_sessions

Open = Callable[[], Ledger]


@pytest.fixture
def url(postgres_url: str) -> Iterator[str]:
    migrate(postgres_url)
    yield postgres_url
    empty(postgres_url)


@pytest.fixture
def opened(url: str) -> Iterator[Open]:
    """Opens the ledger for one more program."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(open_ledger(url))


def test_one_that_must_be_alone_is_told_of_another_and_what_to_do(opened: Open) -> None:
    first, second = opened(), opened()

    with first.hold(alone=True):
        with pytest.raises(HomeInUseError, match="AKIN_QDRANT_URL"), second.hold(alone=True):
            pass
        with pytest.raises(UnavailableError, match="to itself"), second.hold(alone=False):
            pass
    with second.hold(alone=True):
        pass


def test_those_that_share_run_side_by_side_and_keep_out_one_that_must_be_alone(opened: Open) -> None:
    first, second, third = opened(), opened(), opened()

    with first.hold(alone=False), second.hold(alone=False):
        with pytest.raises(HomeInUseError, match="stop them first"), third.hold(alone=True):
            pass
        assert second.items.count() == 0


def test_whoever_is_refused_is_told_how_many_run_and_what_to_do_in_its_case(opened: Open) -> None:
    first, second, third = opened(), opened(), opened()
    me = f"process {os.getpid()} on {socket.gethostname()}"

    with first.hold(alone=False):
        with pytest.raises(HomeInUseError, match="another akin runs") as one, third.hold(alone=True, restoring=True):
            pass
        with second.hold(alone=False):
            with pytest.raises(HomeInUseError, match="2 other akin") as restore, third.hold(alone=True, restoring=True):
                pass
            with pytest.raises(HomeInUseError, match="2 other akin") as embedded, third.hold(alone=True):
                pass
    with first.hold(alone=True), pytest.raises(UnavailableError, match="to itself") as shared, second.hold(alone=False):
        pass

    assert f"({me})" in str(one.value)
    assert "stop it first" in str(one.value)
    assert "stop them first" in str(restore.value)
    assert str(restore.value).count(me) == 2
    assert "AKIN_" not in str(restore.value)
    assert "AKIN_QDRANT_URL" in str(embedded.value)
    assert me in str(shared.value)


def test_in_sqlite_the_folder_is_what_is_held(sqlite_ledger: Ledger) -> None:
    with sqlite_ledger.hold(alone=True), sqlite_ledger.hold(alone=True):
        assert sqlite_ledger.items.count() == 0


@pytest.mark.parametrize("alone", [True, False])
def test_a_lost_connection_is_made_anew_and_keeps_others_out_again(url: str, opened: Open, alone: bool) -> None:
    first, second = opened(), opened()

    with first.hold(alone=alone):
        end_sessions(url)
        time.sleep(hold.LOOK_SECONDS)

        assert first.items.count() == 0
        with pytest.raises(HomeInUseError), second.hold(alone=True):
            pass


@pytest.mark.parametrize("alone", [True, False])
def test_whoever_lost_it_to_another_stands_back_while_the_other_has_it_and_for_good(
    url: str,
    opened: Open,
    alone: bool,
) -> None:
    first, second = opened(), opened()

    with first.hold(alone=alone):
        end_sessions(url)
        with second.hold(alone=True):
            time.sleep(hold.LOOK_SECONDS)
            with pytest.raises(UnavailableError, match="stop one"):
                first.ping()
            with pytest.raises(UnavailableError, match="stop one"):
                first.keys.create("a key", [])
            assert second.keys.list() == []
        time.sleep(hold.LOOK_SECONDS)
        for _ in range(2):
            with pytest.raises(UnavailableError, match="start this one again"):
                first.items.count()

    with first.hold(alone=alone):  # as a new start does
        assert first.items.count() == 0
