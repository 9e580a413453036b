"""Asking a running akin over HTTP, for the command line. Standard library only: a command must start quickly."""

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

import orjson

from ingest.errors import AkinError, UnavailableError

TIMEOUT_SECONDS = 30.0


class RefusedError(AkinError):
    """The server answered with a problem document; the message is its detail."""

    code = "refused"


class Remote:
    """One running akin, by the URL of its API."""

    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, path: str, **query: Any) -> Any:
        """The answer to a GET; parameters that are None are left out."""
        asked = {name: str(value) for name, value in query.items() if value is not None}
        return self._ask("GET", f"{path}?{urllib.parse.urlencode(asked)}" if asked else path, None)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer to a POST."""
        return self._ask("POST", path, orjson.dumps(dict(body or {})))

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        request = urllib.request.Request(f"{self._url}/v1{path}", data=body, headers=headers, method=method)  # noqa: S310 - the URL is our own server's
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                return orjson.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise RefusedError(_detail(error)) from error
        except OSError as error:
            raise UnavailableError(f"akin at {self._url} does not answer: {error}") from error


def segment(text: str) -> str:
    """An id as one segment of a path."""
    return urllib.parse.quote(text, safe="")


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(orjson.loads(error.read())["detail"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"the server answered {error.code}"
