"""What is sent, so written that it arrives as it was meant; what cannot be is refused before it leaves."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

import orjson

from ingest.errors import InvalidInputError

_NULL = b"null"  # which numbers that are not finite would become


def written(body: Mapping[str, Any] | None) -> bytes | None:
    """A body as JSON. Raises InvalidInputError naming the member that JSON has no form for."""
    if body is None:
        return None
    try:
        content = orjson.dumps(body)
    except TypeError as error:  # sets, other objects, lone surrogates, too deep
        name = next((name for name, value in body.items() if not _is_json(value)), None)
        raise InvalidInputError(
            "not_json", f"{name or 'the body'} is no JSON: send text, lists, objects and numbers", _text(name)
        ) from error
    if _NULL in content:
        for name, value in body.items():
            _check_finite(name, value)
    return content


def asked_by(query: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """A query string's parameters. Raises InvalidInputError naming the one that is not text."""
    for name, value in (query or {}).items():
        if not _is_json(value):
            raise InvalidInputError("not_text", f"{name} holds half of a character", name)
    return query


def _is_json(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def _check_finite(name: str, value: Any) -> None:
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, float) and not isfinite(one):
            raise InvalidInputError("not_finite", f"{name} holds a number that is not finite", name)
        if isinstance(one, Mapping):
            left.extend(one.values())
        elif isinstance(one, list | tuple):
            left.extend(one)


def _text(name: object) -> str | None:
    return name if isinstance(name, str) else None
