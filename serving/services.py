"""Everything the HTTP API needs, put together by the composition root and handed over as one value."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

from ingest.build import BuildProgress
from ingest.encoder.artifact import Manifest
from ingest.errors import AkinError
from ingest.ledger_metrics import LedgerMetrics
from ingest.metrics import CollectorRegistry, registry
from ingest.queue import Queue
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.store.records import Generation
from serving.console.landscape import Cartographer
from serving.console.overview import Overview
from serving.keyring import Keyring
from serving.live import LiveIndex
from serving.rate_limits import RateLimits
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
    queue: Queue
    recommender: Recommender
    searcher: Searcher
    similar: SimilarItems
    users: Users
    rate_limits: RateLimits
    reindex: Callable[[], Generation]  # begins a rebuild and returns the generation that it will fill
    activate: Callable[[str], Generation]  # makes a complete generation live
    discard: Callable[[str], None]  # deletes a generation that is not at work
    progress: Callable[[], BuildProgress | None] = lambda: None  # of the build that this process runs
    manifest: Callable[[str], Manifest | None] = lambda _: None  # of an encoder, by fingerprint; None: not at hand
    local_key: str | None = None  # what commands on this machine show; None: there are none
    checks: Mapping[str, Callable[[], None]] = field(default_factory=dict)  # more for /readyz; each raises if not so

    @cached_property
    def reads_inline(self) -> bool:
        """Whether reads stay on the event loop: nothing waits on a network, and a thread would only add its switch."""
        return self.settings.embedded and self.settings.database_url is None

    @cached_property
    def keyring(self) -> Keyring:
        """Who may ask."""
        return Keyring(self.ledger, public=self.settings.public, local_key=self.local_key)

    @cached_property
    def overview(self) -> Overview:
        """The counts that the console and whoever watches ask for."""
        return Overview(
            self.ledger, self.live, self.settings, queue=self.queue, progress=self.progress, manifest=self.manifest
        )

    @cached_property
    def metrics(self) -> CollectorRegistry:
        """Everything that is counted."""
        return registry(LedgerMetrics(self.ledger, self.queue))

    @cached_property
    def cartographer(self) -> Cartographer:
        """Draws the catalogue as a map."""
        return Cartographer(self.ledger, self.live)

    def warm(self) -> None:
        """Load the encoder now, so that the first search need not wait; and draw the map, where nothing is fetched.

        Raises AkinError where nothing is live yet, or the index or the encoder is not at hand.
        """
        self.live.current().encoder.embed(["warm"])
        if self.reads_inline:  # elsewhere each of several servers would fetch thousands of vectors unasked
            self.prepare_map()

    def prepare_map(self) -> None:
        """Draw the map of the live generation, when there is one and it has none."""
        with suppress(AkinError):
            self.cartographer.prepare()
