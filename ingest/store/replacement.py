"""A new SQLite file in the place of a ledger's: a crash at any moment leaves the old ledger or the new one, whole."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import make_url

from ingest.durable import flush
from ingest.errors import HomeInUseError, UnavailableError
from ingest.store.database import Database, sqlite_file

_LOGS = ("-wal", "-shm")  # what SQLite keeps beside a file


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """A ledger that is filled beside the one that it will replace."""

    url: str  # the new one's
    file: Path
    replaced_url: str
    replaced: Path

    def take_place(self) -> Path | None:
        """Put the new file, which nobody may have open, in the old one's place; returns where the old one is kept.

        None: there was none. Raises HomeInUseError, and changes nothing, while another process reads the old one.
        """
        kept = self.replaced.with_name(f"{self.replaced.name}.before-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}")
        there = self.replaced.exists()
        if there:
            self._empty_log()
            _link(self.replaced, kept)
        # What is left of a log belongs to a file that SQLite cannot read: it would be taken for the new one's.
        for suffix in _LOGS:
            with suppress(FileNotFoundError):
                _with(self.replaced, suffix).rename(_with(kept, suffix))
        flush(self.replaced.parent)
        self.file.replace(self.replaced)
        flush(self.replaced.parent)
        return kept if there else None

    def _empty_log(self) -> None:
        """Bring what SQLite has only in its log into the old file, so that it is whole by itself."""
        database = Database(self.replaced_url)
        try:
            emptied = database.empty_log()
        except UnavailableError:  # it is damaged, and kept as it is
            return
        finally:
            database.close()
        if not emptied:
            raise HomeInUseError(f"another process reads the ledger {self.replaced}; wait for it or stop it")


@contextmanager
def replacement(url: str) -> Iterator[Replacement]:
    """Room for a new ledger beside the SQLite file that a URL names; empty again when the block ends."""
    replaced = sqlite_file(url)
    assert replaced is not None
    file = _with(replaced, ".restored")
    _remove(file)  # left by a process that was killed
    try:
        new = make_url(url).set(database=str(file)).render_as_string(hide_password=False)
        yield Replacement(url=new, file=file, replaced_url=url, replaced=replaced)
    finally:
        _remove(file)


def _with(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)


def _remove(file: Path) -> None:
    for suffix in ("", *_LOGS):
        _with(file, suffix).unlink(missing_ok=True)


def _link(file: Path, name: Path) -> None:
    """Give a file a second name; where the file system knows none, copy it."""
    try:
        os.link(file, name)
    except OSError:
        shutil.copyfile(file, name)
        flush(name)
