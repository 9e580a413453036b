"""Reads request bodies: counted while they stream in, parsed strictly, refused when they nest too deep."""

from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from serving.api.error_responses import BodyError

MAX_DEPTH = 32
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
            self._json = parse_json(body) if len(body) <= _INLINE_BYTES else await run_in_threadpool(parse_json, body)
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


def parse_json(body: bytes) -> Any:
    """Parse UTF-8 JSON without NaN, infinities and lone surrogates. Raises BodyError."""
    if body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_PARTS:
        raise BodyError(413, "body_too_large", f"a request body may have at most {MAX_PARTS} values")
    try:
        value = orjson.loads(body)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise BodyError(400, "invalid_json", "the body is not valid JSON in UTF-8") from error
    _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [child for parent in level for child in _children(parent) if type(child) in (dict, list)]
        if not level:
            return
    raise BodyError(400, "nested_too_deep", f"the body is nested more than {MAX_DEPTH} levels deep")


def _children(value: Any) -> Any:
    if type(value) is dict:
        return value.values()
    return value if type(value) is list else ()


def _is_json(content_type: str) -> bool:
    media_type = content_type.split(";", 1)[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))
