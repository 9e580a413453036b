"""The two clients: the same calls, made now or awaited."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel

from ingest.errors import SettingsError, UnavailableError
from serving.api.schemas import (
    AcceptedEvents,
    AcceptedItems,
    ExportAnswer,
    GenerationAnswer,
    GenerationList,
    HistoryAnswer,
    InterestsAnswer,
    ItemAnswer,
    JobAnswer,
    ReceiptAnswer,
    RecommendationsAnswer,
    SearchAnswer,
)
from serving.client import calls
from serving.client.calls import Asked, Call
from serving.client.refusals import refusal
from serving.client.retries import RETRIED, Retries, after
from serving.client.sending import asked_by, written

A = TypeVar("A", bound=BaseModel)
_DONE = frozenset({"done", "done_with_errors"})


class Akin:
    """A running akin at `url`, asked synchronously. A context manager: closing it closes its connections."""

    def __init__(
        self, url: str, *, key: str | None = None, timeout_seconds: float = 30.0, retries: Retries | None = None
    ) -> None:
        self._http = httpx.Client(base_url=_base(url), headers=_headers(key), timeout=timeout_seconds)
        self._retries = retries or Retries()

    def send(self, call: Call[A]) -> A:
        """Make a call; `serving.client.calls` has every one. Raises AkinError."""
        return call.answer.model_validate_json(self.ask(call))

    def ask(self, asked: Asked) -> bytes:
        """The body of an answer. What is repeatable is asked again when the server is busy or away."""
        query, body = asked_by(asked.query), written(asked.body)
        waits = self._retries.waits() if asked.repeatable else iter(())
        while True:
            wait = next(waits, None)
            try:
                answer = self._http.request(asked.method, asked.path, params=query, content=body)
            except httpx.TransportError as error:
                if wait is None:
                    raise _away(self._http.base_url) from error
                time.sleep(wait)
                continue
            if wait is None or answer.status_code not in RETRIED:
                return _body(answer)
            time.sleep(after(answer.headers.get("retry-after"), wait))

    def put_item(self, item_id: str, **item: Any) -> AcceptedItems:
        """Add an item or replace all of it: `title`, `text`, `categories`, `attributes`."""
        return self.send(calls.put_item(item_id, item))

    def put_items(self, items: Sequence[Mapping[str, Any]]) -> AcceptedItems:
        """Add or replace many items; `errors` of the answer lists those that were refused."""
        return self.send(calls.put_items(items))

    def patch_item(self, item_id: str, **changes: Any) -> AcceptedItems:
        """Change some fields of an item."""
        return self.send(calls.patch_item(item_id, changes))

    def delete_item(self, item_id: str) -> AcceptedItems:
        """Delete an item."""
        return self.send(calls.delete_item(item_id))

    def item(self, item_id: str) -> ItemAnswer:
        """The item as the ledger holds it; raises NotFoundError."""
        return self.send(calls.item(item_id))

    def add_events(self, events: Sequence[Mapping[str, Any]]) -> AcceptedEvents:
        """Add events; give each an `event_id`, and a failure is repeated without counting twice."""
        return self.send(calls.add_events(events))

    def recommend(self, user_id: str, **options: Any) -> RecommendationsAnswer:
        """The best items for a user: `limit`, `strategy`, `filter`, `explain`, `fields` and more."""
        return self.send(calls.recommend(user_id, options))

    def recommend_for(self, history: Sequence[Mapping[str, Any]], **options: Any) -> RecommendationsAnswer:
        """The best items for a history that is not stored."""
        return self.send(calls.recommend_for(history, options))

    def next_page(self, answer: RecommendationsAnswer) -> RecommendationsAnswer:
        """The page after this one; raises NoNextPageError where `next` is null, as of similar items and searches."""
        return self.send(calls.next_page(answer))

    def similar(self, item_id: str, **options: Any) -> RecommendationsAnswer:
        """The items nearest to an item."""
        return self.send(calls.similar(item_id, options))

    def search(self, query: str, **options: Any) -> SearchAnswer:
        """The items that answer a text: `mode`, `filter`, `user_id`, `personalization` and more."""
        return self.send(calls.search(query, options))

    def history(self, user_id: str) -> HistoryAnswer:
        """The user's events that count, newest first."""
        return self.send(calls.history(user_id))

    def interests(self, user_id: str) -> InterestsAnswer:
        """The user's interests, named by categories."""
        return self.send(calls.interests(user_id))

    def export(self, user_id: str) -> ExportAnswer:
        """Everything that is known of a user."""
        return self.send(calls.export(user_id))

    def erase(self, user_id: str) -> ReceiptAnswer:
        """Remove all that is known of a user."""
        return self.send(calls.erase(user_id))

    def job(self, job_id: str) -> JobAnswer:
        """How far a submission has come."""
        return self.send(calls.job(job_id))

    def wait(self, job_id: str, *, seconds: float = 60.0, every_seconds: float = 0.1) -> JobAnswer:
        """Ask until the job is done; raises UnavailableError after `seconds`."""
        until = time.monotonic() + seconds
        while (found := self.job(job_id)).state not in _DONE:
            if time.monotonic() > until:
                raise _unfinished(seconds)
            time.sleep(every_seconds)
        return found

    def generations(self) -> GenerationList:
        """All generations, newest first."""
        return self.send(calls.generations())

    def reindex(self) -> GenerationAnswer:
        """Begin a reindex."""
        return self.send(calls.reindex())

    def activate(self, name: str) -> GenerationAnswer:
        """Make a complete generation live."""
        return self.send(calls.activate(name))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncAkin:
    """The same, awaited. An async context manager."""

    def __init__(
        self, url: str, *, key: str | None = None, timeout_seconds: float = 30.0, retries: Retries | None = None
    ) -> None:
        self._http = httpx.AsyncClient(base_url=_base(url), headers=_headers(key), timeout=timeout_seconds)
        self._retries = retries or Retries()

    async def send(self, call: Call[A]) -> A:
        """Make a call, as `Akin.send` does."""
        return call.answer.model_validate_json(await self.ask(call))

    async def ask(self, asked: Asked) -> bytes:
        """The body of an answer, as `Akin.ask` gives it."""
        query, body = asked_by(asked.query), written(asked.body)
        waits = self._retries.waits() if asked.repeatable else iter(())
        while True:
            wait = next(waits, None)
            try:
                answer = await self._http.request(asked.method, asked.path, params=query, content=body)
            except httpx.TransportError as error:
                if wait is None:
                    raise _away(self._http.base_url) from error
                await asyncio.sleep(wait)
                continue
            if wait is None or answer.status_code not in RETRIED:
                return _body(answer)
            await asyncio.sleep(after(answer.headers.get("retry-after"), wait))

    async def put_item(self, item_id: str, **item: Any) -> AcceptedItems:
        """Add an item or replace all of it."""
        return await self.send(calls.put_item(item_id, item))

    async def put_items(self, items: Sequence[Mapping[str, Any]]) -> AcceptedItems:
        """Add or replace many items."""
        return await self.send(calls.put_items(items))

    async def patch_item(self, item_id: str, **changes: Any) -> AcceptedItems:
        """Change some fields of an item."""
        return await self.send(calls.patch_item(item_id, changes))

    async def delete_item(self, item_id: str) -> AcceptedItems:
        """Delete an item."""
        return await self.send(calls.delete_item(item_id))

    async def item(self, item_id: str) -> ItemAnswer:
        """The item as the ledger holds it; raises NotFoundError."""
        return await self.send(calls.item(item_id))

    async def add_events(self, events: Sequence[Mapping[str, Any]]) -> AcceptedEvents:
        """Add events."""
        return await self.send(calls.add_events(events))

    async def recommend(self, user_id: str, **options: Any) -> RecommendationsAnswer:
        """The best items for a user."""
        return await self.send(calls.recommend(user_id, options))

    async def recommend_for(self, history: Sequence[Mapping[str, Any]], **options: Any) -> RecommendationsAnswer:
        """The best items for a history that is not stored."""
        return await self.send(calls.recommend_for(history, options))

    async def next_page(self, answer: RecommendationsAnswer) -> RecommendationsAnswer:
        """The page after this one; raises NoNextPageError where `next` is null, as of similar items and searches."""
        return await self.send(calls.next_page(answer))

    async def similar(self, item_id: str, **options: Any) -> RecommendationsAnswer:
        """The items nearest to an item."""
        return await self.send(calls.similar(item_id, options))

    async def search(self, query: str, **options: Any) -> SearchAnswer:
        """The items that answer a text."""
        return await self.send(calls.search(query, options))

    async def history(self, user_id: str) -> HistoryAnswer:
        """The user's events that count, newest first."""
        return await self.send(calls.history(user_id))

    async def interests(self, user_id: str) -> InterestsAnswer:
        """The user's interests, named by categories."""
        return await self.send(calls.interests(user_id))

    async def export(self, user_id: str) -> ExportAnswer:
        """Everything that is known of a user."""
        return await self.send(calls.export(user_id))

    async def erase(self, user_id: str) -> ReceiptAnswer:
        """Remove all that is known of a user."""
        return await self.send(calls.erase(user_id))

    async def job(self, job_id: str) -> JobAnswer:
        """How far a submission has come."""
        return await self.send(calls.job(job_id))

    async def wait(self, job_id: str, *, seconds: float = 60.0, every_seconds: float = 0.1) -> JobAnswer:
        """Ask until the job is done; raises UnavailableError after `seconds`."""
        until = time.monotonic() + seconds
        while (found := await self.job(job_id)).state not in _DONE:
            if time.monotonic() > until:
                raise _unfinished(seconds)
            await asyncio.sleep(every_seconds)
        return found

    async def generations(self) -> GenerationList:
        """All generations, newest first."""
        return await self.send(calls.generations())

    async def reindex(self) -> GenerationAnswer:
        """Begin a reindex."""
        return await self.send(calls.reindex())

    async def activate(self, name: str) -> GenerationAnswer:
        """Make a complete generation live."""
        return await self.send(calls.activate(name))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _headers(key: str | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if key is None:
        return headers
    if not key:
        raise SettingsError("the API key is empty: give one that `akin keys create` printed, or none")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SettingsError(
            "the API key holds a space, a line end or a letter outside ASCII, which no key does: copy it alone"
        )
    return {**headers, "Authorization": f"Bearer {key}"}


def _body(answer: httpx.Response) -> bytes:
    if not answer.is_success:
        raise refusal(answer)
    return answer.content


def _base(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise SettingsError("the address of an akin begins with http:// or https://")
    return f"{url.rstrip('/').removesuffix('/v1')}/v1"  # which a URL copied from a request ends with


def _away(url: httpx.URL) -> UnavailableError:
    return UnavailableError(f"akin at {url} does not answer; is it running?")


def _unfinished(seconds: float) -> UnavailableError:
    return UnavailableError(f"the job is not done after {seconds:g} s; ask again later, or see whether a worker runs")
