"""Items over HTTP: written to the ledger and acknowledged at once, in the index soon after."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from ingest.errors import ConflictError, InvalidInputError, NotFoundError
from ingest.intake import parse_items
from ingest.items import Item, StoredItem, check_id, item_to_json, parse_item
from ingest.submit import ITEM_MOVED, RefusedPart, Submission, delete_items, submit_items
from serving.api.answers import WithServices, json_answer, read, work
from serving.api.documented import answers
from serving.api.error_responses import NothingAcceptedError
from serving.api.json_body import JsonRoute
from serving.api.paths import ItemId
from serving.api.requests import ItemBatch, ItemBody
from serving.api.schemas import AcceptedItems, ItemAnswer
from serving.services import Services

router = APIRouter(prefix="/items", tags=["items"], route_class=JsonRoute)
batch_router = APIRouter(tags=["items"], route_class=JsonRoute)

_ACCEPTED = answers(AcceptedItems, 202, "In the ledger; the job says when it is in the index.")
_MOST_MERGES = 5  # of one patch with what others keep changing meanwhile


class RefusedWriteError(ConflictError):
    """The ledger holds something newer than what was sent."""

    def __init__(self, refused: RefusedPart) -> None:
        super().__init__(refused.detail)
        self.code = refused.code


@batch_router.post("/items:batch", status_code=202, response_model=None, responses=_ACCEPTED)
async def add_items(services: WithServices, body: ItemBatch) -> Response:
    """Add or replace many items. Good ones are accepted whatever the others are."""
    return await work(_add_items, services, body.items)


@router.put("/{item_id:id}", status_code=202, response_model=None, responses=_ACCEPTED)
async def put_item(services: WithServices, item_id: ItemId, body: ItemBody) -> Response:
    """Add an item or replace all of it; a deleted one comes back."""
    data = _with_id(body.model_dump(exclude_unset=True), item_id)
    return await work(_put_item, services, data)


@router.patch("/{item_id:id}", status_code=202, response_model=None, responses=_ACCEPTED)
async def patch_item(services: WithServices, item_id: ItemId, body: Annotated[dict[str, Any], Body()]) -> Response:
    """Change some fields (RFC 7396): attributes are merged by name, null removes."""
    return await work(_patch_item, services, item_id, _with_id(body, item_id))


@router.delete("/{item_id:id}", status_code=202, response_model=None, responses=_ACCEPTED)
async def delete_item(services: WithServices, item_id: ItemId) -> Response:
    """Delete an item; deleting what is not there is no error."""
    check_id(item_id, "item_id")
    return await work(_delete_item, services, item_id)


@router.get("/{item_id:id}", response_model=None, responses=answers(ItemAnswer))
async def get_item(services: WithServices, item_id: ItemId) -> Response:
    """The item as the ledger holds it."""
    check_id(item_id, "item_id")
    return await read(services, lambda: json_answer(_shown(_standing(services, item_id))))


def _add_items(services: Services, data: Sequence[Any]) -> Response:
    limit = services.settings.max_batch_items
    if len(data) > limit:
        raise InvalidInputError("batch_too_large", f"at most {limit} items in one request; send several", "items")
    items, places, errors = parse_items(services.settings, data)
    if errors and not items:
        raise NothingAcceptedError("every item was refused; `errors` says why for each", _listed(errors))
    submission = submit_items(services.ledger, services.queue, services.settings, items)
    errors += [error.at(places[error.index]) for error in submission.errors]
    if errors and not submission.accepted:
        raise NothingAcceptedError("every item was refused; `errors` says why for each", _listed(errors))
    return _accepted(submission, errors)


def _put_item(services: Services, data: dict[str, Any]) -> Response:
    item = _parsed(services, data)
    return _answer(submit_items(services.ledger, services.queue, services.settings, [item], revive=True))


def _patch_item(services: Services, item_id: str, patch: dict[str, Any]) -> Response:
    check_id(item_id, "item_id")
    job_id: str | None = None
    for _ in range(_MOST_MERGES):
        # Any process may write between this and the commit, which is therefore made over this version only.
        stored = _standing(services, item_id)
        item = _parsed(services, _merged(item_to_json(stored.item), patch))
        submission = submit_items(
            services.ledger, services.queue, services.settings, [item], job_id=job_id, over=stored.version
        )
        if not any(error.code == ITEM_MOVED for error in submission.errors):
            break
        job_id = submission.job_id
    return _answer(submission)


def _delete_item(services: Services, item_id: str) -> Response:
    return _answer(delete_items(services.ledger, services.queue, services.settings, [item_id]))


def _answer(submission: Submission) -> Response:
    if submission.errors:
        raise RefusedWriteError(submission.errors[0])
    return _accepted(submission, ())


def _parsed(services: Services, data: dict[str, Any]) -> Item:
    return parse_item(data, services.settings.attributes, max_text_chars=services.settings.max_text_chars)


def _with_id(data: dict[str, Any], item_id: str) -> dict[str, Any]:
    if data.get("item_id") not in (None, item_id):
        raise InvalidInputError("item_id_mismatch", "item_id in the body differs from the one in the path", "item_id")
    return {**data, "item_id": item_id}


def _merged(item: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    changed = patch.get("attributes", {})
    if isinstance(changed, dict):  # anything else is for the parser to refuse; null removes all of them
        patch = {**patch, "attributes": {**item["attributes"], **changed}}
    return {**item, **patch}


def _standing(services: Services, item_id: str) -> StoredItem:
    stored = services.ledger.items.get(item_id)
    if stored is None or stored.deleted_at is not None:
        raise NotFoundError("there is no such item")
    return stored


def _shown(stored: StoredItem) -> dict[str, Any]:
    return {**item_to_json(stored.item), "version": stored.version, "updated_at": stored.updated_at}


def _accepted(submission: Submission, errors: Sequence[RefusedPart]) -> Response:
    listed = _listed(sorted(errors, key=lambda error: error.index))
    answer = json_answer({"job_id": submission.job_id, "accepted": submission.accepted, "errors": listed}, 202)
    if submission.delayed:
        answer.headers["X-Queue"] = "delayed"  # it is in the ledger, and is found there when the broker is back
    return answer


def _listed(errors: Sequence[RefusedPart]) -> list[dict[str, Any]]:
    return [error.as_json() for error in errors]
