"""Recommendations for a user or for a history that is sent along: by profile where there is one, else the popular."""

from dataclasses import replace
from secrets import randbits

from ingest.errors import NotFoundError
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from serving import pages
from serving.answers import Recommendations, RecommendedItem, logged, new_recommendation_id
from serving.arrangement import Arranger
from serving.candidates import Selection
from serving.continuations import Continuations
from serving.explain import explained
from serving.impressions import Impressions
from serving.live import LiveIndex, View
from serving.log_writer import LogWriter
from serving.popular import POPULAR, Popularity
from serving.request import TASTE, RecommendRequest, check_request
from serving.strategies import BY_TASTE, Strategies
from serving.tastes import Taste, Tastes


class RecommendationExpiredError(NotFoundError):
    """No page of this recommendation is kept: its time is over, or there was none; ask for recommendations anew."""

    code = "recommendation_expired"


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
        impressions: Impressions | None = None,
        log: LogWriter | None = None,
    ) -> None:
        self._ledger = ledger
        self._live = live
        self._settings = settings
        self._tastes = tastes or Tastes(ledger, settings)
        found = popularity or Popularity(ledger, settings)
        self._strategies = Strategies(ledger, settings, found, self._tastes.learned)
        self._continuations = Continuations()
        self._log = log
        self._arranger = Arranger(ledger, impressions or Impressions(ledger), settings)

    def recommend(self, request: RecommendRequest) -> Recommendations:
        """The best items for this user or history, best first.

        `auto` and `blend` score by taste, text and recent popularity where weights are trained for something in the
        history, else by text and recent popularity (`interests`). A user without a profile gets what is popular, then
        the rest of the catalogue, and so does who asked by `taste` when that finds too little; each item is labelled
        with its source. Raises InvalidInputError for a request that does not fit.
        """
        check_request(request, self._settings)
        if request.explore and request.seed is None:  # one for all pages of the answer
            request = replace(request, seed=randbits(63))
        begun_at = self._continuations.now()
        return self._live.ask(lambda view: self._page(view, request, given=(), begun_at=begun_at))

    def next_page(self, recommendation_id: str) -> Recommendations:
        """The page after that answer, without repeats. Raises NotFoundError when the id is unknown or its time over."""
        begun_at = self._continuations.now()  # before anything of the user is read
        kept = self._continuations.get(recommendation_id)
        page = pages.decoded(kept) if kept else self._written(recommendation_id)
        if page is None:
            raise RecommendationExpiredError(
                "no page is kept under this id: its time is over, or no page follows that answer; ask anew"
            )
        request = page.request
        if request.user_id is not None and self._ledger.users.deleted([request.user_id]):
            self.forget(request.user_id)  # erased by another process, which cannot know what this one keeps
            raise RecommendationExpiredError("the user of this answer was erased")
        return self._live.ask(lambda view: self._page(view, request, given=page.given, begun_at=begun_at))

    def forget(self, user_id: str) -> None:
        """Drop what is kept of a user who is being erased."""
        self._continuations.forget(user_id)
        self._tastes.forget(user_id)

    def _written(self, recommendation_id: str) -> pages.Page | None:
        return pages.read(self._ledger, recommendation_id, elsewhere=not self._settings.embedded)

    def _page(self, view: View, request: RecommendRequest, given: tuple[str, ...], begun_at: float) -> Recommendations:
        taste = self._taste(view, request)
        seen = taste.seen if request.exclude_seen else ()
        selection = Selection(
            limit=request.limit,
            exclude_ids=frozenset((*given, *request.exclude_ids, *seen)),
            min_score=request.min_score,
            with_items=bool(request.fields),
        )
        strategy = self._strategies.of(view, taste, request)
        page = self._arranger.page(view, request, selection, strategy, first=not given)
        answer = Recommendations(
            recommendation_id=new_recommendation_id(),
            items=self._explained(view, page.items, request),
            generation=view.generation.name,
            strategy=page.strategy,
            profile=taste.info,
            has_next=page.more,
            relaxed=page.relaxed,
        )
        going_on = replace(request, begun_by=request.begun_by or page.strategy)
        self._remember(answer, going_on, given, begun_at)
        return answer

    def _taste(self, view: View, request: RecommendRequest) -> Taste:
        with_sparse = request.strategy in BY_TASTE
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

    def _explained(
        self, view: View, items: tuple[RecommendedItem, ...], request: RecommendRequest
    ) -> tuple[RecommendedItem, ...]:
        if not request.explain:
            return items
        with_titles = "title" in request.fields
        return tuple(explained(self._ledger, view, items, most=request.reasons, with_titles=with_titles))

    def _remember(
        self, answer: Recommendations, request: RecommendRequest, given: tuple[str, ...], begun_at: float
    ) -> None:
        page = None
        if answer.has_next:
            page = pages.encoded(request, (*given, *(item.item_id for item in answer.items)))
            self._continuations.keep(answer.recommendation_id, page, user_id=request.user_id, begun_at=begun_at)
        if self._log is not None:
            to_write = page if page is not None and pages.is_written(request, page) else None
            self._log.add(logged(answer, request.user_id, to_write))
