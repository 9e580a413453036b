"""What the keys of every ledger must do, run over SQLite and PostgreSQL."""

import pytest

from ingest.errors import InvalidInputError, NotFoundError
from ingest.keys import Scope
from ingest.store.ledger import Ledger


def test_a_key_is_known_by_its_hash_only(ledger: Ledger) -> None:
    made, secret = ledger.keys.create("the shop", [Scope.QUERY, Scope.INGEST])

    (listed,) = ledger.keys.list()

    assert listed == made
    assert listed.opens_with(secret)
    assert not listed.opens_with(secret + "x")
    assert listed.scopes == {Scope.QUERY, Scope.INGEST}
    assert secret not in repr(listed)


@pytest.mark.parametrize("name", ["", "n" * 129, "two\nlines"])
def test_a_name_that_the_ledger_cannot_hold_or_show_is_refused(ledger: Ledger, name: str) -> None:
    with pytest.raises(InvalidInputError, match="128"):
        ledger.keys.create(name, [Scope.QUERY])

    assert ledger.keys.list() == []


def test_no_two_keys_are_alike(ledger: Ledger) -> None:
    made = [ledger.keys.create("same name", [Scope.QUERY]) for _ in range(20)]

    assert len({key.key_id for key, _ in made}) == len({secret for _, secret in made}) == 20


def test_a_revoked_key_stays_listed_and_opens_nothing(ledger: Ledger) -> None:
    made, secret = ledger.keys.create("lost", [Scope.ADMIN])

    revoked = ledger.keys.revoke(made.key_id)
    again = ledger.keys.revoke(made.key_id)

    assert revoked.revoked_at is not None
    assert again.revoked_at == revoked.revoked_at
    assert not ledger.keys.list()[0].opens_with(secret)


def test_a_key_that_is_not_there_cannot_be_revoked(ledger: Ledger) -> None:
    with pytest.raises(NotFoundError):
        ledger.keys.revoke("nobody")
