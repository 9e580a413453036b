"""What a next page is made from, written down with the answer, so that any process can give it.

A history that was sent along is never written: its pages are known to the process that answered alone.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from ingest.store.ledger import Ledger
from serving.request import RecommendRequest

PAGES_KEPT = timedelta(minutes=30)
_LARGEST = 1_000_000  # bytes; what excludes more than that is kept in the process only
_WAITS = (0.0, 0.15, 0.35)  # seconds: the process that answered writes its log four times a second
_ID = re.compile(r"[0-9a-f]{32}")


class Page(msgspec.Struct, frozen=True):
    """A request, and every item id that its pages have given so far."""

    request: RecommendRequest
    given: tuple[str, ...]


def encoded(request: RecommendRequest, given: tuple[str, ...]) -> bytes:
    """What a next page is made from, as JSON: a fraction of what the same takes as objects."""
    return msgspec.json.encode({"request": _said(request), "given": given})


def decoded(body: bytes) -> Page | None:
    """What was encoded; None for what another version of akin wrote."""
    try:
        return msgspec.json.decode(body, type=Page)
    except msgspec.MsgspecError:
        return None


def is_written(request: RecommendRequest, body: bytes) -> bool:
    """Whether it is written down."""
    return request.history is None and len(body) <= _LARGEST


def read(
    ledger: Ledger, recommendation_id: str, *, elsewhere: bool, sleep: Callable[[float], None] = time.sleep
) -> Page | None:
    """What was written under that id; `elsewhere`: another process may be about to write it, so look again."""
    if not _ID.fullmatch(recommendation_id):
        return None
    for seconds in _WAITS if elsewhere else _WAITS[:1]:
        if seconds:
            sleep(seconds)
        body = ledger.recommendations.page(recommendation_id, datetime.now(UTC) - PAGES_KEPT)
        if body is not None:
            return decoded(body)
    return None


def _said(request: RecommendRequest) -> Mapping[str, Any]:
    """What differs from the defaults: most requests say little."""
    usual = RecommendRequest()
    return {
        one.name: value for one in fields(request) if (value := getattr(request, one.name)) != getattr(usual, one.name)
    }
