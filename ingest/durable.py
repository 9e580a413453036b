"""Writing files so that a crash, or a loss of power, leaves the old or the new one, whole."""

import os
from pathlib import Path


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file's content."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    flush(path.parent)


def flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to disk: a rename is not durable before its folder is flushed."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
