"""The ledger's schema as Alembic revisions, one file each, for SQLite and PostgreSQL alike.

A change of `ingest/store/tables.py` goes with a new file in `versions/` and the new number in `ingest/store/schema.py`;
a test compares what the revisions make with what the tables say.
"""
