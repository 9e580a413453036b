"""Which revision of the tables a ledger has, and how it gets the one that this akin knows."""

import secrets
from pathlib import Path

from sqlalchemy import Connection, insert, inspect, select, text

from ingest.errors import SettingsError
from ingest.store.database import Database
from ingest.store.tables import meta

KNOWN = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0006",
    "0007",
    "0008",
)  # files in migrations/versions, oldest first
REVISION = KNOWN[-1]
_BEFORE_MIGRATIONS = "0001"  # what an akin made that had no migrations yet


def migrate(url: str) -> tuple[str | None, str]:
    """Bring the ledger at a SQLAlchemy URL to this akin's revision; returns the one before (None: empty) and after.

    Any number of processes may try at once. Raises SettingsError for a ledger of a newer akin.
    """
    database = Database(url)
    try:
        with database.write() as connection:
            database.lock(connection, "schema")
            return _upgrade(connection)
    finally:
        database.close()


def ensure_current(database: Database) -> None:
    """Raise SettingsError unless the ledger has this akin's revision; a ledger in SQLite is brought to it."""
    with database.read() as connection:
        before = revision(connection)
    if before == REVISION:
        return
    if database.is_sqlite:
        with database.write() as connection:
            _upgrade(connection)
        return
    if before is None:
        raise SettingsError("the ledger has no tables yet; run `akin migrate` once, then start akin")
    _check_known(before)
    raise SettingsError(
        f"the ledger has schema revision {before} and this akin needs {REVISION}; stop every akin, run `akin migrate`"
    )


def revision(connection: Connection) -> str | None:
    """The revision of the tables that are there; None for an empty database."""
    there = set(inspect(connection).get_table_names())
    if "alembic_version" in there:
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if "meta" not in there:
        return None
    version = connection.execute(select(meta.c.value).where(meta.c.key == "schema_version")).scalar()
    return _BEFORE_MIGRATIONS if version == "1" else f"{version}, which no akin wrote"


def _upgrade(connection: Connection) -> tuple[str | None, str]:
    from alembic import command  # noqa: PLC0415 - loading it takes longer than opening a ledger that is in order
    from alembic.config import Config  # noqa: PLC0415

    before = revision(connection)
    if before == REVISION:
        return before, REVISION
    if before is not None:
        _check_known(before)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    if before == _BEFORE_MIGRATIONS and "alembic_version" not in inspect(connection).get_table_names():
        command.stamp(config, _BEFORE_MIGRATIONS)
    command.upgrade(config, REVISION)
    if before is None:
        connection.execute(insert(meta), [{"key": "tombstone_salt", "value": secrets.token_hex(32)}])
    return before, REVISION


def _check_known(found: str) -> None:
    if found not in KNOWN:
        raise SettingsError(
            f"the ledger has schema revision {found} and this akin knows {', '.join(KNOWN)}; "
            "install the akin that wrote it, or restore a backup"
        )
