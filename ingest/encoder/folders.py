"""Folders that appear whole or not at all: filled beside their place, flushed to disk, then renamed."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingest.durable import flush
from ingest.encoder.artifact import MANIFEST
from ingest.errors import ArtifactError


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty sibling that takes the place of `folder` when the block succeeds and vanishes when it fails.

    Raises ArtifactError rather than replace a folder that holds something else than an artifact.
    """
    check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial-", dir=folder.parent))
    try:
        partial.chmod(0o755)  # mkdtemp makes it private; workers under another user read it too
        yield partial
        flush_files(partial)
        _swap(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_replaceable(folder: Path) -> None:
    """Raise ArtifactError unless `folder` is absent, empty, or an artifact."""
    if folder.is_dir() and not (folder / MANIFEST).exists() and any(folder.iterdir()):
        raise ArtifactError(f"{folder} holds something else than an encoder artifact; name another folder")
    if folder.exists() and not folder.is_dir():
        raise ArtifactError(f"{folder} is a file; name a folder")


def flush_files(folder: Path) -> None:
    """Bring a folder's files and names to disk, so that the rename never outlives its content."""
    for path in [*folder.iterdir(), folder]:
        flush(path)


def _swap(partial: Path, folder: Path) -> None:
    # A folder cannot be renamed onto a full one; a reader who comes between the two renames sees no folder, which is
    # an error that says so, and never half of one.
    old = partial.with_name(partial.name.replace(".partial-", ".old-"))
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
