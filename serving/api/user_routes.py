"""What is known of a user, over HTTP: shown, handed out, erased."""

from typing import Any

from fastapi import APIRouter, Response

from ingest.events import Event
from ingest.store.records import LoggedRecommendation
from serving.api.answers import WithServices, json_answer, read, work
from serving.api.documented import answers
from serving.api.json_body import JsonRoute
from serving.api.paths import UserId
from serving.api.schemas import ExportAnswer, HistoryAnswer, InterestsAnswer, ReceiptAnswer
from serving.services import Services

router = APIRouter(prefix="/users", tags=["users"], route_class=JsonRoute)


@router.get("/{user_id:id}/history", response_model=None, responses=answers(HistoryAnswer))
async def user_history(services: WithServices, user_id: UserId, *, titles: bool = False) -> Response:
    """The events that count, newest first, with their weights; with `titles`, those of their items beside them."""
    return await read(services, _history, services, user_id, titles=titles)


@router.get("/{user_id:id}/profile", response_model=None, responses=answers(InterestsAnswer))
async def user_profile(services: WithServices, user_id: UserId) -> Response:
    """The user's interests, named by the categories of what they liked."""
    return await read(services, _profile, services, user_id)


@router.get("/{user_id:id}/export", response_model=None, responses=answers(ExportAnswer))
async def user_export(services: WithServices, user_id: UserId) -> Response:
    """Every event of the user, and every answer that was given to them."""
    return await work(_export, services, user_id)


@router.delete("/{user_id:id}", response_model=None, responses=answers(ReceiptAnswer))
async def erase_user(services: WithServices, user_id: UserId) -> Response:
    """Remove all that is known of the user; a salted tombstone keeps late events out."""
    receipt = await work(services.users.erase, user_id)
    return json_answer(
        {
            "receipt_id": receipt.receipt_id,
            "erased_at": receipt.erased_at,
            "events": receipt.events,
            "recommendations": receipt.recommendations,
        }
    )


def _history(services: Services, user_id: str, *, titles: bool) -> Response:
    found = services.users.history(user_id)
    events = [{**_event(past.event), "weight": past.weight, "placed": past.placed} for past in found]
    if titles:
        items = services.ledger.items.get_many({past.event.item_id for past in found})
        for event in events:
            event["title"] = items[event["item_id"]].item.title if event["item_id"] in items else None
    return json_answer({"user_id": user_id, "events": events})


def _profile(services: Services, user_id: str) -> Response:
    found = services.users.interests(user_id)
    interests = [
        {"category": interest.category, "share": interest.share, "events": interest.events}
        for interest in found.interests
    ]
    return json_answer(
        {
            "user_id": user_id,
            "interests": interests,
            "uncategorised": found.uncategorised,
            "events": found.events,
            "generation": found.generation,
        }
    )


def _export(services: Services, user_id: str) -> Response:
    found = services.users.export(user_id)
    return json_answer(
        {
            "user_id": user_id,
            "events": [_event(event) for event in found.events],
            "recommendations": [_given(answer) for answer in found.recommendations],
        }
    )


def _given(answer: LoggedRecommendation) -> dict[str, Any]:
    return {
        "recommendation_id": answer.recommendation_id,
        "created_at": answer.created_at,
        "strategy": answer.strategy,
        "generation": answer.generation,
        "item_ids": answer.item_ids,
    }


def _event(event: Event) -> dict[str, Any]:
    return {
        "event_id": event.event_id,
        "user_id": event.user_id,
        "item_id": event.item_id,
        "type": event.type,
        "value": event.value,
        "timestamp": event.timestamp,
        "dwell_ms": event.dwell_ms,
        "recommendation_id": event.recommendation_id,
    }
