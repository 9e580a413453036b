"""Asking a running akin, for the command line: answers as plain values, whichever route they come from."""

from collections.abc import Mapping
from typing import Any, Self

import orjson

from serving.client import Akin
from serving.client.calls import Asked, segment

__all__ = ["Remote", "segment"]

_SAFE = frozenset({"GET", "DELETE"})


class Remote:
    """One running akin, by the URL of its API and, where it asks for one, a key. A context manager."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self._akin = Akin(url, key=key)

    def get(self, path: str, **query: Any) -> Any:
        """The answer to a GET; parameters that are None are left out."""
        asked = {name: str(value) for name, value in query.items() if value is not None}
        return self._ask("GET", path, query=asked or None)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer to a POST."""
        return self._ask("POST", path, body=dict(body or {}))

    def delete(self, path: str) -> Any:
        """The answer to a DELETE."""
        return self._ask("DELETE", path)

    def _ask(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: dict[str, Any] | None = None
    ) -> Any:
        repeatable = method in _SAFE
        asked = Asked(method=method, path=path, query=query, body=body, repeatable=repeatable)
        return orjson.loads(self._akin.ask(asked))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._akin.close()
