"""One file with everything that cannot be made again: the ledger's rows and the encoders that its vectors came from.

The index is left out: it is built again from the ledger, and embeds nothing that the ledger remembers.
"""

import hashlib
import io
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Self

import orjson

from ingest.durable import flush
from ingest.encoder.library import EncoderLibrary
from ingest.errors import (
    AkinError,
    ArtifactError,
    ConflictError,
    DamagedLedgerError,
    InvalidInputError,
    NotFoundError,
    SettingsError,
)
from ingest.home import hold_home
from ingest.index.engines import open_index
from ingest.own_collections import own_collections
from ingest.settings import Settings
from ingest.store.database import sqlite_file
from ingest.store.ledger import Ledger, open_ledger
from ingest.store.replacement import replacement
from ingest.store.schema import KNOWN, REVISION, migrate

FORMAT = 1
_MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class BackupReport:
    """What a backup file holds."""

    file: Path
    bytes: int
    made_at: datetime
    rows: dict[str, int]
    encoders: tuple[str, ...]
    kept: Path | None = None  # the ledger that a restore put aside

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "file": str(self.file),
            "bytes": self.bytes,
            "made_at": self.made_at.isoformat(),
            "rows": self.rows,
            "encoders": list(self.encoders),
            **({"kept": str(self.kept)} if self.kept else {}),
        }


def back_up(settings: Settings, file: Path, *, force: bool = False) -> BackupReport:
    """Write a backup, as of one moment, beside whatever runs. Raises ConflictError when the file is there already.

    The file appears whole or not at all, and only its owner may read it: it holds everything that akin knows.
    """
    if file.exists() and not force:
        raise ConflictError(f"{file} is there already; name another file, or say --force")
    with _replaced(file) as target, open_ledger(settings.ledger_url) as ledger, _Writer(target) as archive:
        rows = ledger.dump(archive.table)
        fingerprints = [folder.name for folder in _encoders(settings.home)]
        for folder in _encoders(settings.home):
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                archive.copy(path, f"encoders/{folder.name}/{path.relative_to(folder)}")
        made_at = datetime.now(UTC)
        archive.finish({"made_at": made_at.isoformat(), "rows": rows, "encoders": fingerprints})
    return BackupReport(file=file, bytes=file.stat().st_size, made_at=made_at, rows=rows, encoders=tuple(fingerprints))


def restore(settings: Settings, file: Path, *, force: bool = False) -> BackupReport:
    """Put a backup in the place of what is there; the index is built anew when akin starts. Nothing may run meanwhile.

    The file is read and checked whole before anything is changed, and a crash at any moment leaves the old ledger or
    the new one, either of which fills its index at the next start. What an older akin backed up is taken as well.
    Raises InvalidInputError when the file is damaged or of an akin that this one does not know, ArtifactError when an
    encoder in it is damaged, ConflictError when there is a ledger with items or events and `force` is not given,
    UnavailableError when the index does not answer, HomeInUseError when an akin runs.
    """
    with _opened(file) as archive:
        manifest = _checked(archive)
        with hold_home(settings.home):
            _check_room(settings, force=force)
            _restore_encoders(archive, settings.home)
            rows, kept = _restore_ledger(settings, archive)
    return BackupReport(
        file=file,
        bytes=file.stat().st_size,
        made_at=datetime.fromisoformat(manifest["made_at"]),
        rows=rows,
        encoders=tuple(manifest["encoders"]),
        kept=kept,
    )


class _Writer:
    """A zip archive that remembers the hash of what it is given."""

    def __init__(self, target: IO[bytes]) -> None:
        self._archive = zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=3)
        self._hashes: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    @contextmanager
    def entry(self, name: str) -> Iterator[IO[bytes]]:
        with self._archive.open(name, "w", force_zip64=True) as file:
            hashing = _Hashing(file)
            yield hashing  # type: ignore[misc] # written to only
        self._hashes[name] = hashing.hash.hexdigest()

    @contextmanager
    def table(self, name: str) -> Iterator[IO[bytes]]:
        with self.entry(f"tables/{name}.jsonl") as file:
            yield file

    def copy(self, path: Path, name: str) -> None:
        with path.open("rb") as source, self.entry(name) as file:
            shutil.copyfileobj(source, file)

    def finish(self, about: dict[str, Any]) -> None:
        manifest = {"format": FORMAT, "revision": REVISION, **about, "files": self._hashes}
        self._archive.writestr(_MANIFEST, orjson.dumps(manifest, option=orjson.OPT_INDENT_2))


class _Hashing:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.hash = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.hash.update(content)
        return self._file.write(content)


@contextmanager
def _opened(file: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(file)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {file}") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise InvalidInputError("backup_damaged", f"{file} is no backup, or a damaged one") from error
    with archive:
        yield archive


def _checked(archive: zipfile.ZipFile) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = orjson.loads(archive.read(_MANIFEST))
        if manifest["format"] != FORMAT or manifest["revision"] not in KNOWN:
            raise InvalidInputError(
                "backup_version",
                f"the backup was made with ledger revision {manifest['revision']}, this akin has {REVISION}: "
                "restore it with the akin that made it, or a newer one",
            )
        damaged = [name for name, known in manifest["files"].items() if _hash(archive, name) != known]
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile, OSError, EOFError) as error:
        raise InvalidInputError("backup_damaged", "the backup is damaged: a part cannot be read") from error
    if damaged or manifest["files"].keys() | {_MANIFEST} != set(archive.namelist()):
        raise InvalidInputError("backup_damaged", "the backup is damaged: its parts are not what its manifest says")
    return manifest


def _hash(archive: zipfile.ZipFile, name: str) -> str:
    with archive.open(name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type] # it has readinto


def _check_room(settings: Settings, *, force: bool) -> None:
    """Refuse what would overwrite. SQLite's file may be damaged, so it is not even opened."""
    file = sqlite_file(settings.ledger_url)
    if file is not None:
        if file.exists() and not force:
            raise ConflictError(f"there is a ledger in {file.parent}; --force puts it aside and restores the backup")
        return
    migrate(settings.ledger_url)
    with open_ledger(settings.ledger_url) as there:
        if not force and (there.items.count() or there.events.count()):
            raise ConflictError("the database has items or events; --force replaces them by the backup")


@contextmanager
def _replaced(file: Path) -> Iterator[IO[bytes]]:
    """Yield a file beside it that takes its place when the block succeeds and vanishes when it fails."""
    unfinished = file.with_name(f"{file.name}.unfinished")
    with _made(unfinished) as target:
        try:
            yield target
            target.flush()
            os.fsync(target.fileno())
            unfinished.replace(file)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
    flush(file.parent)


def _made(unfinished: Path) -> IO[bytes]:
    try:
        unfinished.unlink(missing_ok=True)
        return os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except OSError as error:
        raise SettingsError(f"a backup cannot be written into {unfinished.parent}: {error.strerror}") from error


def _encoders(home: Path) -> list[Path]:
    folders = (home / "encoders").glob("*")
    # Any other name is what a copy left that was killed.
    return sorted(path for path in folders if path.name.isalnum() and (path / "manifest.json").is_file())


def _restore_encoders(archive: zipfile.ZipFile, home: Path) -> None:
    """Keep those of the archive that are not here; each is checked against its manifest before it takes its place."""
    with _empty_folder(home / "encoders" / ".restoring") as folder, EncoderLibrary(home) as encoders:
        for name in archive.namelist():
            parts = name.split("/")
            if parts[0] != "encoders":
                continue
            if any(part in {"", ".", ".."} or "\\" in part for part in parts):
                raise InvalidInputError("backup_damaged", "the backup names a file outside its place")
            target = folder.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(name) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
        for artifact in _encoders(folder):
            try:
                encoders.install(artifact)
            except ArtifactError as error:
                raise ArtifactError(
                    f"the backup holds the encoder {artifact.name[:12]} damaged; restore another backup"
                ) from error


@contextmanager
def _empty_folder(folder: Path) -> Iterator[Path]:
    """A folder that is there for the block; what a killed process left in it is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _restore_ledger(settings: Settings, archive: zipfile.ZipFile) -> tuple[dict[str, int], Path | None]:
    """Load the rows; returns how many, and where SQLite's old file is kept.

    The index goes first: a ledger without its index fills it, while an index beside another ledger would be believed.
    """

    def table(name: str) -> IO[bytes]:
        entry = f"tables/{name}.jsonl"
        # A table that came with a later revision than the backup's is empty, as after that revision.
        return archive.open(entry) if entry in archive.namelist() else io.BytesIO(b"[]\n")

    file = sqlite_file(settings.ledger_url)
    if file is None:
        # What runs would go on with the tombstones' old salt, and fill the index with what is replaced.
        with open_ledger(settings.ledger_url) as ledger, ledger.hold(alone=True, restoring=True):
            _drop_index(settings, ledger)
            return ledger.load(table), None
    with replacement(settings.ledger_url) as new:
        with open_ledger(new.url) as ledger:
            rows = ledger.load(table)
            if settings.embedded or not file.exists():
                _drop_index(settings, ledger)
            else:
                _drop_index_of_old(settings)
        return rows, new.take_place()


def _drop_index_of_old(settings: Settings) -> None:
    """On a server only the ledger knows which collections are its own. Those of one that cannot be read stay there."""
    try:
        old = open_ledger(settings.ledger_url)
    except AkinError:  # damaged, or a newer akin's
        return
    with old, suppress(DamagedLedgerError):
        _drop_index(settings, old)


def _drop_index(settings: Settings, ledger: Ledger) -> None:
    index = open_index(settings)
    try:
        for name in own_collections(settings, ledger, index):
            index.drop(name)
    finally:
        index.shut()
