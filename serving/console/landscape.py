"""The catalogue as a map: every item at the two directions in which the text vectors differ most."""

from collections.abc import Mapping
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
_MOST_TITLE = 80
_LEAST_REACH = 1e-6
_FEW = 8  # dimensions for which there is nothing to save


@dataclass(slots=True)  # and neither frozen nor by keyword: ten thousand of them are made while somebody waits
class Place:
    """Where one item lies; `x` and `y` are within -1..1."""

    item_id: str
    x: float
    y: float
    category: str | None
    title: str


@dataclass(frozen=True, kw_only=True)
class _Drawing:
    """Where the vectors of one generation lie. What else is shown of their items is read when somebody looks."""

    generation: str
    items: int
    recorded: int  # this process's placements when it was drawn; those of others only show in the number of items
    positions: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """The map of one generation. `items` says how many there are in all; a large catalogue is shown in part."""

    generation: str
    items: int
    places: tuple[Place, ...]


class Cartographer:
    """Draws the map of the live generation, anew when that, its size or what this process placed has changed."""

    def __init__(self, ledger: Ledger, live: LiveIndex) -> None:
        self._ledger = ledger
        self._live = live
        self._lock = Lock()
        self._drawn: _Drawing | None = None

    def draw(self) -> Landscape:
        """The map with the items that the ledger has now, under the titles that they have now."""
        drawn = self._live.ask(self._draw)
        headings = self._ledger.items.headings(drawn.positions)
        places = [
            Place(item_id, x, y, headings[item_id].category, headings[item_id].title[:_MOST_TITLE])
            for item_id, (x, y) in drawn.positions.items()
            if item_id in headings
        ]
        return Landscape(generation=drawn.generation, items=drawn.items, places=tuple(places))

    def prepare(self) -> None:
        """Draw the map of a generation that has none yet, before somebody waits to see it."""
        if self._drawn is None or self._drawn.generation != self._live.current().generation.name:
            self._live.ask(self._draw)

    def _draw(self, view: View) -> _Drawing:
        recorded, count = self._ledger.placements.recorded, view.collection.count()
        with self._lock:  # one request draws, the others wait for it
            drawn = self._drawn
            key = (view.generation.name, count, recorded)
            if drawn is None or (drawn.generation, drawn.items, drawn.recorded) != key:
                positions = _positions(_vectors(view.collection))
                drawn = self._drawn = _Drawing(
                    generation=view.generation.name, items=count, recorded=recorded, positions=positions
                )
            return drawn


def _positions(vectors: Mapping[str, NDArray[np.float32]]) -> dict[str, tuple[float, float]]:
    if not vectors:
        return {}
    flat = project(np.array(list(vectors.values()), dtype=np.float32))
    return {item_id: (round(float(x), 4), round(float(y), 4)) for item_id, (x, y) in zip(vectors, flat, strict=True)}


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
