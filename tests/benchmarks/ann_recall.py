"""How much of what exact search finds the graph finds too, without a filter and under filters of several widths.

`python -m tests.benchmarks.ann_recall [--of books --of movies] [--points N]`: text vectors of the reference
catalogues, or unit vectors drawn around centres where none is named, in a Qdrant Edge collection with its graph built.
Where more points are asked for than there are texts, the rest lie between two of them. Queries are drawn as profiles
are: means of a few points. Prints recall@10 and the median time over 200 queries each, by random filters and by filters
that pass what lies on one side (as a category does); nothing is asserted.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ingest.documents import centred, document
from ingest.encoder.artifact import read_artifact
from ingest.encoder.onnx import OnnxEncoder
from ingest.files import file_source
from ingest.index import edge
from ingest.index.filters import Filter, Range
from ingest.index.protocol import Collection, CollectionSpec, Point, Query
from ingest.items import AttributeType
from ingest.readers import Progress, RowError
from ingest.settings import Settings
from tests.artifacts import default_artifact
from tests.reference import BOOK_ATTRIBUTES, MAPPINGS, MOVIE_ATTRIBUTES, reference_data

CENTRES, QUERIES, CUTOFF, PAGE = 500, 200, 10, 2_000
ATTRIBUTES = {"books": BOOK_ATTRIBUTES, "movies": MOVIE_ATTRIBUTES}
TEMPLATES = {"books": "{title}\n{authors}\n{categories}\n{text}", "movies": "{title}\n{categories}\n{text}"}
SHARES = (1.0, 0.5, 0.25, 0.1, 0.01, 0.001)


def texts(name: str) -> Iterator[str]:
    settings = Settings(attributes=ATTRIBUTES[name])
    file = file_source(str(reference_data(name) / "items.parquet"), mapping=MAPPINGS / f"{name}.toml")
    for row in file.items(settings, Progress()):
        if not isinstance(row, RowError):
            yield document(row.value, 1, TEMPLATES[name]).text


def embedded(name: str, kept: Path) -> np.ndarray:
    """The vectors of a reference catalogue, centred as a generation's are; kept in a file, as they take a minute."""
    path = kept / f"{name}.npy"
    if not path.exists():
        kept.mkdir(parents=True, exist_ok=True)
        found = OnnxEncoder(read_artifact(default_artifact()), threads=2).embed(list(texts(name)))
        mean = found.mean(axis=0)
        np.save(path, np.stack([centred(vector, mean) for vector in found]))
    return np.load(path)


def drawn(rng: np.random.Generator, n: int, noise: float, dimensions: int = 384) -> np.ndarray:
    centres = unit(rng.normal(size=(CENTRES, dimensions)))
    own = rng.normal(size=(n, dimensions)) * noise / np.sqrt(dimensions)
    return unit(centres[rng.integers(0, CENTRES, n)] + own)


def more(rng: np.random.Generator, vectors: np.ndarray, n: int) -> np.ndarray:
    """The vectors and, up to `n`, points between two of them."""
    first, second = (rng.integers(0, len(vectors), max(0, n - len(vectors))) for _ in range(2))
    share = rng.uniform(0.5, 0.9, size=(len(first), 1))
    return np.concatenate([vectors, unit(share * vectors[first] + (1 - share) * vectors[second])])[:n]


def profiles(rng: np.random.Generator, vectors: np.ndarray) -> np.ndarray:
    """Means of one to five points."""
    return unit(np.stack([vectors[rng.integers(0, len(vectors), 1 + n % 5)].mean(axis=0) for n in range(QUERIES)]))


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def recall(collection: Collection, queries: np.ndarray, filter_: Filter | None) -> tuple[float, float, float]:
    """Recall, and the median milliseconds of one approximate and of one exact search."""
    shares: list[float] = []
    times: dict[bool, list[float]] = {True: [], False: []}
    for query in queries:
        found = {}
        for exact in (True, False):
            started = time.perf_counter()
            hits = collection.query(Query(text=query, limit=CUTOFF, filter=filter_, exact=exact))
            times[exact].append((time.perf_counter() - started) * 1_000)
            found[exact] = {hit.item_id for hit in hits}
        shares.append(len(found[True] & found[False]) / max(1, len(found[True])))
    return float(np.mean(shares)), float(np.median(times[False])), float(np.median(times[True]))


def filled(index: edge.EdgeIndex, vectors: np.ndarray, rng: np.random.Generator) -> Collection:
    """A collection with its graph; `random` and `side` rank the points, one by chance and one by where they lie."""
    attributes = {"random": AttributeType.INTEGER, "side": AttributeType.INTEGER}
    collection = index.create("recall", CollectionSpec(dimensions=vectors.shape[1], attributes=attributes))
    chance = rng.permutation(len(vectors))
    side = np.argsort(np.argsort(-vectors @ vectors[rng.integers(len(vectors))]))
    for start in range(0, len(vectors), PAGE):
        rows = range(start, min(len(vectors), start + PAGE))
        collection.upsert(
            [
                Point(item_id=f"i{n}", text=vectors[n], attributes={"random": int(chance[n]), "side": int(side[n])})
                for n in rows
            ]
        )
    started = time.perf_counter()
    collection.optimise()
    print(f"graph of {len(vectors)} points in {time.perf_counter() - started:.0f} s, {collection.unindexed()} outside")
    return collection


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--of", action="append", choices=sorted(ATTRIBUTES), default=[])
    parser.add_argument("--points", type=int)
    parser.add_argument("--noise", type=float, default=1.2, help="length of what a text adds to its group's centre")
    parser.add_argument("--kept", type=Path, default=Path("build/vectors"))
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    if options.of:
        vectors = np.concatenate([embedded(name, options.kept) for name in options.of])
        vectors = more(rng, vectors, options.points or len(vectors))
    else:
        vectors = drawn(rng, options.points or 20_000, options.noise)
    with tempfile.TemporaryDirectory() as folder:
        index = edge.EdgeIndex(Path(folder))
        collection = filled(index, vectors, rng)
        queries = profiles(rng, vectors)
        for share in SHARES:
            for name in ("random", "side") if share < 1 else ("random",):
                below = Range(
                    attribute=name, type=AttributeType.INTEGER, operator="lt", value=int(share * len(vectors))
                )
                found, near_ms, exact_ms = recall(collection, queries, None if share == 1 else below)
                print(
                    f"{share:7.1%} pass ({name:6}): recall@{CUTOFF} {found:.4f}, {near_ms:.2f} ms, exact {exact_ms:.2f} ms"
                )
        index.close("recall")


if __name__ == "__main__":
    main()
