"""Reads request bodies: counted while they stream in, parsed strictly, refused when they nest too deep."""

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from serving.api.error_responses import BodyError

MAX_PARTS = 2_000_000  # values and keys of one body: each costs far more memory than its bytes
_INLINE_BYTES = 64 * 1024  # parsing more than this would hold up every other request


class JsonRequest(Request):
    """A request whose body is JSON of bounded size, or refused with a BodyError."""

    async def body(self) -> bytes:
        """The raw body. Raises BodyError: 413 when it is too large, 415 when it is not plain JSON."""
        if not hasattr(self, "_body"):
            self._body = await self._read()
        return self._body

    async def json(self) -> Any:
        """The parsed body; of a key that stands twice, the last one counts. Raises BodyError 400 or 413."""
        if not hasattr(self, "_json"):
            body = await self.body()
            deepest = self.app.state.services.settings.max_json_depth
            inline = len(body) <= _INLINE_BYTES
            self._json = parse_json(body, deepest) if inline else await run_in_threadpool(parse_json, body, deepest)
        return self._json

    async def _read(self) -> bytes:
        limit = self.app.state.services.settings.max_body_bytes
        too_large = BodyError(
            413, "body_too_large", f"a request body may have at most {limit} bytes; send less at once"
        )
        declared = self.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared[:20]) > limit:
            raise too_large
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise BodyError(415, "encoding_not_supported", "send the body without a content-encoding")
        chunks: list[bytes] = []
        size = 0
        async for chunk in self.stream():  # a length may be missing or a lie, so the bytes themselves are counted
            size += len(chunk)
            if size > limit:
                raise too_large
            chunks.append(chunk)
        if size and not _is_json(self.headers.get("content-type", "")):
            raise BodyError(415, "not_json", "send the body as JSON with content-type: application/json")
        return b"".join(chunks)


class JsonRoute(APIRoute):
    """A route whose requests are read as above."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler, given a stricter request."""
        handler = super().get_route_handler()

        async def handle_json(request: Request) -> Response:
            return await handler(JsonRequest(request.scope, request.receive))

        return handle_json


def parse_json(body: bytes, deepest: int) -> Any:
    """Parse UTF-8 JSON without NaN, infinities and lone surrogates, at most `deepest` levels. Raises BodyError."""
    if body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_PARTS:
        raise BodyError(413, "body_too_large", f"a request body may have at most {MAX_PARTS} values")
    try:
        value = orjson.loads(body)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise _refusal(body, deepest) from error
    _check_depth(value, deepest)
    return value


def _refusal(body: bytes, deepest: int) -> BodyError:
    """Why a body cannot be parsed; where that is only a number beyond JSON's, the field that holds it."""
    try:
        value = json.loads(body)  # takes NaN, Infinity and 1e400, which JSON does not have
        _check_depth(value, deepest)
    except (ValueError, RecursionError, BodyError):
        return BodyError(400, "invalid_json", "the body is not valid JSON in UTF-8")
    path = _not_finite(value)
    if path is None:
        return BodyError(400, "invalid_json", "the body is not valid JSON in UTF-8")
    return BodyError(422, "not_finite", "a number must be finite; NaN and infinity are no JSON", ".".join(path))


def _not_finite(value: Any) -> list[str] | None:
    """The path of the first number that is not finite, in a value of bounded depth."""
    if isinstance(value, float):
        return None if math.isfinite(value) else []
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in pairs:
        path = _not_finite(part)
        if path is not None:
            return [str(name), *path]
    return None


def _check_depth(value: Any, deepest: int) -> None:
    level = [value]
    for _ in range(deepest + 1):
        level = [child for parent in level for child in _children(parent) if type(child) in (dict, list)]
        if not level:
            return
    raise BodyError(400, "nested_too_deep", f"the body is nested more than {deepest} levels deep")


def _children(value: Any) -> Any:
    if type(value) is dict:
        return value.values()
    return value if type(value) is list else ()


def _is_json(content_type: str) -> bool:
    media_type = content_type.split(";", 1)[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))
