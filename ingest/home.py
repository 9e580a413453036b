"""The data folder of an embedded installation: who holds it, and how to reach whoever does."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from ingest.errors import HomeInUseError, SettingsError


@dataclass(frozen=True, kw_only=True)
class RunningServer:
    """An akin that serves this folder right now."""

    url: str
    process_id: int


@contextmanager
def hold_home(home: Path) -> Iterator[None]:
    """Hold the folder for this process, making it the first time. Raises HomeInUseError when another one has it.

    The lock goes with the process, however it ends.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / "lock").open("a")
    except OSError as error:
        raise SettingsError(f"the data folder {home} cannot be made or written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HomeInUseError(
                f"another akin process has the data folder {home} open; stop it, or set AKIN_HOME to another folder"
            ) from error
        yield


def is_held(home: Path) -> bool:
    """Whether some process holds the folder."""
    if not (home / "lock").exists():
        return False
    try:
        with hold_home(home):
            return False
    except HomeInUseError:
        return True


@contextmanager
def announce_server(home: Path, url: str) -> Iterator[None]:
    """Leave a note in the folder that says where the API is, for commands run beside it."""
    note = home / "server.json"
    note.write_bytes(orjson.dumps({"url": url, "process_id": os.getpid()}))
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def running_server(home: Path) -> RunningServer | None:
    """The akin that serves this folder, if one does."""
    note = home / "server.json"
    if not note.exists() or not is_held(home):
        return None
    found = orjson.loads(note.read_bytes())
    return RunningServer(url=found["url"], process_id=found["process_id"])
