"""Recommendations for a user or for a history that is sent along: by profile where there is one, else the popular."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

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
from serving.candidates import Selection, nearest
from serving.continuations import Continuations
from serving.explain import because
from serving.live import LiveIndex, View
from serving.log_writer import LogWriter
from serving.popular import CATALOGUE, POPULAR, Popularity, catalogue_hits, popular_hits
from serving.profile import Profile
from serving.tastes import Taste, Tastes

MEAN = "mean"
STRATEGIES = ("auto", MEAN, POPULAR)
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

        `auto` and `mean` use the profile when there is one; a user without one gets what is popular, then the rest of
        the catalogue, each item labelled with its source. Raises InvalidInputError for a request that does not fit.
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
        profile = taste.profile if request.strategy != POPULAR else None
        if profile is None:
            items = self._popular_items(view, selection, taste, request)
        else:
            items = self._profile_items(view, selection, profile, request)
        answer = Recommendations(
            recommendation_id=new_recommendation_id(),
            items=items,
            generation=view.generation.name,
            strategy=POPULAR if profile is None else MEAN,
            profile=taste.info,
            has_next=len(items) == request.limit,
        )
        self._remember(answer, request, given)
        return answer

    def _taste(self, view: View, request: RecommendRequest) -> Taste:
        if request.history is not None:
            return self._tastes.of_events(view, request.history)
        if request.user_id is None:
            return Taste()
        with_profile = request.strategy != POPULAR
        return self._tastes.of_user(view, request.user_id, with_seen=request.exclude_seen, with_profile=with_profile)

    def _profile_items(
        self, view: View, selection: Selection, profile: Profile, request: RecommendRequest
    ) -> tuple[RecommendedItem, ...]:
        shown = nearest(self._ledger, view, profile.vector, selection, with_vectors=request.explain)
        items = labelled(shown, MEAN, request.fields)
        if not request.explain:
            return items
        reasons = self._reasons(shown[0], profile, with_titles="title" in request.fields)
        return tuple(replace(item, because=reasons[item.item_id]) for item in items)

    def _popular_items(
        self, view: View, selection: Selection, taste: Taste, request: RecommendRequest
    ) -> tuple[RecommendedItem, ...]:
        # What was disliked stays away even when seen items may be shown: no profile is there to push it down.
        selection = replace(selection, exclude_ids=selection.exclude_ids | taste.disliked)
        shown = popular_hits(self._ledger, view, self._popularity, selection)
        items = labelled(shown, POPULAR, request.fields)
        if len(items) == request.limit:
            return items
        rest = replace(
            selection,
            limit=request.limit - len(items),
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
