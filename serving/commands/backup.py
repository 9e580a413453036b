"""`akin backup`; `akin restore` stands in akin.py, as it also builds the index."""

from pathlib import Path
from typing import Annotated

import typer

from ingest.settings import load_settings

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]


def backup(
    file: Annotated[Path, typer.Argument(help="The file to write, such as akin.backup.zip.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file when it is there already.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write everything that cannot be made again into one file, beside whatever runs: the ledger, and the encoders.

    The file is the same from SQLite and PostgreSQL and goes back into either. Keep it as you keep the data itself.
    """
    from ingest.backup import back_up
    from serving.terminal import show

    show(back_up(load_settings(), file, force=force).as_json(), as_json=as_json)
