"""What may be asked of akin, as values: a method, a path, a body, and what the answer is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from ingest.errors import InvalidInputError
from ingest.items import check_id
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
from serving.client.refusals import NoNextPageError

A = TypeVar("A", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request. `repeatable` says that asking twice is the same as asking once."""

    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: Mapping[str, Any] | None = None
    repeatable: bool = True


@dataclass(frozen=True, kw_only=True)
class Call(Asked, Generic[A]):
    """A request and what its answer is."""

    answer: type[A]


def put_item(item_id: str, item: Mapping[str, Any]) -> Call[AcceptedItems]:
    """Add an item or replace all of it."""
    return Call(method="PUT", path=_path("/items/", item_id, "item_id"), answer=AcceptedItems, body=dict(item))


def put_items(items: Sequence[Mapping[str, Any]]) -> Call[AcceptedItems]:
    """Add or replace many items; the good ones are accepted whatever the others are."""
    return Call(method="POST", path="/items:batch", answer=AcceptedItems, body={"items": _records("items", items)})


def patch_item(item_id: str, changes: Mapping[str, Any]) -> Call[AcceptedItems]:
    """Change some fields; attributes are merged by name, None removes."""
    return Call(method="PATCH", path=_path("/items/", item_id, "item_id"), answer=AcceptedItems, body=dict(changes))


def delete_item(item_id: str) -> Call[AcceptedItems]:
    """Delete an item; deleting what is not there is no error."""
    return Call(method="DELETE", path=_path("/items/", item_id, "item_id"), answer=AcceptedItems)


def item(item_id: str) -> Call[ItemAnswer]:
    """The item as the ledger holds it."""
    return Call(method="GET", path=_path("/items/", item_id, "item_id"), answer=ItemAnswer)


def add_events(events: Sequence[Mapping[str, Any]]) -> Call[AcceptedEvents]:
    """Add events; repeated after a failure only when each has an `event_id`, which makes it count once."""
    sent = _records("events", events)
    named = all(one.get("event_id") for one in sent)
    return Call(method="POST", path="/events", answer=AcceptedEvents, body={"events": sent}, repeatable=named)


def recommend(user_id: str, options: Mapping[str, Any]) -> Call[RecommendationsAnswer]:
    """The best items for a user; `options` are the fields of the request body."""
    path = _path("/users/", user_id, "user_id", "/recommendations")
    return Call(method="POST", path=path, answer=RecommendationsAnswer, body=dict(options))


def recommend_for(history: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> Call[RecommendationsAnswer]:
    """The best items for a history that is sent along and not stored."""
    body = {**options, "history": _records("history", history)}
    return Call(method="POST", path="/recommendations", answer=RecommendationsAnswer, body=body)


def next_page(answer: RecommendationsAnswer) -> Call[RecommendationsAnswer]:
    """The next page of an answer; asking twice gives the same one. Raises NoNextPageError where there is none."""
    if answer.next is None:
        raise NoNextPageError("this answer has no next page: its `next` is null")
    path = _path("/recommendations/", answer.recommendation_id, "recommendation_id", "/next")
    return Call(method="POST", path=path, answer=RecommendationsAnswer)


def similar(item_id: str, options: Mapping[str, Any]) -> Call[RecommendationsAnswer]:
    """The items nearest to an item."""
    path = _path("/items/", item_id, "item_id", "/similar")
    return Call(method="POST", path=path, answer=RecommendationsAnswer, body=dict(options))


def search(query: str, options: Mapping[str, Any]) -> Call[SearchAnswer]:
    """The items that answer a text."""
    return Call(method="POST", path="/search", answer=SearchAnswer, body={**options, "query": query})


def history(user_id: str) -> Call[HistoryAnswer]:
    """The events that count, newest first."""
    return Call(method="GET", path=_path("/users/", user_id, "user_id", "/history"), answer=HistoryAnswer)


def interests(user_id: str) -> Call[InterestsAnswer]:
    """The user's interests, named by the categories of what they liked."""
    return Call(method="GET", path=_path("/users/", user_id, "user_id", "/profile"), answer=InterestsAnswer)


def export(user_id: str) -> Call[ExportAnswer]:
    """Everything that is known of a user."""
    return Call(method="GET", path=_path("/users/", user_id, "user_id", "/export"), answer=ExportAnswer)


def erase(user_id: str) -> Call[ReceiptAnswer]:
    """Remove all that is known of a user; the answer is the receipt."""
    return Call(method="DELETE", path=_path("/users/", user_id, "user_id"), answer=ReceiptAnswer)


def job(job_id: str) -> Call[JobAnswer]:
    """How far a submission has come."""
    return Call(method="GET", path=_path("/jobs/", job_id, "job_id"), answer=JobAnswer)


def generations() -> Call[GenerationList]:
    """All generations, newest first."""
    return Call(method="GET", path="/generations", answer=GenerationList)


def reindex() -> Call[GenerationAnswer]:
    """Begin a reindex."""
    return Call(method="POST", path="/generations", answer=GenerationAnswer)


def activate(name: str) -> Call[GenerationAnswer]:
    """Make a complete generation live."""
    return Call(method="POST", path=_path("/generations/", name, "name", ":activate"), answer=GenerationAnswer)


def segment(text: str, name: str) -> str:
    """An id as one segment of a path; `.` and `..` would otherwise be taken for steps of the path.

    Raises InvalidInputError naming it for what the server would refuse, as a path without its id is another path.
    """
    check_id(text, name)
    return text.replace(".", "%2E") if text in {".", ".."} else quote(text, safe="")


def _records(name: str, given: object) -> list[dict[str, Any]]:
    """A list of objects, as plain ones. Raises InvalidInputError naming what is none."""
    if isinstance(given, Mapping):
        raise InvalidInputError("not_a_list", f"{name} must be a list, and is a single object: put it in a list", name)
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise InvalidInputError("not_a_list", f"{name} must be a list of objects", name)
    records = list(given)
    for place, one in enumerate(records):
        if not isinstance(one, Mapping):
            raise InvalidInputError("not_an_object", f"{name}[{place}] must be an object, such as a dict", name)
    return [dict(one) for one in records]


def _path(before: str, id_: str, name: str, after: str = "") -> str:
    return f"{before}{segment(id_, name)}{after}"
