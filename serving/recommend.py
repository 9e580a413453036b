"""Recommendations for a user or for a history that is sent along: by profile where there is one, else the popular."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from msgspec import structs

from ingest.errors import InvalidInputError, NotFoundError
from ingest.events import Event
from ingest.index.filter_parser import parse_filter
from ingest.index.protocol import Hit
from ingest.items import check_id
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from serving.answers import (
    Because,
    Recommendations,
    RecommendedItem,
    check_fields,
    check_limit,
    labelled,
    logged,
    new_recommendation_id,
)
from serving.blended import Blend, best_by_blend, best_by_taste, explained
from serving.candidates import Selection, Shown, nearest
from serving.continuations import Continuations
from serving.explain import because
from serving.live import LiveIndex, View
from serving.log_writer import LogWriter
from serving.popular import CATALOGUE, POPULAR, Popularity, catalogue_hits, popular_hits
from serving.profile import Profile
from serving.tastes import Taste, Tastes

MEAN = "mean"
TASTE = "taste"
BLEND = "blend"
STRATEGIES = ("auto", BLEND, TASTE, MEAN, POPULAR)
_BY_TASTE = frozenset({"auto", BLEND, TASTE})
_IDS_PER_EVENT = 6  # the memory of an inline event, counted in ids


class RecommendationExpiredError(NotFoundError):
    """The pages of this recommendation are no longer kept; ask for recommendations anew."""

    code = "recommendation_expired"


@dataclass(frozen=True, kw_only=True)
class RecommendRequest:
    """What is asked for. `filter` is the JSON tree, as only the generation that answers knows its attributes."""

    user_id: str | None = None
    history: tuple[Event, ...] | None = None  # an inline history; used instead of a user's
    limit: int = 10
    strategy: str = "auto"
    filter: Any = None
    exclude_ids: tuple[str, ...] = ()
    exclude_seen: bool = True
    min_score: float | None = None
    explain: bool = False
    fields: tuple[str, ...] = ()


class Recommender:
    """Answers recommendation requests. Thread-safe."""

    def __init__(
        self,
        ledger: Ledger,
        live: LiveIndex,
        settings: Settings,
        *,
        tastes: Tastes | None = None,
        popularity: Popularity | None = None,
        continuations: Continuations[RecommendRequest] | None = None,
        log: LogWriter | None = None,
    ) -> None:
        self._ledger = ledger
        self._live = live
        self._settings = settings
        self._tastes = tastes or Tastes(ledger, settings)
        self._popularity = popularity or Popularity(ledger, settings)
        self._continuations: Continuations[RecommendRequest] = continuations or Continuations()
        self._log = log

    def recommend(self, request: RecommendRequest) -> Recommendations:
        """The best items for this user or history, best first.

        `auto` and `blend` ask by taste and text where weights are trained for something in the history, else by text
        (`mean`). A user without a profile gets what is popular, then the rest of the catalogue, and so does who asked
        by `taste` when that finds too little; each item is labelled with its source. Raises InvalidInputError for a
        request that does not fit.
        """
        _check(request, self._settings)
        return self._live.ask(lambda view: self._page(view, request, given=()))

    def next_page(self, recommendation_id: str) -> Recommendations:
        """The page after that answer, without repeats. Raises NotFoundError when the id is unknown or its time over."""
        kept = self._continuations.get(recommendation_id)
        if kept is None:
            raise RecommendationExpiredError("no page is kept under this id; ask for recommendations anew")
        return self._live.ask(lambda view: self._page(view, kept.request, given=kept.given))

    def forget(self, user_id: str) -> None:
        """Drop what is kept of a user who is being erased."""
        self._continuations.forget(user_id)
        self._tastes.forget(user_id)

    def _page(self, view: View, request: RecommendRequest, given: tuple[str, ...]) -> Recommendations:
        taste = self._taste(view, request)
        seen = taste.seen if request.exclude_seen else ()
        selection = Selection(
            limit=request.limit,
            filter=parse_filter(request.filter, view.generation.attributes),
            exclude_ids=frozenset((*given, *request.exclude_ids, *seen)),
            min_score=request.min_score,
            with_items=bool(request.fields),
        )
        strategy, items = self._items(view, selection, taste, request)
        answer = Recommendations(
            recommendation_id=new_recommendation_id(),
            items=items,
            generation=view.generation.name,
            strategy=strategy,
            profile=taste.info,
            has_next=len(items) == request.limit,
        )
        self._remember(answer, request, given)
        return answer

    def _taste(self, view: View, request: RecommendRequest) -> Taste:
        with_sparse = request.strategy in _BY_TASTE
        if request.history is not None:
            return self._tastes.of_events(view, request.history, with_sparse=with_sparse)
        if request.user_id is None:
            return Taste()
        return self._tastes.of_user(
            view,
            request.user_id,
            with_seen=request.exclude_seen,
            with_profile=request.strategy not in (POPULAR, TASTE),
            with_sparse=with_sparse,
        )

    def _items(
        self, view: View, selection: Selection, taste: Taste, request: RecommendRequest
    ) -> tuple[str, tuple[RecommendedItem, ...]]:
        """The strategy that was possible, and its items."""
        if taste.sparse is not None and request.strategy == TASTE:
            blend = Blend(taste=taste.sparse, text=None, text_weight=0.0)
            found = self._shown(view, best_by_taste(self._ledger, view, taste.sparse, selection), blend, TASTE, request)
            return TASTE, self._filled_up(view, selection, taste, request, found)
        if taste.sparse is not None and request.strategy in _BY_TASTE:
            blend = Blend(taste=taste.sparse, text=taste.profile, text_weight=self._settings.blend_text)
            best = best_by_blend(self._ledger, view, blend, selection)
            if best is not None:
                found = self._shown(view, best, blend, BLEND, request)
                return BLEND, found if taste.profile else self._filled_up(view, selection, taste, request, found)
        if taste.profile is not None and request.strategy not in (POPULAR, TASTE):
            return MEAN, self._profile_items(view, selection, taste.profile, request)
        return POPULAR, self._popular_items(view, selection, taste, request)

    def _shown(
        self, view: View, shown: Shown, blend: Blend, source: str, request: RecommendRequest
    ) -> tuple[RecommendedItem, ...]:
        if not request.explain:
            return labelled(shown, source, request.fields)
        events = [part.entry.event for part in blend.taste.parts + (blend.text.parts if blend.text else ())]
        past = {event.item_id for event in events} if "title" in request.fields else ()
        titles = self._ledger.items.get_many(past) if past else {}
        reasons = explained(self._ledger, view, blend, shown[0], titles)
        items = labelled(([hit for hit, _ in reasons], shown[1]), source, request.fields)
        return tuple(structs.replace(item, because=why) for item, (_, why) in zip(items, reasons, strict=True))

    def _filled_up(
        self,
        view: View,
        selection: Selection,
        taste: Taste,
        request: RecommendRequest,
        found: tuple[RecommendedItem, ...],
    ) -> tuple[RecommendedItem, ...]:
        missing = selection.limit - len(found)
        if not missing:
            return found
        taken = selection.exclude_ids.union(item.item_id for item in found)
        return found + self._popular_items(view, replace(selection, limit=missing, exclude_ids=taken), taste, request)

    def _profile_items(
        self, view: View, selection: Selection, profile: Profile, request: RecommendRequest
    ) -> tuple[RecommendedItem, ...]:
        shown = nearest(self._ledger, view, profile.vector, selection, with_vectors=request.explain)
        items = labelled(shown, MEAN, request.fields)
        if not request.explain:
            return items
        reasons = self._reasons(shown[0], profile, with_titles="title" in request.fields)
        return tuple(structs.replace(item, because=reasons[item.item_id]) for item in items)

    def _popular_items(
        self, view: View, selection: Selection, taste: Taste, request: RecommendRequest
    ) -> tuple[RecommendedItem, ...]:
        # What was disliked stays away even when seen items may be shown: no profile is there to push it down.
        selection = replace(selection, exclude_ids=selection.exclude_ids | taste.disliked)
        shown = popular_hits(self._ledger, view, self._popularity, selection)
        items = labelled(shown, POPULAR, request.fields)
        if len(items) == selection.limit:
            return items
        rest = replace(
            selection,
            limit=selection.limit - len(items),
            exclude_ids=selection.exclude_ids.union(item.item_id for item in items),
        )
        return items + labelled(catalogue_hits(self._ledger, view, rest), CATALOGUE, request.fields)

    def _reasons(self, hits: Sequence[Hit], profile: Profile, *, with_titles: bool) -> dict[str, tuple[Because, ...]]:
        past = {part.entry.event.item_id for part in profile.parts} if with_titles else ()
        titles = self._ledger.items.get_many(past) if past else {}
        return {hit.item_id: because(profile, hit.text, titles) for hit in hits if hit.text is not None}

    def _remember(self, answer: Recommendations, request: RecommendRequest, given: tuple[str, ...]) -> None:
        page = tuple(item.item_id for item in answer.items)
        if answer.has_next:
            size = len(given) + len(page) + len(request.exclude_ids) + _IDS_PER_EVENT * len(request.history or ())
            self._continuations.keep(
                answer.recommendation_id, request, given + page, user_id=request.user_id, size=size
            )
        if self._log is not None:
            self._log.add(logged(answer, request.user_id))


def _check(request: RecommendRequest, settings: Settings) -> None:
    if request.strategy not in STRATEGIES:
        raise InvalidInputError("unknown_strategy", f"strategy is one of {', '.join(STRATEGIES)}", "strategy")
    check_limit(request.limit, settings)
    check_fields(request.fields)
    if request.user_id is not None:
        check_id(request.user_id, "user_id")
