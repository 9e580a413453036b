"""What surrounds every request: its id, its path taken apart exactly, security headers, and the last resort for errors.

Plain ASGI on purpose: the framework's own middleware class costs a task and two queues per request.
"""

import logging
import re
import secrets
import time
import traceback
from collections.abc import Iterator, Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest import logs
from ingest.metrics import HTTP_SECONDS
from ingest.traces import Span, span
from serving.api.error_responses import problem
from serving.api.paths import encoded_path
from serving.api.templates import Templates

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_DOCS = ("/docs", "/static-offline-docs", "/openapi.json")
_SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]
_NO_CONTENT_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_CONSOLE_POLICY = (
    b"content-security-policy",
    (
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
)


class Envelope:
    """The outermost layer of the API."""

    def __init__(self, app: ASGIApp, templates: Templates) -> None:
        self._app = app
        self._templates = templates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; answer 400 for a path that is not text and 500 for what nobody expected."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope["akin_request_id"] = request_id
        asked = logs.request_id.set(request_id)
        try:
            with span("request", _Carrier(scope)) as traced:
                await self._answer(scope, receive, send, request_id, traced)
        finally:
            logs.request_id.reset(asked)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str, traced: Span | None) -> None:
        headers = _headers(scope, request_id)
        started_at = time.perf_counter()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        path = encoded_path(scope)
        if path is None:
            answer = problem(400, "invalid_path", "the path is not UTF-8 text", request_id=request_id)
            await answer(scope, receive, send_with_headers)
            return
        scope["path"] = path
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            _log_unexpected(error)
            if status:
                raise  # half an answer is out: only closing the connection tells the client
            answer = problem(500, "internal_error", "this is a bug in akin; see its log", request_id=request_id)
            await answer(scope, receive, send_with_headers)
        _note_request(scope, self._templates.of(scope), status, time.perf_counter() - started_at, traced)


def _headers(scope: Scope, request_id: str) -> list[tuple[bytes, bytes]]:
    headers = [*_SECURITY_HEADERS, (b"x-request-id", request_id.encode())]
    path = scope["path"]
    if path.startswith(_DOCS):
        return headers
    return [*headers, _CONSOLE_POLICY if path == "/" or path.startswith("/console/") else _NO_CONTENT_POLICY]


def _request_id(scope: Scope) -> str:
    sent = Headers(scope=scope).get("x-request-id", "")
    return sent if _REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)


def _log_unexpected(error: Exception) -> None:
    # Frames only: the message of an unexpected exception may hold somebody's text.
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    extra = {"error": type(error).__name__, "frames": frames}
    logger.error("unexpected error", extra=extra)


def _note_request(scope: Scope, route: str, status: int, seconds: float, traced: Span | None) -> None:
    """Count the request by the template of its route, name its span, and log it where the level wants it."""
    method = _method(scope)
    HTTP_SECONDS.labels(method, route, status).observe(seconds)
    if traced is not None:
        traced.update_name(f"{method} {route}")
        traced.set_attribute("http.request.method", method)
        traced.set_attribute("http.route", route)
        traced.set_attribute("http.response.status_code", status)
        traced.set_attribute("akin.request_id", scope["akin_request_id"])
    level = logging.DEBUG if status < 400 else logging.INFO  # noqa: PLR2004 - the first status that says "no"
    if logger.isEnabledFor(level):
        extra = {"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 2)}
        logger.log(level, "request", extra=extra)


def _method(scope: Scope) -> str:
    """The method, or OTHER: what a client makes up must not become a new series."""
    return scope["method"] if scope["method"] in _METHODS else "OTHER"


class _Carrier(Mapping[str, str]):
    """The headers that may name the span that asked; read only where traces are on."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __getitem__(self, name: str) -> str:
        return Headers(scope=self._scope)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(Headers(scope=self._scope))

    def __len__(self) -> int:
        return len(Headers(scope=self._scope))
