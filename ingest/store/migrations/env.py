"""Alembic's entry: runs the revisions over the connection that `ingest.store.schema` hands it, in its transaction."""

from alembic import context

from ingest.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a table only by copying it
)
context.run_migrations()
