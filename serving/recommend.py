"""Recommendations for a user or for a history that is sent along: by profile where there is one, else the popular."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from secrets import randbits

from msgspec import structs

from ingest.errors import NotFoundError
from ingest.index.protocol import Hit, Vector
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from serving import pages
from serving.answers import Because, Recommendations, RecommendedItem, labelled, logged, new_recommendation_id
from serving.arrangement import Arranger, Found
from serving.blended import Blend, best_by_blend, best_by_taste, explained
from serving.candidates import Selection, Shown, nearest
from serving.continuations import Continuations
from serving.explain import because
from serving.impressions import Impressions
from serving.interests import MOST
from serving.learned import Learned
from serving.live import LiveIndex, View
from serving.log_writer import LogWriter
from serving.popular import CATALOGUE, POPULAR, Popularity, catalogue_hits, listed_hits
from serving.profile import Profile
from serving.request import BLEND, INTERESTS, MEAN, TASTE, RecommendRequest, check_request
from serving.scored import Basis, scores_of, with_fields, with_reasons
from serving.shared import shared_values, values_of
from serving.tastes import Taste, Tastes
from serving.vectors import VectorCache

_BY_TASTE = frozenset({"auto", BLEND, TASTE})
_BY_INTERESTS = frozenset({"auto", BLEND, INTERESTS})
_IDS_PER_EVENT = 6  # the memory of an inline event, counted in ids


class RecommendationExpiredError(NotFoundError):
    """The pages of this recommendation are no longer kept; ask for recommendations anew."""

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
        self._learned = Learned(ledger, settings)
        self._arranger = Arranger(ledger, Impressions(ledger), settings.filter_limits)
        self._vectors = VectorCache()

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
        return self._live.ask(lambda view: self._page(view, request, given=()))

    def next_page(self, recommendation_id: str) -> Recommendations:
        """The page after that answer, without repeats. Raises NotFoundError when the id is unknown or its time over."""
        kept = self._continuations.get(recommendation_id)
        known = (kept.request, kept.given) if kept else self._written(recommendation_id)
        if known is None:
            raise RecommendationExpiredError("no page is kept under this id; ask for recommendations anew")
        request, given = known
        return self._live.ask(lambda view: self._page(view, request, given=given))

    def forget(self, user_id: str) -> None:
        """Drop what is kept of a user who is being erased."""
        self._continuations.forget(user_id)
        self._tastes.forget(user_id)

    def _written(self, recommendation_id: str) -> tuple[RecommendRequest, tuple[str, ...]] | None:
        return pages.read(self._ledger, recommendation_id, elsewhere=not self._settings.embedded)

    def _page(self, view: View, request: RecommendRequest, given: tuple[str, ...]) -> Recommendations:
        taste = self._taste(view, request)
        seen = taste.seen if request.exclude_seen else ()
        selection = Selection(
            limit=request.limit,
            exclude_ids=frozenset((*given, *request.exclude_ids, *seen)),
            min_score=request.min_score,
            with_items=bool(request.fields),
        )
        strategy = _Asking(recommender=self, view=view, taste=taste, request=request)
        page = self._arranger.page(view, request, selection, strategy, first=not given)
        answer = Recommendations(
            recommendation_id=new_recommendation_id(),
            items=tuple(self._with_shared(view, page.items, request)),
            generation=view.generation.name,
            strategy=page.strategy,
            profile=taste.info,
            has_next=page.more,
            relaxed=page.relaxed,
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

    def _with_shared(
        self, view: View, items: Sequence[RecommendedItem], request: RecommendRequest
    ) -> Sequence[RecommendedItem]:
        """Where reasons are given, the attribute values that item and history share."""
        past = {reason.item_id for item in items for reason in item.because or () if reason.share > 0}
        if not request.explain or not past:
            return items
        stored = self._ledger.items.get_many([*past, *(item.item_id for item in items)])
        values = {item_id: values_of(one.item, view.generation.attributes) for item_id, one in stored.items()}
        history = [values[item_id] for item_id in past if item_id in values]
        return [
            structs.replace(item, shared=shared_values(values.get(item.item_id, {}), history)) if item.because else item
            for item in items
        ]

    def items(self, view: View, selection: Selection, taste: Taste, request: RecommendRequest) -> Found:
        """The strategy that was possible, and its items."""
        asked = request.strategy
        if taste.sparse is not None and asked == TASTE:
            blend = Blend(taste=taste.sparse)
            shown = best_by_taste(self._ledger, view, taste.sparse, selection)
            found = self._shown(view, shown, blend, TASTE, request)
            return TASTE, self._filled_up(view, selection, taste, request, Basis(blend=blend), found)
        if taste.sparse is not None and asked in _BY_TASTE:
            blend = self._blend(taste)
            best = self._best(view, blend, selection)
            if best is not None:
                found = self._shown(view, best, blend, BLEND, request)
                return BLEND, self._filled_up(view, selection, taste, request, Basis(blend=blend), found)
        if taste.profile is not None and asked in _BY_INTERESTS:
            blend = self._interests(taste.profile)
            shown = self._best(view, blend, selection) or ([], {})
            return INTERESTS, self._shown(view, shown, blend, INTERESTS, request)
        if taste.profile is not None and asked == MEAN:
            return MEAN, self._profile_items(view, selection, taste.profile, request)
        return POPULAR, self._popular_items(view, selection, taste, request)

    def basis(self, strategy: str, taste: Taste) -> Basis:
        """What that strategy's scores are made from."""
        if strategy == TASTE and taste.sparse is not None:
            return Basis(blend=Blend(taste=taste.sparse))
        if strategy == BLEND and taste.sparse is not None:
            return Basis(blend=self._blend(taste))
        if strategy == INTERESTS and taste.profile is not None:
            return Basis(blend=self._interests(taste.profile))
        if strategy == MEAN and taste.profile is not None:
            return Basis(mean=taste.profile)
        return Basis(popularity={hit.item_id: hit.score for hit in self._popularity.ranking()})

    def detailed(
        self, view: View, basis: Basis, items: Sequence[RecommendedItem], request: RecommendRequest
    ) -> tuple[RecommendedItem, ...]:
        """The items with the reasons and fields that are asked for; those that the ledger has deleted are left out."""
        if request.explain:
            past = _past(basis) if "title" in request.fields else ()
            titles = self._ledger.items.get_many(past) if past else {}
            items = with_reasons(self._ledger, view, basis, items, titles)
        if request.fields:
            stored = self._ledger.items.get_many([item.item_id for item in items])
            items = with_fields(items, stored, request.fields)
        return tuple(items)

    def _best(self, view: View, blend: Blend, selection: Selection) -> Shown | None:
        cache = self._vectors if self._settings.embedded else None  # elsewhere nobody tells when one grows old
        return best_by_blend(self._ledger, view, blend, selection, cache)

    def _blend(self, taste: Taste) -> Blend:
        learned = self._learned.weights()
        return Blend(
            taste=taste.sparse,
            text=taste.profile,
            text_weight=learned.text,
            recent=self._popularity.recent(learned.half_life_days),
            prior_weight=learned.prior,
        )

    def _interests(self, profile: Profile) -> Blend:
        learned = self._learned.weights()
        return Blend(
            text=profile,
            text_weight=1.0,
            recent=self._popularity.recent(learned.half_life_days),
            prior_weight=learned.interests_prior,
            anchors=1 + MOST,
        )

    def _shown(
        self, view: View, shown: Shown, blend: Blend, source: str, request: RecommendRequest
    ) -> tuple[RecommendedItem, ...]:
        if not request.explain:
            return labelled(shown, source, request.fields)
        past = _past(Basis(blend=blend)) if "title" in request.fields else ()
        titles = self._ledger.items.get_many(past) if past else {}
        reasons = explained(self._ledger, view, blend, shown[0], titles)
        items = labelled(([hit for hit, _ in reasons], shown[1]), source, request.fields)
        return tuple(
            structs.replace(item, because=why, prior=blend.prior(item.item_id) or None)
            for item, (_, why) in zip(items, reasons, strict=True)
        )

    def _filled_up(
        self,
        view: View,
        selection: Selection,
        taste: Taste,
        request: RecommendRequest,
        basis: Basis,
        found: tuple[RecommendedItem, ...],
    ) -> tuple[RecommendedItem, ...]:
        """What was found and, where that is too little, what is popular, with the scores of the same strategy."""
        missing = selection.limit - len(found)
        if not missing:
            return found
        taken = selection.exclude_ids.union(item.item_id for item in found)
        rest = replace(selection, limit=missing, exclude_ids=taken, min_score=None)
        popular = self._popular_items(view, rest, taste, replace(request, explain=False))
        scores = scores_of(view, basis, [item.item_id for item in popular])
        scored = [structs.replace(item, score=scores[item.item_id]) for item in popular]
        least = selection.min_score
        fit = sorted((one for one in scored if least is None or one.score >= least), key=lambda one: -one.score)
        return found + self.detailed(view, basis, fit, request)

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
        shown = listed_hits(self._ledger, view, self._popularity.ranking(), selection)
        items = labelled(shown, POPULAR, request.fields)
        if request.explain:
            items = tuple(structs.replace(item, because=(), prior=item.score) for item in items)
        if len(items) == selection.limit:
            return items
        rest = replace(
            selection,
            limit=selection.limit - len(items),
            exclude_ids=selection.exclude_ids.union(item.item_id for item in items),
        )
        others = labelled(catalogue_hits(self._ledger, view, rest), CATALOGUE, request.fields)
        if request.explain:
            others = tuple(structs.replace(item, because=()) for item in others)
        return items + others

    def _reasons(self, hits: Sequence[Hit], profile: Profile, *, with_titles: bool) -> dict[str, tuple[Because, ...]]:
        past = {part.entry.event.item_id for part in profile.parts} if with_titles else ()
        titles = self._ledger.items.get_many(past) if past else {}
        return {hit.item_id: because(profile, hit.text, titles) for hit in hits if hit.text is not None}

    def _remember(self, answer: Recommendations, request: RecommendRequest, given: tuple[str, ...]) -> None:
        given += tuple(item.item_id for item in answer.items)
        if answer.has_next:
            size = len(given) + len(request.exclude_ids) + _IDS_PER_EVENT * len(request.history or ())
            self._continuations.keep(answer.recommendation_id, request, given, user_id=request.user_id, size=size)
        if self._log is not None:
            page = pages.written(request, given) if answer.has_next else None
            self._log.add(logged(answer, request.user_id, page))


def _past(basis: Basis) -> set[str]:
    """The items of the history that speak in these scores."""
    parts = [part.entry for part in basis.mean.parts] if basis.mean else []
    if basis.blend is not None:
        parts += [part.entry for part in basis.blend.taste.parts] if basis.blend.taste else []
        parts += [part.entry for part in basis.blend.text.parts] if basis.blend.text else []
    return {entry.event.item_id for entry in parts}


@dataclass(frozen=True, kw_only=True)
class _Asking:
    """One request's way to items, as an arrangement asks for them."""

    recommender: Recommender
    view: View
    taste: Taste
    request: RecommendRequest

    @property
    def lean(self) -> Vector | None:
        return None if self.taste.profile is None else self.taste.profile.vector

    @property
    def disliked(self) -> frozenset[str]:
        return self.taste.disliked

    def asked(self, selection: Selection) -> Found:
        return self.recommender.items(self.view, selection, self.taste, self.request)

    def find(self, selection: Selection) -> Found:
        plain = replace(self.request, explain=False, fields=())
        return self.recommender.items(self.view, replace(selection, with_items=False), self.taste, plain)

    def scores(self, strategy: str, item_ids: Sequence[str]) -> Mapping[str, float]:
        return scores_of(self.view, self.recommender.basis(strategy, self.taste), item_ids)

    def detailed(self, strategy: str, items: Sequence[RecommendedItem]) -> tuple[RecommendedItem, ...]:
        basis = self.recommender.basis(strategy, self.taste)
        return self.recommender.detailed(self.view, basis, items, self.request)
