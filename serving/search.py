"""Search by meaning, by words, or by both, leaned towards a user's taste when one is named."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingest.documents import declared_attributes
from ingest.errors import InvalidInputError
from ingest.index.checks import check_min_score
from ingest.index.filter_parser import parse_filter
from ingest.index.protocol import Hit, NoWordsError
from ingest.items import StoredItem, check_id
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.words import query_words
from serving.answers import (
    ProfileInfo,
    Recommendations,
    RecommendedItem,
    check_fields,
    check_limit,
    check_share,
    labelled,
    logged,
    new_recommendation_id,
)
from serving.candidates import SPARE, Selection, nearest, still_there
from serving.facets import Facet, check_facets, count_facets
from serving.live import LiveIndex, View
from serving.log_writer import LogWriter
from serving.matching import HYBRID, LEXICAL, MODES, SEMANTIC, Found, best_matches, wanted
from serving.profile import blend
from serving.tastes import Taste, Tastes

MAX_QUERY_CHARS = 2_000
COUNTED = {SEMANTIC: 1_000, HYBRID: 1_000, LEXICAL: 5_000}  # best items that facets count; by meaning all items match


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """What is asked for; `personalization` 0 ignores the user, 1 ignores the query.

    Without a `mode` it is hybrid, or semantic in a generation that was built without words. In a lexical search only
    items that share a word with the query are found, however personal their order is.
    """

    query: str
    mode: str | None = None
    user_id: str | None = None
    personalization: float = 0.2
    limit: int = 10
    filter: Any = None
    exclude_ids: tuple[str, ...] = ()
    min_score: float | None = None
    fields: tuple[str, ...] = ()
    facets: tuple[str, ...] = ()
    facet_limit: int = 10  # values of each facet


@dataclass(frozen=True, kw_only=True)
class SearchResult(Recommendations):
    """An answer, and the facets that were asked for: counted over the best items, as many as `COUNTED` says."""

    facets: Mapping[str, Facet] | None = None


class Searcher:
    """Answers searches. Thread-safe."""

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

    def search(self, request: SearchRequest) -> SearchResult:
        """The items that fit the query best.

        Raises InvalidInputError for a request that does not fit, NoWordsError when words are asked for by name and the
        live generation has none.
        """
        _check(request, self._settings)
        return self._live.ask(lambda view: self._answer(view, request))

    def _answer(self, view: View, request: SearchRequest) -> SearchResult:
        declared = view.generation.attributes
        check_facets(request.facets, request.facet_limit, declared)
        mode = _mode(view, request)
        selection = Selection(
            limit=max(request.limit, COUNTED[mode] if request.facets else 0) + (SPARE if request.fields else 0),
            filter=parse_filter(request.filter, declared, self._settings.filter_limits),
            exclude_ids=frozenset(request.exclude_ids),
            min_score=request.min_score,
        )
        taste = self._taste(view, request)
        found = self._found(view, request, mode, taste, selection)
        answer = SearchResult(
            recommendation_id=new_recommendation_id(),
            items=self._page(found, request),
            generation=view.generation.name,
            strategy=mode,
            profile=taste.info,
            facets=self._facets(view, found.hits[: COUNTED[mode]], request) if request.facets else None,
        )
        if self._log is not None:
            self._log.add(logged(answer, request.user_id))
        return answer

    def _found(self, view: View, request: SearchRequest, mode: str, taste: Taste, selection: Selection) -> Found:
        query = request.query.strip()
        profile = None if taste.profile is None else taste.profile.vector
        text = None if mode == LEXICAL else view.encode(query)
        if mode == SEMANTIC and text is not None:
            vector = text if profile is None else blend(text, profile, request.personalization)
            hits, _ = nearest(self._ledger, view, vector, selection)
            return Found(hits=tuple(hits), sources=dict.fromkeys((hit.item_id for hit in hits), SEMANTIC))
        asked = wanted(
            mode,
            words=query_words(query),
            text=text,
            taste=profile,
            personalization=request.personalization,
            words_share=self._settings.search_words,
        )
        return best_matches(self._ledger, view, asked, selection)

    def _page(self, found: Found, request: SearchRequest) -> tuple[RecommendedItem, ...]:
        """The first hits; where fields are shown, those of them that the ledger still has."""
        shown: list[Hit] = list(found.hits[: request.limit])
        stored: Mapping[str, StoredItem] = {}
        if request.fields:
            # Few are ever missing: deletions that are not in the index yet are excluded from the query.
            shown, stored = still_there(self._ledger, found.hits[: request.limit + SPARE])
        return tuple(
            one
            for hit in shown[: request.limit]
            for one in labelled(([hit], stored), found.sources[hit.item_id], request.fields)
        )

    def _facets(self, view: View, hits: tuple[Hit, ...], request: SearchRequest) -> dict[str, Facet]:
        declared = view.generation.attributes
        stored = self._ledger.items.get_many([hit.item_id for hit in hits])
        attributes = [declared_attributes(one.item, declared) for one in stored.values()]
        return count_facets(attributes, request.facets, request.facet_limit, declared)

    def _taste(self, view: View, request: SearchRequest) -> Taste:
        if request.user_id is None or not request.personalization:
            return Taste(info=ProfileInfo())
        return self._tastes.of_user(view, request.user_id, with_seen=False)


def _mode(view: View, request: SearchRequest) -> str:
    has_words = view.collection.average_length is not None
    if request.mode is None:
        return HYBRID if has_words else SEMANTIC
    if request.mode != SEMANTIC and not has_words:
        raise NoWordsError(
            f"the live generation was built without words, which a {request.mode} search needs; reindex, or search "
            "with mode semantic"
        )
    return request.mode


def _check(request: SearchRequest, settings: Settings) -> None:
    if request.mode is not None and request.mode not in MODES:
        raise InvalidInputError("unknown_mode", f"mode is one of {', '.join(MODES)}", "mode")
    if not request.query.strip():
        raise InvalidInputError("empty_query", "query must say something", "query")
    if len(request.query) > MAX_QUERY_CHARS:
        raise InvalidInputError("query_too_long", f"query may have at most {MAX_QUERY_CHARS} characters", "query")
    check_limit(request.limit, settings)
    check_min_score(request.min_score)
    check_fields(request.fields)
    check_share(request.personalization, "personalization")
    if request.user_id is not None:
        check_id(request.user_id, "user_id")
