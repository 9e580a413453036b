"""Answers that say no, as the errors akin itself raises."""

from collections.abc import Mapping
from typing import Any

import httpx

from ingest.errors import (
    AkinError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    StorageFullError,
    UnavailableError,
)

_ERRORS: dict[int, type[AkinError]] = {
    404: NotFoundError,
    409: ConflictError,
    429: UnavailableError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
    507: StorageFullError,
}


class NotAllowedError(AkinError):
    """The key is missing, unknown, or not for this; make one with `akin keys create`."""

    code = "not_allowed"


class NoNextPageError(NotFoundError):
    """No page follows this answer: it is the last one, or of a kind that has one page only."""

    code = "no_next_page"


class RefusedError(InvalidInputError):
    """What was sent does not fit; `errors` says why for each part (index, item_id, code, detail) it had."""

    def __init__(self, code: str, detail: str, field: str | None, errors: tuple[Mapping[str, Any], ...]) -> None:
        super().__init__(code, detail, field)
        self.errors = errors


def refusal(answer: httpx.Response) -> AkinError:
    """The error that a problem document describes; `code` is the document's."""
    problem = _problem(answer)
    detail = str(problem.get("detail") or f"the server answered {answer.status_code}")
    code = str(problem.get("code") or "refused")
    if answer.status_code in (400, 413, 415, 422):
        field = problem.get("field")
        errors = tuple(one for one in problem.get("errors") or () if isinstance(one, dict))
        return RefusedError(code, detail, str(field) if field is not None else None, errors)
    kind = NotAllowedError if answer.status_code in (401, 403) else _ERRORS.get(answer.status_code, AkinError)
    error = kind(detail)
    error.code = code
    return error


def _problem(answer: httpx.Response) -> dict[str, Any]:
    try:
        content = answer.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
