"""Options of commands that ask a running akin, and how they reach it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.commands.wiring import Wiring
from ingest.settings import Settings, load_settings

if TYPE_CHECKING:
    from serving.remote import Remote

    OpenRemote = Callable[[Settings], AbstractContextManager[Remote]]

LimitOption = Annotated[int | None, typer.Option("--limit", "-n", min=1, help="How many items, else 10.")]
FilterOption = Annotated[str | None, typer.Option("--filter", help='JSON, e.g. {"gte": {"year": 1990}}.')]


@dataclass(frozen=True, kw_only=True)
class AskingWiring(Wiring):
    """The same, and the way to the akin that is asked."""

    remote: "OpenRemote"


def open_akin(context: typer.Context) -> AbstractContextManager["Remote"]:
    """The akin to ask."""
    wiring: AskingWiring = context.find_root().obj
    return wiring.remote(load_settings())
