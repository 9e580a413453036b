"""Whether a disk has room for a write: asked before it, as nothing can be done about it in the middle."""

import shutil
from pathlib import Path

from ingest.errors import StorageFullError


def check_free_space(folder: Path, watermark: int) -> None:
    """Raise StorageFullError when the disk that holds `folder`, made or not, has fewer free bytes than the watermark.

    Edge maps its files: a write that finds the disk full ends the process (SIGBUS) instead of raising.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < watermark:
        raise StorageFullError(
            f"{free:,} bytes are free on the disk of {folder}, less than the {watermark:,} that are kept free; "
            "make room, or lower AKIN_MIN_FREE_BYTES"
        )
