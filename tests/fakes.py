"""Stand-ins for what is slow or outside: an encoder that hashes words, and a whole installation in a folder."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import update

from ingest.encoder.protocol import Vectors
from ingest.errors import ArtifactError
from ingest.events import Event
from ingest.index.edge import EdgeIndex
from ingest.index.protocol import CollectionSpec
from ingest.items import Item
from ingest.queue import NoQueue, Queue
from ingest.reconcile import Reconciler
from ingest.settings import Settings
from ingest.store.generations import NewGeneration
from ingest.store.ledger import Ledger, open_ledger
from ingest.store.pending import MICROSECONDS
from ingest.store.records import Generation, GenerationState
from ingest.store.tables import pending
from ingest.submit import delete_items, submit_events, submit_items
from serving.live import LiveIndex
from serving.log_writer import LogWriter
from serving.popular import Popularity
from serving.rate_limits import RateLimits
from serving.recommend import Recommender
from serving.search import Searcher
from serving.services import Services
from serving.similar import SimilarItems
from serving.tastes import Tastes
from serving.users import Users


class HashingEncoder:
    """A bag of hashed words as a unit vector: texts that share words are near, and equal texts are equal."""

    def __init__(self, dimensions: int = 16, seed: str = "fake") -> None:
        self.dimensions = dimensions
        self.seed = seed
        self.fingerprint = hashlib.sha256(f"{seed}-{dimensions}".encode()).hexdigest()

    def embed(self, texts: Sequence[str]) -> Vectors:
        return np.stack([self._one(text) for text in texts]).astype(np.float32)

    def _one(self, text: str) -> Vectors:
        total = sum((self._word(word) for word in text.lower().split()), self._word(""))
        return total / np.linalg.norm(total)

    def _word(self, word: str) -> Any:
        digest = hashlib.sha256(f"{self.seed}:{word}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "little")).standard_normal(self.dimensions)


class RecordingEncoder(HashingEncoder):
    """Remembers what it embedded, and does on the way what a test asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[str]] = []
        self.before: Callable[[], None] = lambda: None

    def embed(self, texts: Sequence[str]) -> Any:
        self.calls.append(list(texts))
        self.before()
        if any("untokenizable" in text for text in texts):
            raise ValueError("the tokenizer failed")
        return super().embed(texts)

    @property
    def texts(self) -> list[str]:
        return [text for call in self.calls for text in call]


@dataclass
class FakeEncoders:
    """An encoder library that holds what it is given."""

    encoders: dict[str, HashingEncoder] = field(default_factory=dict)

    def add(self, encoder: HashingEncoder) -> HashingEncoder:
        self.encoders[encoder.fingerprint] = encoder
        return encoder

    def get(self, fingerprint: str) -> HashingEncoder:
        if fingerprint not in self.encoders:
            raise ArtifactError("there is no such encoder")
        return self.encoders[fingerprint]


@dataclass
class FakeClock:
    """A clock that moves when told to."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class RecordingQueue:
    """Keeps every message; takes none while it is away."""

    messages: list[list[str]] = field(default_factory=list)
    away: bool = False

    def wake(self, item_ids: Sequence[str]) -> bool:
        if not self.away:
            self.messages.append(list(item_ids))
        return not self.away

    def ping(self) -> None: ...


def let_time_pass(ledger: Ledger, seconds: float) -> None:
    """Bring the end of every lease, and when what waits is due, so much nearer: no test waits for it, or is late."""
    with ledger.pending._database.write() as connection:
        waited = {column: column - int(seconds * MICROSECONDS) for column in (pending.c.leased_until, pending.c.due_at)}
        connection.execute(update(pending).values(waited))


@dataclass
class Installation:
    """A real ledger and a real embedded index with a fake encoder; writes are placed at once when told so."""

    settings: Settings
    ledger: Ledger
    index: EdgeIndex
    encoders: FakeEncoders
    queue: Queue
    reconciler: Reconciler
    live: LiveIndex
    tastes: Tastes
    popularity: Popularity
    clock: FakeClock  # of what is popular
    log: LogWriter
    recommender: Recommender
    searcher: Searcher
    similar: SimilarItems
    users: Users

    def begin_live(self, name: str, encoder: HashingEncoder) -> Generation:
        """A first, empty, live generation."""
        return self._begin(name, encoder, GenerationState.LIVE)

    def begin_next(self, name: str, encoder: HashingEncoder) -> Generation:
        """Another generation, filled with everything; `go_live` makes it the live one."""
        generation = self._begin(name, encoder, GenerationState.BUILDING)
        self.ledger.generations.catch_up(name, mean=None, items=0, job_id=name)
        self.place_all()
        return generation

    def go_live(self, name: str) -> None:
        previous = self.ledger.generations.live()
        self.ledger.generations.go_live(name, job_id=name)
        if previous is not None:
            self.index.close(previous.name)

    def add_items(self, items: Sequence[Item]) -> None:
        submit_items(self.ledger, self.queue, self.settings, items)
        self.place_all()

    def delete_items(self, item_ids: Sequence[str], *, place: bool = True) -> None:
        delete_items(self.ledger, self.queue, self.settings, item_ids)
        if place:
            self.place_all()

    def add_events(self, events: Sequence[Event]) -> None:
        submit_events(self.ledger, self.settings, events)
        self.clock.advance(60.0)  # what is popular is counted anew

    def place_all(self) -> None:
        while True:
            due = [item_id for item_id, _ in self.ledger.pending.due(1_000, put_off=0)]
            if not due:
                self.ledger.pending.make_due()
                due = [item_id for item_id, _ in self.ledger.pending.due(1_000, put_off=0)]
            if not due:
                return
            self.reconciler.reconcile(due)

    def services(self, **replaced: Any) -> Services:
        parts: dict[str, Any] = {
            "settings": self.settings,
            "ledger": self.ledger,
            "live": self.live,
            "rate_limits": RateLimits(self.settings),
            "queue": self.queue,
            "recommender": self.recommender,
            "searcher": self.searcher,
            "similar": self.similar,
            "users": self.users,
            "reindex": lambda: self.begin_next("next", next(iter(self.encoders.encoders.values()))),
            "activate": self._activate,
            "discard": self._discard,
        }
        return Services(**{**parts, **replaced})

    def _activate(self, name: str) -> Generation:
        self.ledger.generations.get(name)
        self.go_live(name)
        return self.ledger.generations.get(name)

    def _discard(self, name: str) -> None:
        self.index.drop(name)
        self.ledger.generations.forget(name)

    def _begin(self, name: str, encoder: HashingEncoder, state: GenerationState) -> Generation:
        self.encoders.add(encoder)
        attributes = self.settings.attributes
        new = NewGeneration(
            name=name, fingerprint=encoder.fingerprint, dimensions=encoder.dimensions, attributes=attributes
        )
        generation = self.ledger.generations.begin(new, state)
        self.index.create(
            name, CollectionSpec(dimensions=encoder.dimensions, attributes=attributes, average_length=10.0)
        )
        return generation


@contextmanager
def installation(
    folder: Path, *, refresh_seconds: float = 0.0, live: bool = True, encoder: Any = None, **settings: Any
) -> Iterator[Installation]:
    """An installation under `folder`, with an empty live generation `first` unless told otherwise."""
    chosen = Settings(home=folder, min_free_bytes=0, attributes={"year": "integer", "free": "boolean"}, **settings)
    with ExitStack() as stack:
        ledger = stack.enter_context(open_ledger(chosen.ledger_url))
        index = EdgeIndex(folder / "index")
        stack.callback(lambda: [index.close(name) for name in index.names()])
        encoders = FakeEncoders()
        log = stack.enter_context(LogWriter(ledger, interval_seconds=0.05))
        made = _wired(chosen, ledger, index, encoders, log, refresh_seconds)
        if live:
            made.begin_live("first", encoder or HashingEncoder())
        yield made


def _wired(
    settings: Settings,
    ledger: Ledger,
    index: EdgeIndex,
    encoders: FakeEncoders,
    log: LogWriter,
    refresh_seconds: float,
) -> Installation:
    live = LiveIndex(ledger, index, encoders, refresh_seconds=refresh_seconds)
    clock = FakeClock()
    tastes, popularity = Tastes(ledger, settings), Popularity(ledger, settings, clock=clock)
    recommender = Recommender(ledger, live, settings, tastes=tastes, popularity=popularity, log=log)
    return Installation(
        settings=settings,
        ledger=ledger,
        index=index,
        encoders=encoders,
        queue=NoQueue(),
        reconciler=Reconciler(settings, ledger, index, encoders),
        live=live,
        tastes=tastes,
        popularity=popularity,
        clock=clock,
        log=log,
        recommender=recommender,
        searcher=Searcher(ledger, live, settings, tastes=tastes, log=log),
        similar=SimilarItems(ledger, live, settings, tastes=tastes, log=log),
        users=Users(ledger, live, tastes.learned, recommender),
    )
