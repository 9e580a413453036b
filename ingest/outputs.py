"""The files that a command writes when its work is done: looked at before it begins, as the work may take an hour."""

import os
from pathlib import Path

from ingest.errors import SettingsError


def check_output(path: Path | None, option: str, *, parents: bool = False) -> None:
    """Raise SettingsError that names the option unless this file can be written; None is no file.

    Makes the last folder of the path where it is missing, with `parents` those above it too. The file is left alone.
    """
    if path is None:
        return
    if path.is_dir():
        raise SettingsError(f"{option}: {path} is a folder; name a file")
    folder = path.parent
    try:
        folder.mkdir(exist_ok=True, parents=parents)
    except FileNotFoundError as error:
        raise SettingsError(f"{option}: there is no folder {folder.parent}; make it, or name another file") from error
    except OSError as error:
        raise SettingsError(f"{option}: {folder} is no folder and cannot be made one: {error.strerror}") from error
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise SettingsError(f"{option}: {path} cannot be written by this user; name another file")
