"""Items like an item, leaned towards a user's taste when one is named."""

from dataclasses import dataclass
from typing import Any

from ingest.errors import NotFoundError
from ingest.index.filter_parser import parse_filter
from ingest.index.protocol import Vector
from ingest.items import check_id
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from serving.answers import (
    ProfileInfo,
    Recommendations,
    check_fields,
    check_limit,
    check_share,
    labelled,
    logged,
    new_recommendation_id,
)
from serving.candidates import Selection, nearest
from serving.live import LiveIndex, View
from serving.log_writer import LogWriter
from serving.profile import blend
from serving.tastes import Taste, Tastes

SIMILAR = "similar"


@dataclass(frozen=True, kw_only=True)
class SimilarRequest:
    """What is asked for; `user_impact` 0 ignores the user, 1 ignores the item."""

    item_id: str
    user_id: str | None = None
    user_impact: float = 0.3
    limit: int = 10
    filter: Any = None
    exclude_ids: tuple[str, ...] = ()
    min_score: float | None = None
    fields: tuple[str, ...] = ()


class SimilarItems:
    """Answers with an item's neighbours. Thread-safe."""

    def __init__(
        self,
        ledger: Ledger,
        live: LiveIndex,
        settings: Settings,
        *,
        tastes: Tastes | None = None,
        log: LogWriter | None = None,
    ) -> None:
        self._ledger = ledger
        self._live = live
        self._settings = settings
        self._tastes = tastes or Tastes(ledger, settings)
        self._log = log

    def similar(self, request: SimilarRequest) -> Recommendations:
        """The nearest items, the item itself left out.

        Raises NotFoundError for an item that is unknown, deleted, or not in the live generation yet.
        """
        check_id(request.item_id, "item_id")
        check_limit(request.limit, self._settings)
        check_fields(request.fields)
        check_share(request.user_impact, "user_impact")
        if request.user_id is not None:
            check_id(request.user_id, "user_id")
        return self._live.ask(lambda view: self._answer(view, request))

    def _answer(self, view: View, request: SimilarRequest) -> Recommendations:
        anchor = self._anchor(view, request.item_id)
        taste = self._taste(view, request)
        vector = anchor if taste.profile is None else blend(anchor, taste.profile.vector, request.user_impact)
        selection = Selection(
            limit=request.limit,
            filter=parse_filter(request.filter, view.generation.attributes, self._settings.filter_limits),
            exclude_ids=frozenset((request.item_id, *request.exclude_ids)),
            min_score=request.min_score,
            with_items=bool(request.fields),
        )
        answer = Recommendations(
            recommendation_id=new_recommendation_id(),
            items=labelled(nearest(self._ledger, view, vector, selection), SIMILAR, request.fields),
            generation=view.generation.name,
            strategy=SIMILAR,
            profile=taste.info,
        )
        if self._log is not None:
            self._log.add(logged(answer, request.user_id))
        return answer

    def _anchor(self, view: View, item_id: str) -> Vector:
        stored = self._ledger.items.get(item_id)
        if stored is None or stored.deleted_at is not None:
            raise NotFoundError("there is no such item")
        vector = view.collection.vectors([item_id]).get(item_id)
        if vector is None:
            raise NotFoundError("the item is not in the index yet; try again in a moment, or look at its job")
        return vector

    def _taste(self, view: View, request: SimilarRequest) -> Taste:
        if request.user_id is None or not request.user_impact:
            return Taste(info=ProfileInfo())
        return self._tastes.of_user(view, request.user_id, with_seen=False)
