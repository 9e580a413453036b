"""The ledger's tables: made by migrations alone, moved on from what an earlier akin left, refused when unknown."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import text

from ingest.errors import SettingsError
from ingest.items import Item
from ingest.store.database import Database
from ingest.store.ledger import open_ledger
from ingest.store.migrations.versions import r0001_first_tables
from ingest.store.schema import KNOWN, REVISION, migrate
from ingest.store.tables import metadata
from tests.services import empty


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.sqlite'}"
        return
    postgres = request.getfixturevalue("postgres_url")
    yield postgres
    empty(postgres)


def tell(url: str, *statements: str) -> None:
    database = Database(url)
    with database.write() as connection:
        for statement in statements:
            connection.execute(text(statement))
    database.close()


def leave_as_the_first_release_did(url: str) -> None:
    database = Database(url)
    with database.write() as connection:
        with Operations.context(MigrationContext.configure(connection)):  # its tables, and no note of a revision
            r0001_first_tables.upgrade()
        connection.execute(text("INSERT INTO meta VALUES ('schema_version', '1'), ('tombstone_salt', 'aa')"))
    database.close()


def test_the_revisions_make_what_the_tables_say(url: str) -> None:
    assert migrate(url) == (None, REVISION)

    database = Database(url)
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


def test_this_akin_knows_every_revision_and_their_order() -> None:
    files = (Path(__file__).parents[2] / "ingest/store/migrations/versions").glob("r*.py")

    assert sorted(file.name[1:5] for file in files) == list(KNOWN)


def test_migrating_twice_changes_nothing(url: str) -> None:
    migrate(url)

    assert migrate(url) == (REVISION, REVISION)


def test_what_the_first_release_wrote_is_moved_on_with_its_rows(url: str) -> None:
    leave_as_the_first_release_did(url)
    tell(url, "INSERT INTO items (item_id, version, body_hash, updated_at) VALUES ('kept', 3, '', 1)")

    assert migrate(url) == ("0001", REVISION)

    with open_ledger(url) as ledger:
        kept = ledger.items.get("kept")
        assert kept is not None
        assert kept.version == 3
        assert ledger.leases.acquire("x", holder="me", seconds=1) is not None
        ledger.users.delete("Ann")
        assert ledger.users.deleted(["Ann"])


@pytest.mark.parametrize("statement", ["UPDATE alembic_version SET version_num = '9999'"])
def test_a_ledger_of_a_newer_akin_is_refused(url: str, statement: str) -> None:
    migrate(url)
    tell(url, statement)

    with pytest.raises(SettingsError, match="9999"):
        open_ledger(url)
    with pytest.raises(SettingsError, match="9999"):
        migrate(url)


def test_tables_that_no_akin_made_are_refused(url: str) -> None:
    leave_as_the_first_release_did(url)
    tell(url, "UPDATE meta SET value = '7' WHERE key = 'schema_version'")

    with pytest.raises(SettingsError, match="7"):
        open_ledger(url)


def test_an_empty_postgresql_waits_for_akin_migrate(postgres_url: str) -> None:
    with pytest.raises(SettingsError, match="akin migrate"):
        open_ledger(postgres_url)


def test_an_older_postgresql_waits_for_akin_migrate(postgres_url: str) -> None:
    leave_as_the_first_release_did(postgres_url)

    with pytest.raises(SettingsError, match="akin migrate"):
        open_ledger(postgres_url)
    empty(postgres_url)


def test_an_sqlite_ledger_moves_on_when_it_is_opened(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    leave_as_the_first_release_did(url)

    with open_ledger(url) as ledger:
        ledger.items.write([Item(item_id="a")], job_id="j", revive=False, due_in=0)
        assert ledger.items.count() == 1
