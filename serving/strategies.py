"""The ways to items: by taste, text, both, the mean of a history, or what is popular. Knows no users and no pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from msgspec import structs

from ingest.index.protocol import Vector
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from serving.answers import RecommendedItem, labelled
from serving.arrangement import Found, Strategy
from serving.blended import Blend, best_by_blend, best_by_taste, split
from serving.candidates import Selection, Shown, nearest
from serving.interests import MOST
from serving.learned import Learned
from serving.live import View
from serving.popular import CATALOGUE, POPULAR, Popularity, catalogue_hits, listed_hits
from serving.profile import Profile
from serving.request import BLEND, INTERESTS, MEAN, TASTE, RecommendRequest
from serving.scored import Basis, scores_of, shared_by_mean, with_fields, with_shares
from serving.tastes import Taste
from serving.vectors import VectorCache

BY_TASTE = frozenset({"auto", BLEND, TASTE})
_BY_INTERESTS = frozenset({"auto", BLEND, INTERESTS})


class Strategies:
    """Finds and scores items for a taste by the strategy that is asked for, or the next one that is possible."""

    def __init__(self, ledger: Ledger, settings: Settings, popularity: Popularity, learned: Learned) -> None:
        self._ledger = ledger
        self._popularity = popularity
        self._learned = learned
        # Elsewhere nobody tells when a vector grows old.
        self._vectors = VectorCache() if settings.embedded else None

    def of(self, view: View, taste: Taste, request: RecommendRequest) -> Strategy:
        """One request's way to items, as an arrangement asks for them."""
        return _Asking(strategies=self, view=view, taste=taste, request=request)

    def items(self, view: View, selection: Selection, taste: Taste, request: RecommendRequest) -> Found:
        """The strategy that was possible, and its items."""
        asked = request.begun_by or request.strategy
        if taste.sparse is not None and asked == TASTE:
            blend = Blend(taste=taste.sparse)
            shown = best_by_taste(self._ledger, view, taste.sparse, selection)
            found = self._shown(view, shown, blend, TASTE, request)
            return TASTE, self._filled_up(view, selection, taste, request, Basis(blend=blend), found)
        if taste.sparse is not None and asked in BY_TASTE:
            blend = self._blend(taste)
            best = self._best(view, blend, selection, begun=request.begun_by == BLEND)
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
        """The items with the shares and fields that are asked for; those that the ledger has deleted are left out."""
        if request.explain:
            items = with_shares(self._ledger, view, basis, items)
        if request.fields:
            stored = self._ledger.items.get_many([item.item_id for item in items])
            items = with_fields(items, stored, request.fields)
        return tuple(items)

    def _best(self, view: View, blend: Blend, selection: Selection, *, begun: bool = False) -> Shown | None:
        return best_by_blend(self._ledger, view, blend, selection, self._vectors, begun=begun)

    def _blend(self, taste: Taste) -> Blend:
        learned = self._learned.weights()
        return Blend(
            taste=taste.sparse,
            text=taste.profile,
            text_weight=learned.text,
            rarities=self._learned.rarities(),
            recent=self._popularity.recent(learned.half_life_days),
            prior_weight=learned.prior,
        )

    def _interests(self, profile: Profile) -> Blend:
        learned = self._learned.weights()
        return Blend(
            text=profile,
            text_weight=1.0,
            rarities=self._learned.rarities(),
            recent=self._popularity.recent(learned.half_life_days),
            prior_weight=learned.interests_prior,
            anchors=1 + MOST,
        )

    def _shown(
        self, view: View, shown: Shown, blend: Blend, source: str, request: RecommendRequest
    ) -> tuple[RecommendedItem, ...]:
        if not request.explain:
            return labelled(shown, source, request.fields)
        found = split(self._ledger, view, blend, [hit.item_id for hit in shown[0]])
        items = labelled(([hit for hit, _ in found], shown[1]), source, request.fields)
        return tuple(
            structs.replace(item, shares=shares, prior=blend.prior(item.item_id) or None)
            for item, (_, shares) in zip(items, found, strict=True)
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
        return tuple(
            shared_by_mean(profile, items, {hit.item_id: hit.text for hit in shown[0] if hit.text is not None})
        )

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


@dataclass(frozen=True, kw_only=True)
class _Asking:
    strategies: Strategies
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
        return self.strategies.items(self.view, selection, self.taste, self.request)

    def find(self, selection: Selection) -> Found:
        plain = replace(self.request, explain=False, fields=())
        return self.strategies.items(self.view, replace(selection, with_items=False), self.taste, plain)

    def scores(self, strategy: str, item_ids: Sequence[str]) -> Mapping[str, float]:
        return scores_of(self.view, self.strategies.basis(strategy, self.taste), item_ids)

    def detailed(self, strategy: str, items: Sequence[RecommendedItem]) -> tuple[RecommendedItem, ...]:
        basis = self.strategies.basis(strategy, self.taste)
        return self.strategies.detailed(self.view, basis, items, self.request)
