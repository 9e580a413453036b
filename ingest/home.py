"""The data folder of an embedded installation: who holds it, and how to reach whoever does."""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import orjson

from ingest.errors import HomeInUseError, SettingsError
from ingest.settings import Settings

LOOKING_SECONDS = 0.5  # whoever only looks whether the folder is held has it for an instant


@dataclass(frozen=True, kw_only=True)
class RunningServer:
    """An akin that serves this folder right now."""

    url: str
    key: str  # whoever may read this folder may do everything with it anyway
    passing: bool = False  # it serves one command and leaves with it


@contextmanager
def hold_home(home: Path) -> Iterator[None]:
    """Hold the folder for this process, making it the first time. Raises HomeInUseError when another one has it.

    A new one may be read by its owner only: it holds everything that akin knows. The lock goes with the process,
    however that ends.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (home / "lock").open("a")
    except OSError as error:
        raise _unusable(home, error) from error
    with lock:
        if not _locked(lock, fcntl.LOCK_EX, patience=LOOKING_SECONDS):
            raise HomeInUseError(
                f"another akin process has the data folder {home} open; wait for it or stop it, "
                "or set AKIN_HOME to another folder"
            )
        _note(home).unlink(missing_ok=True)  # left by a server that was killed
        yield


def is_held(home: Path) -> bool:
    """Whether some process holds the folder. Raises SettingsError when this user may not look."""
    try:
        lock = (home / "lock").open("a")
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unusable(home, error) from error
    with lock:
        return not _locked(lock, fcntl.LOCK_SH, patience=0)


def _locked(lock: IO[str], kind: int, *, patience: float) -> bool:
    """Take the lock within that many seconds, or say that somebody else has it."""
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.01)
        else:
            return True


@contextmanager
def announce_server(home: Path, url: str, key: str, *, passing: bool = False) -> Iterator[None]:
    """Leave a note in the folder that says where the API is and how to be let in, for commands run beside it."""
    note = _note(home)
    # A name of its own for each process: several may share a folder that only holds their encoders.
    descriptor, unfinished = tempfile.mkstemp(prefix="server-", suffix=".tmp", dir=home)  # readable by its owner only
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps({"url": url, "key": key, "passing": passing}))
    Path(unfinished).replace(note)  # in one step: whoever reads it reads all of it
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def running_server(home: Path) -> RunningServer | None:
    """The akin that serves this folder, if one does. Raises SettingsError when this user may not look."""
    try:
        found = orjson.loads(_note(home).read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(home, error) from error
    return RunningServer(url=found["url"], key=found["key"], passing=found["passing"]) if is_held(home) else None


def is_made(settings: Settings) -> bool:
    """Whether an akin was ever started there. Raises SettingsError when this user may not look, or it is no folder."""
    if settings.database_url is not None:
        return True
    try:
        (settings.home / "ledger.sqlite").lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unusable(settings.home, error) from error
    return True


def check_made(settings: Settings) -> None:
    """Raise SettingsError where no akin was ever started: a mistyped folder must not pass for an empty catalogue."""
    if not is_made(settings):
        raise SettingsError(
            f"there is no akin in {settings.home.absolute()}: set AKIN_HOME to its data folder, "
            "or make one there with `akin ingest items FILE` or `akin up`"
        )


def _unusable(home: Path, error: OSError) -> SettingsError:
    if isinstance(error, FileExistsError | NotADirectoryError):
        return SettingsError(f"the data folder {home} cannot be one: it, or what it is in, is a file; set AKIN_HOME")
    return SettingsError(
        f"the data folder {home} cannot be made, read or written by this user: {error.strerror}; "
        "run akin as the user whose folder it is, or set AKIN_HOME to another folder"
    )


def _note(home: Path) -> Path:
    return home / "server.json"
