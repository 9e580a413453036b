"""Everything the HTTP API needs, put together by the composition root and handed over as one value."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ingest.queue import Queue
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.store.records import Generation
from serving.live import Encoders, LiveIndex
from serving.recommend import Recommender
from serving.search import Searcher
from serving.similar import SimilarItems
from serving.users import Users


@dataclass(frozen=True, kw_only=True)
class Services:
    """The parts of one running installation. Whoever builds this closes them."""

    settings: Settings
    ledger: Ledger
    live: LiveIndex
    encoders: Encoders
    queue: Queue
    recommender: Recommender
    searcher: Searcher
    similar: SimilarItems
    users: Users
    reindex: Callable[[], Generation]  # begins a rebuild and returns the generation that it will fill
    activate: Callable[[str], Generation]  # makes a complete generation live
    checks: Mapping[str, Callable[[], None]] = field(
        default_factory=dict
    )  # more for /readyz; each raises when it fails

    @cached_property
    def reads_inline(self) -> bool:
        """Whether reads stay on the event loop: nothing waits on a network, and a thread would only add its switch."""
        return self.settings.embedded and self.settings.database_url is None
