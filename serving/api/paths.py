"""Ids in paths, which may hold anything: `/`, `%`, spaces. Importing this teaches the router the `:id` convertor."""

from typing import Annotated
from urllib.parse import quote, unquote_to_bytes

from fastapi import Path
from starlette.convertors import Convertor, register_url_convertor
from starlette.types import Scope


class IdConvertor(Convertor[str]):
    """Takes an id apart that `encoded_path` left encoded."""

    regex = ".+"

    def convert(self, value: str) -> str:
        """The id itself."""
        return unquote_to_bytes(value).decode()

    def to_string(self, value: str) -> str:
        """The id as it stands in a path."""
        return quote(value, safe="")


register_url_convertor("id", IdConvertor())

ItemId = Annotated[str, Path(description="Any printable characters; encode `/` and `%`.")]
UserId = Annotated[str, Path(description="Any printable characters; encode `/` and `%`.")]


def encoded_path(scope: Scope) -> str | None:
    """The path with `%` and `/` inside its segments still encoded, so that an id may hold both; None: not text.

    Servers hand over the path decoded, in which `/items/a%2Fsimilar` and `/items/a/similar` are the same.
    """
    raw: bytes | None = scope.get("raw_path")
    if raw is None:  # the server does not say; a slash within an id cannot be told apart then
        return str(scope["path"]).replace("%", "%25")
    try:
        segments = [unquote_to_bytes(segment).decode() for segment in raw.split(b"?", 1)[0].split(b"/")]
    except UnicodeDecodeError:
        return None
    return "/".join(segment.replace("%", "%25").replace("/", "%2F") for segment in segments)
