"""The catalogue as a map: every item at the two directions in which the text vectors differ most."""

from dataclasses import dataclass
from itertools import islice
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import eigsh

from ingest.chunks import chunks
from ingest.index.protocol import Collection
from ingest.store.ledger import Ledger
from serving.live import LiveIndex, View

MOST_ITEMS = 10_000
_PAGE = 1_000
_LEAST_REACH = 1e-6
_FEW = 8  # dimensions for which there is nothing to save


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one item lies; `x` and `y` are within -1..1."""

    item_id: str
    x: float
    y: float
    category: str | None
    title: str


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """The map of one generation. `items` says how many there are in all; a large catalogue is shown in part."""

    generation: str
    items: int
    places: tuple[Place, ...]


class Cartographer:
    """Draws the map of the live generation, once for each generation and size."""

    def __init__(self, ledger: Ledger, live: LiveIndex) -> None:
        self._ledger = ledger
        self._live = live
        self._lock = Lock()
        self._drawn: Landscape | None = None

    def draw(self) -> Landscape:
        """The map as it stands; drawn anew when the generation or its number of items has changed."""
        return self._live.ask(self._draw)

    def prepare(self) -> None:
        """Draw the map of a generation that has none yet, before somebody waits to see it."""
        if self._drawn is None or self._drawn.generation != self._live.current().generation.name:
            self.draw()

    def _draw(self, view: View) -> Landscape:
        count = view.collection.count()
        with self._lock:  # one request draws, the others wait for it
            drawn = self._drawn
            if drawn is None or (drawn.generation, drawn.items) != (view.generation.name, count):
                drawn = self._drawn = self._drawn_from(view, count)
            return drawn

    def _drawn_from(self, view: View, count: int) -> Landscape:
        vectors = _vectors(view.collection)
        positions = project(np.array(list(vectors.values()), dtype=np.float32)) if vectors else np.empty((0, 2))
        stored = self._ledger.items.get_many(vectors)
        places = [
            Place(
                item_id=item_id,
                x=round(float(x), 4),
                y=round(float(y), 4),
                category=stored[item_id].item.categories[0] if stored[item_id].item.categories else None,
                title=stored[item_id].item.title[:80],
            )
            for item_id, (x, y) in zip(vectors, positions, strict=True)
            if item_id in stored
        ]
        return Landscape(generation=view.generation.name, items=count, places=tuple(places))


def project(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first two principal components of `(n, d)` vectors, `(n, 2) float32`, each scaled into -1..1."""
    centred = vectors - vectors.mean(axis=0)
    flat = centred @ _directions(centred.T @ centred)
    reach = np.abs(flat).max(axis=0)
    # A direction in which nothing differs is rounding noise: all lie on its zero.
    return np.asarray(np.where(reach > _LEAST_REACH, flat / np.maximum(reach, _LEAST_REACH), 0.0), dtype=np.float32)


def _directions(products: NDArray[np.float32]) -> NDArray[np.float32]:
    """The two directions of a `(d, d)` matrix of products that vary most, `(d, 2)`, the first of them first."""
    dimensions = len(products)
    if dimensions <= _FEW or np.abs(products).max() < _LEAST_REACH:
        _, directions = np.linalg.eigh(products)  # ascending
        return np.asarray(directions[:, [-1, -2] if dimensions > 1 else [-1, -1]])
    # Only two of hundreds are wanted: a few products with the matrix instead of all its eigenvectors.
    start = np.ones(dimensions, dtype=products.dtype)  # the same catalogue gets the same map
    values, directions = eigsh(products, k=2, which="LA", v0=start)
    return np.asarray(directions[:, np.argsort(-values)])


def _vectors(collection: Collection) -> dict[str, NDArray[np.float32]]:
    ids = sorted(islice(collection.ids(), MOST_ITEMS))
    found: dict[str, NDArray[np.float32]] = {}
    for page in chunks(ids, _PAGE):
        found.update(collection.vectors(page))
    return found
