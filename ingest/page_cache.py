"""Having files in memory before somebody needs them who cannot wait for a disk."""

import os
from contextlib import suppress
from pathlib import Path

from ingest.durable import flush

_AT_ONCE = 1 << 20  # bytes


def read_into_page_cache(folder: Path) -> None:
    """Read every file below `folder` once, so that the kernel has it, and write out what it has not written yet.

    Other threads run meanwhile, which they cannot while a binding that holds the interpreter waits for the same pages,
    or, by a flush of its own, for those that another process left to be written. What cannot be read is left to who
    needs it.
    """
    buffer = memoryview(bytearray(_AT_ONCE))
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where, name)
            with suppress(OSError):
                with path.open("rb", buffering=0) as file:
                    while file.readinto(buffer):
                        pass
                flush(path)
