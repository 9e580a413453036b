"""A process that restores a backup and kills itself at a named point."""

import os
from collections.abc import Mapping
from pathlib import Path

from akin import load_settings
from ingest.backup import restore
from ingest.encoder.library import EncoderLibrary
from ingest.index.edge import EdgeIndex
from ingest.store import dump, replacement
from ingest.store.ledger import Ledger
from tests.faults.reindexing import Point, arm

# In the order in which a restore reaches them. Those of SQLite's file are not reached with PostgreSQL.
POINTS = {
    "encoder not yet kept": Point(EncoderLibrary, "install", after=False),
    "encoder kept": Point(EncoderLibrary, "install", after=True),
    "half loaded": Point(dump, "_read", after=True, nth=3),
    "index not yet dropped": Point(EdgeIndex, "drop", after=False),
    "index dropped": Point(EdgeIndex, "drop", after=True),
    "loaded": Point(Ledger, "load", after=True),
    "log emptied": Point(replacement.Replacement, "_empty_log", after=True),
    "old file linked": Point(replacement, "_link", after=True),
    "half flushed": Point(replacement, "flush", after=True),
    "in place": Point(replacement.Replacement, "take_place", after=True),
}
OF_A_FILE = {"log emptied", "old file linked", "half flushed", "in place"}


def run(environment: Mapping[str, str], file: Path, point: str) -> None:
    os.environ.update(environment)
    arm(POINTS[point])
    restore(load_settings(), file, force=True)
