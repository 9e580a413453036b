"""Who is recognised, and when keys are looked at again."""

import pytest

from ingest.errors import UnavailableError
from ingest.keys import Scope
from serving.keyring import ANYBODY, REFRESH_SECONDS, Caller, Keyring
from tests.fakes import FakeClock


def caller(*scopes):
    return Caller(key_id="k", scopes=frozenset(scopes))


def test_admin_includes_the_other_scopes_and_nothing_else_does():
    assert all(caller(Scope.ADMIN).may(scope) for scope in Scope)
    assert [scope for scope in Scope if caller(Scope.QUERY).may(scope)] == [Scope.QUERY]
    assert [scope for scope in Scope if caller(Scope.INGEST).may(scope)] == [Scope.INGEST]
    assert not any(caller().may(scope) for scope in Scope)


@pytest.fixture
def clock():
    return FakeClock()


def ring(ledger, clock, **options):
    made = Keyring(ledger, clock=clock, **{"public": False, **options})
    made.refresh()
    return made


def test_without_keys_anybody_may_do_everything_on_a_loopback_address(sqlite_ledger, clock):
    assert ring(sqlite_ledger, clock).recognise(None) is ANYBODY
    assert ring(sqlite_ledger, clock).recognise("an old key") is ANYBODY


def test_without_keys_nobody_may_do_anything_on_a_public_address(sqlite_ledger, clock):
    assert ring(sqlite_ledger, clock, public=True).recognise(None) is None
    assert ring(sqlite_ledger, clock, public=True).recognise("an old key") is None


def test_from_the_first_key_on_a_key_is_needed(sqlite_ledger, clock):
    keys = ring(sqlite_ledger, clock)
    made, secret = sqlite_ledger.keys.create("shop", [Scope.QUERY])
    assert not keys.stale
    clock.advance(REFRESH_SECONDS)
    assert keys.stale
    keys.refresh()

    assert keys.recognise(None) is None
    assert keys.recognise(f"akin_{made.key_id}_guessed") is None
    assert keys.recognise(secret[:-1]) is None
    caller = keys.recognise(secret)
    assert (caller.key_id, caller.may(Scope.QUERY), caller.may(Scope.INGEST)) == (made.key_id, True, False)


def test_a_revoked_key_is_nobodys_and_revoking_the_last_opens_nothing(sqlite_ledger, clock):
    made, secret = sqlite_ledger.keys.create("lost", [Scope.ADMIN])
    sqlite_ledger.keys.revoke(made.key_id)
    keys = ring(sqlite_ledger, clock)

    assert keys.recognise(secret) is None
    assert keys.recognise(None) is None


def test_this_machines_own_commands_are_let_in(sqlite_ledger, clock):
    sqlite_ledger.keys.create("shop", [Scope.QUERY])
    keys = ring(sqlite_ledger, clock, local_key="of this process")

    assert keys.recognise("of this process") is ANYBODY
    assert keys.recognise("of this procesS") is None


def test_a_key_that_is_not_ascii_is_no_error(sqlite_ledger, clock):
    sqlite_ledger.keys.create("shop", [Scope.QUERY])

    assert ring(sqlite_ledger, clock, local_key="key").recognise("akin_k_é") is None


class Away:
    """A ledger that answers until it is told to go away."""

    def __init__(self, ledger):
        self._ledger = ledger
        self.gone = False

    @property
    def keys(self):
        if self.gone:
            raise UnavailableError("away")
        return self._ledger.keys


def test_a_ledger_that_went_away_leaves_the_keys_known_before(sqlite_ledger, clock):
    _, secret = sqlite_ledger.keys.create("shop", [Scope.QUERY])
    ledger = Away(sqlite_ledger)
    keys = ring(ledger, clock)
    ledger.gone = True
    clock.advance(REFRESH_SECONDS)
    keys.refresh()

    assert not keys.stale
    assert keys.recognise(secret) is not None
    with pytest.raises(UnavailableError):
        ring(ledger, clock)
