"""What the rest of akin may ask of a vector index, in the recommender's own words. No vendor types here."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol
from uuid import UUID

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ingest.errors import ConflictError, UnavailableError
from ingest.index.filters import Filter
from ingest.items import AttributeType, AttributeValue

Vector = NDArray[np.float32]


_NAMESPACE = UUID("6f0a1c5e-64f4-5b0e-9d57-1c1f6d0f9a11")


class UnreadableCollectionError(UnavailableError):
    """The stored collection is damaged and cannot be opened; set it aside and rebuild it from the ledger."""

    code = "unreadable_collection"


class NoWordsError(ConflictError):
    """The collection was made before words were kept: reindex, and it can be searched by words."""

    code = "no_words"


@dataclass(frozen=True, kw_only=True)
class SparseVector:
    """Positions and their weights, same length; positions are unique."""

    positions: tuple[int, ...]
    weights: tuple[float, ...]


NO_TASTE = SparseVector(positions=(), weights=())
NO_WORDS = SparseVector(positions=(), weights=())


@dataclass(frozen=True, kw_only=True)
class CollectionSpec:
    """What a collection must be able to hold and filter by."""

    dimensions: int
    attributes: Mapping[str, AttributeType]
    average_length: float | None = None  # words per item that its word weights are made by; None: it holds no words


@dataclass(frozen=True, kw_only=True)
class Point:
    """One item as the index holds it: unit text vector, optional taste and word vectors, declared attributes."""

    item_id: str
    text: Vector  # (dimensions,) float32, finite, unit length
    attributes: Mapping[str, AttributeValue]
    taste: SparseVector | None = None
    words: SparseVector | None = None  # by `ingest.words`; only where the spec has an average length


@dataclass(frozen=True, kw_only=True)
class Query:
    """The best items by dot product with `text`, `taste` or `words` that pass `filter` and are not in `exclude_ids`.

    Exactly one of the three is given. By taste and by words, items whose score is 0 are not found: they share no
    position with it. By words, each position counts times its inverse document frequency in this collection,
    `ln(1 + (n - df + 0.5) / (df + 0.5))`, which makes the score BM25; the engine may count lately deleted points.
    """

    text: Vector | None = None
    taste: SparseVector | None = None
    words: SparseVector | None = None
    limit: int
    filter: Filter | None = None
    exclude_ids: Sequence[str] = ()
    among: Sequence[str] | None = None  # only these items: how given items are scored, exactly
    min_score: float | None = None
    exact: bool = False  # True scans everything: what approximate search is measured against
    with_vectors: bool = False


class Hit(Struct, frozen=True, kw_only=True, eq=False):
    """One answer of a query; `text` is there when vectors were asked for. A struct, as each answer makes many."""

    item_id: str
    score: float
    text: Vector | None = None


@lru_cache(maxsize=65_536)
def point_id(item_id: str) -> UUID:
    """UUIDv5 of the item id in akin's own namespace: an item is the same point in every collection and engine."""
    # Cached because histories and exclusions name the same items again and again: hashing 1,000 ids takes 8 ms.
    name = item_id.encode("utf-8", "surrogatepass")
    return UUID(bytes=hashlib.sha1(_NAMESPACE.bytes + name, usedforsecurity=False).digest()[:16], version=5)


class Collection(Protocol):
    """One generation's points. Reads and writes may come from several threads."""

    @property
    def average_length(self) -> float | None:
        """The spec's average length; None: it holds no words, and a query by words is refused."""
        ...

    def upsert(self, points: Sequence[Point]) -> None:
        """Insert or replace; durable when it returns.

        Raises InvalidInputError naming the item when a point does not fit the spec (then nothing is applied), and
        StorageFullError when the disk has no room for writes.
        """
        ...

    def set_taste(self, weights: Mapping[str, SparseVector]) -> None:
        """Replace the taste vectors of those items and nothing else of them; an empty one takes it away.

        Ids that are not there are no error. Durable when it returns. Raises InvalidInputError and StorageFullError as
        `upsert` does.
        """
        ...

    def delete(self, item_ids: Sequence[str]) -> None:
        """Remove; ids that are not there are no error. Durable when it returns."""
        ...

    def query(self, query: Query) -> list[Hit]:
        """Best first; ties in any order. Never fewer than `limit` when enough points pass (and share a position)."""
        ...

    def vectors(self, item_ids: Sequence[str]) -> dict[str, Vector]:
        """The text vectors of those ids that are there."""
        ...

    def matching_ids(self, item_ids: Sequence[str], filter_: Filter | None) -> set[str]:
        """Those of `item_ids` that are there and pass the filter."""
        ...

    def count(self) -> int:
        """How many points there are."""
        ...

    def unindexed(self) -> int:
        """How many points are found by scanning only although they are enough for a graph: what a rebuild would mend.

        A collection so small that scanning is as fast as a graph (10,000 points) never gets one and answers 0.
        """
        ...

    def ids(self) -> Iterable[str]:
        """Every item id, in any order."""
        ...

    def optimise(self) -> None:
        """Build the graph, or let the server begin to; `unindexed` says when that is done. Repeating it is harmless.

        In process it may take minutes and block everything: never call it where queries are served.
        """
        ...


class Index(Protocol):
    """The engine: any number of collections, by name."""

    def create(self, name: str, spec: CollectionSpec, *, loading: bool = False) -> Collection:
        """Make an empty collection with its payload indexes and open it; replaces nothing.

        With `loading`, a graph that would grow with every point waits for `optimise`.
        Raises ConflictError when the name is taken, SettingsError when it is not `[a-z0-9][a-z0-9_-]{0,62}`.
        """
        ...

    def open(self, name: str) -> Collection:
        """The one shared handle of this process.

        Raises NotFoundError; UnavailableError when another process holds it or the engine does not answer;
        UnreadableCollectionError when what is stored is damaged, which only a rebuild repairs.
        """
        ...

    def close(self, name: str) -> None:
        """Let go of the handle, if it is open, after the calls that run on it; the collection stays.

        Later calls on the old handle raise UnavailableError: whoever needs the collection asks `open` again.
        """
        ...

    def drop(self, name: str) -> None:
        """Delete the collection and what it stored; no error when it is not there."""
        ...

    def quarantine(self, name: str) -> None:
        """Move what cannot be read out of the way so that its name is free; kept where the engine can keep it."""
        ...

    def names(self) -> list[str]:
        """Every collection there is, open or not."""
        ...

    def shut(self) -> None:
        """Close every handle and whatever connects to the engine; nothing may be asked any more."""
        ...
