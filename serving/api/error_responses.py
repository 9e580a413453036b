"""Every error as an RFC 9457 problem document with a stable `code`. What came in is never repeated."""

import logging
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Mount

from ingest.errors import (
    AkinError,
    ArtifactError,
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    StorageFullError,
    UnavailableError,
)

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
_MOST_ERRORS = 100
_METHODS = ("GET", "PUT", "POST", "PATCH", "DELETE")
_DESCRIBED = "/docs describes every call"
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
# Where the validator's own words say little to whoever sent the request.
_OURS = {
    "extra_forbidden": "there is no such field",
    "missing": "is missing",
    "dict_type": "must be a JSON object",
    "list_type": "must be a JSON array",
}
# The first class that fits decides, so the narrower stands before the wider.
_STATUSES: tuple[tuple[type[AkinError], int], ...] = (
    (InvalidInputError, 422),
    (NotFoundError, 404),
    (ForbiddenError, 403),
    (ConflictError, 409),
    (StorageFullError, 507),
    (UnavailableError, 503),
    (ArtifactError, 503),
)


class BodyError(HTTPException):
    """The request's body cannot be read; an HTTPException, as the framework turns any other into a plain 400."""

    def __init__(self, status: int, code: str, detail: str, field: str | None = None) -> None:
        super().__init__(status_code=status, detail=detail)
        self.code = code
        self.field = field


class NothingAcceptedError(InvalidInputError):
    """Every part of a batch was refused; `errors` says why for each."""

    def __init__(self, detail: str, errors: Sequence[dict[str, Any]]) -> None:
        super().__init__("nothing_accepted", detail)
        self.errors = tuple(errors)


def problem(
    status: int, code: str, detail: str, *, request_id: str, headers: dict[str, str] | None = None, **more: Any
) -> Response:
    """A problem document; members that are None are left out."""
    members = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
        **{name: value for name, value in more.items() if value is not None},
    }
    return Response(orjson.dumps(members), status, media_type=MEDIA_TYPE, headers=headers)


def install(app: FastAPI) -> None:
    """Make the app answer every error with a problem document."""
    app.add_exception_handler(AkinError, _akin_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)


def request_id_of(request: Request) -> str:
    """The id that the envelope gave this request."""
    return str(request.scope.get("akin_request_id", ""))


async def _akin_error(request: Request, error: Exception) -> Response:
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    code = getattr(error, "code", "error")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        # The cause may name folders or hosts; it belongs into the log, not into the answer.
        logger.warning("request failed", extra={"code": code, "request_id": request_id_of(request)})
    return problem(
        status,
        code,
        _public_detail(error, status),
        request_id=request_id_of(request),
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)} if status == HTTPStatus.SERVICE_UNAVAILABLE else None,
        field=_plain(getattr(error, "field", None)),
        scope=_plain(getattr(error, "scope", None)),
        errors=list(error.errors) if isinstance(error, NothingAcceptedError) else None,
    )


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [
        {"field": _path(part["loc"]), "detail": _OURS.get(part["type"], str(part["msg"]))}
        for part in error.errors()[:_MOST_ERRORS]
    ]
    return problem(
        422,
        "invalid_request",
        f"{found[0]['field']}: {found[0]['detail']}",
        request_id=request_id_of(request),
        field=found[0]["field"],
        errors=found if len(found) > 1 else None,
    )


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, BodyError):
        field = _plain(error.field)
        return problem(error.status_code, error.code, error.detail, request_id=request_id_of(request), field=field)
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "_")
    headers, detail = dict(error.headers or {}), f"{phrase}."
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"there is nothing at this path; {_DESCRIBED}"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = headers["Allow"] = ", ".join(_methods(request)) or headers.get("Allow", "GET")
        detail = f"this path takes {allowed}; {_DESCRIBED}"
    return problem(error.status_code, code, detail, request_id=request_id_of(request), headers=headers or None)


def _methods(request: Request) -> list[str]:
    """What the path takes: each method has a route of its own, and only the first that fits the path was asked."""
    routes = [route for route in request.app.routes if not isinstance(route, Mount)]  # those take files, any method
    return [method for method in _METHODS if any(_takes(route, request, method) for route in routes)]


def _takes(route: BaseRoute, request: Request, method: str) -> bool:
    return route.matches({**request.scope, "method": method})[0] is Match.FULL


def _public_detail(error: Exception, status: int) -> str:
    if isinstance(error, InvalidInputError):
        return error.detail
    if isinstance(error, ArtifactError):
        return "the encoder of the live generation cannot be loaded; `akin doctor` says why"
    if isinstance(error, StorageFullError):
        return "the disk is nearly full and writes are refused; make room, or lower AKIN_MIN_FREE_BYTES"
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return "the server's own settings or files are not in order; `akin doctor` says more"
    return str(error)


def _path(location: Sequence[Any]) -> str:
    parts = [str(part) for part in location]
    if len(parts) > 1 and parts[0] in {"body", "query", "path", "header"}:
        del parts[0]
    return _plain(".".join(parts)) or ("query" if location and location[0] == "query" else "body")


def _plain(name: str | None) -> str | None:
    # A path may end in a key that the sender made up: only what is short and harmless is repeated.
    return name if name is not None and _NAME.fullmatch(name) else None
