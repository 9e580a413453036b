"""What surrounds every request: its id, its path taken apart exactly, security headers, and the last resort for errors.

Plain ASGI on purpose: the framework's own middleware class costs a task and two queues per request.
"""

import logging
import re
import secrets
import time
import traceback

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.error_responses import problem
from serving.api.paths import encoded_path

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_DOCS = ("/docs", "/static-offline-docs", "/openapi.json")
_SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]
_NO_CONTENT_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class Envelope:
    """The outermost layer of the API."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; answer 400 for a path that is not text and 500 for what nobody expected."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope["akin_request_id"] = request_id
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
            _log_unexpected(error, request_id)
            if status:
                raise  # half an answer is out: only closing the connection tells the client
            answer = problem(500, "internal_error", "this is a bug in akin; see its log", request_id=request_id)
            await answer(scope, receive, send_with_headers)
        _log_request(scope, status, time.perf_counter() - started_at, request_id)


def _headers(scope: Scope, request_id: str) -> list[tuple[bytes, bytes]]:
    headers = [*_SECURITY_HEADERS, (b"x-request-id", request_id.encode())]
    return headers if scope["path"].startswith(_DOCS) else [*headers, _NO_CONTENT_POLICY]


def _request_id(scope: Scope) -> str:
    sent = Headers(scope=scope).get("x-request-id", "")
    return sent if _REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)


def _log_unexpected(error: Exception, request_id: str) -> None:
    # Frames only: the message of an unexpected exception may hold somebody's text.
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    extra = {"error": type(error).__name__, "frames": frames, "request_id": request_id}
    logger.error("unexpected error", extra=extra)


def _log_request(scope: Scope, status: int, seconds: float, request_id: str) -> None:
    level = logging.DEBUG if status < 400 else logging.INFO  # noqa: PLR2004 - the first status that says "no"
    if not logger.isEnabledFor(level):
        return
    route = getattr(scope.get("route"), "path", "unknown")  # the template: paths hold user ids
    extra = {
        "method": scope["method"],
        "route": route,
        "status": status,
        "ms": round(seconds * 1000, 2),
        "request_id": request_id,
    }
    logger.log(level, "request", extra=extra)
