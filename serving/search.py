"""Search by meaning: the query text's vector against the items', leaned towards a user's taste when one is named."""

from dataclasses import dataclass
from typing import Any

from ingest.errors import InvalidInputError
from ingest.index.filter_parser import parse_filter
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

SEMANTIC = "semantic"
MODES = (SEMANTIC,)
MAX_QUERY_CHARS = 2_000


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """What is asked for; `personalization` 0 ignores the user, 1 ignores the query."""

    query: str
    mode: str = SEMANTIC
    user_id: str | None = None
    personalization: float = 0.2
    limit: int = 10
    filter: Any = None
    exclude_ids: tuple[str, ...] = ()
    min_score: float | None = None
    fields: tuple[str, ...] = ()


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

    def search(self, request: SearchRequest) -> Recommendations:
        """The items whose texts are nearest to the query. Raises InvalidInputError for a request that does not fit."""
        _check(request, self._settings)
        return self._live.ask(lambda view: self._answer(view, request))

    def _answer(self, view: View, request: SearchRequest) -> Recommendations:
        selection = Selection(
            limit=request.limit,
            filter=parse_filter(request.filter, view.generation.attributes),
            exclude_ids=frozenset(request.exclude_ids),
            min_score=request.min_score,
            with_items=bool(request.fields),
        )
        vector = view.encode(request.query.strip())
        taste = self._taste(view, request)
        if taste.profile is not None:
            vector = blend(vector, taste.profile.vector, request.personalization)
        answer = Recommendations(
            recommendation_id=new_recommendation_id(),
            items=labelled(nearest(self._ledger, view, vector, selection), request.mode, request.fields),
            generation=view.generation.name,
            strategy=request.mode,
            profile=taste.info,
        )
        if self._log is not None:
            self._log.add(logged(answer, request.user_id))
        return answer

    def _taste(self, view: View, request: SearchRequest) -> Taste:
        if request.user_id is None or not request.personalization:
            return Taste(info=ProfileInfo())
        return self._tastes.of_user(view, request.user_id, with_seen=False)


def _check(request: SearchRequest, settings: Settings) -> None:
    if request.mode not in MODES:
        raise InvalidInputError("mode_not_available", f"mode is one of {', '.join(MODES)}", "mode")
    if not request.query.strip():
        raise InvalidInputError("empty_query", "query must say something", "query")
    if len(request.query) > MAX_QUERY_CHARS:
        raise InvalidInputError("query_too_long", f"query may have at most {MAX_QUERY_CHARS} characters", "query")
    check_limit(request.limit, settings)
    check_fields(request.fields)
    check_share(request.personalization, "personalization")
    if request.user_id is not None:
        check_id(request.user_id, "user_id")
