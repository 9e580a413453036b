"""What tells one installation from the others that keep their index on the same server: an id, drawn by chance once."""

import secrets

from sqlalchemy import Connection, select

from ingest.store.database import Database
from ingest.store.tables import meta

INSTALLATION = "installation"  # the row of `meta`; no backup holds it, as what is restored elsewhere is another one


def installation(database: Database, connection: Connection) -> str:
    """Eight hexadecimal digits, the same for every process; they are drawn where there are none yet."""
    if (found := installation_there(connection)) is None:
        # Of several that draw at once one is first, and the others wait for it and read what it drew.
        drawn = database.insert(meta).values(key=INSTALLATION, value=secrets.token_hex(4)).on_conflict_do_nothing()
        connection.execute(drawn)
        found = installation_there(connection)
    assert found is not None
    return found


def installation_there(connection: Connection) -> str | None:
    """The id, where one was drawn."""
    return connection.execute(select(meta.c.value).where(meta.c.key == INSTALLATION)).scalar()
