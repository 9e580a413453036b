"""Both engines behind the index protocol, and generated items and filters to try them with."""

import itertools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from qdrant_client import QdrantClient

from ingest.index.edge import EdgeIndex
from ingest.index.protocol import Collection, CollectionSpec, Index, Point, SparseVector
from ingest.index.server import ServerIndex
from ingest.items import AttributeType
from tests.processes import Program, answers, environment_with, free_port, soon

DIMENSIONS = 8
ATTRIBUTES = {
    "tag": AttributeType.KEYWORD,
    "year": AttributeType.INTEGER,
    "price": AttributeType.FLOAT,
    "free": AttributeType.BOOLEAN,
    "made": AttributeType.DATETIME,
    "place": AttributeType.GEO,
}
SPEC = CollectionSpec(dimensions=DIMENSIONS, attributes=ATTRIBUTES, average_length=5.0)


ENGINES = ["edge", "local", "http", *(["server"] if "AKIN_TEST_QDRANT_URL" in os.environ else [])]


@pytest.fixture(scope="module", params=ENGINES)
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """One index per engine and module; every test makes its own collection.

    `local` is the client's local mode, `http` the same behind the REST calls of a server, `server` a real one.
    """
    if request.param == "edge":
        index: Index = EdgeIndex(tmp_path_factory.mktemp("index"))
    elif request.param == "local":
        index = ServerIndex(QdrantClient(":memory:"))
    elif request.param == "http":
        index = ServerIndex(QdrantClient(url=request.getfixturevalue("stand_in"), check_compatibility=False))
    else:
        url, key = os.environ["AKIN_TEST_QDRANT_URL"], os.environ.get("AKIN_TEST_QDRANT_API_KEY")
        index = ServerIndex(QdrantClient(url=url, api_key=key), prefix=f"akin-test-{os.getpid()}-")
    yield index
    index.shut()


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a stand-in for a Qdrant server, in a process of its own."""
    folder, port = tmp_path_factory.mktemp("stand_in"), free_port()
    command = [sys.executable, "-m", "tests.qdrant_stand_in", str(port)]
    program = Program("qdrant", command, environment_with({}), folder / "qdrant.log")
    program.start()
    assert soon(lambda: answers(port)), program.said()
    yield f"http://127.0.0.1:{port}"
    program.kill()


@pytest.fixture
def edge_folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


_numbers = itertools.count()


def fresh_name() -> str:
    return f"c{next(_numbers)}"


@pytest.fixture
def collection(index: Index) -> Iterator[Collection]:
    name = fresh_name()
    yield index.create(name, SPEC)
    index.drop(name)


def unit_vectors(n: int, dimensions: int = DIMENSIONS, seed: int = 0) -> np.ndarray:
    """`(n, dimensions)` float32 of unit length."""
    vectors = np.random.default_rng(seed).normal(size=(n, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def best(vectors: np.ndarray, query: np.ndarray) -> list[str]:
    return [str(i) for i in np.argsort(-(vectors @ query), kind="stable")]


def points(vectors: np.ndarray, attributes: Sequence[Mapping[str, Any]] | None = None) -> list[Point]:
    """Row i as item `i`."""
    return [
        Point(
            item_id=str(i),
            text=vector,
            attributes=attributes[i] if attributes else {},
            taste=SparseVector(positions=(i, i + 1), weights=(0.5, 0.25)) if i % 2 else None,
        )
        for i, vector in enumerate(vectors)
    ]


# Small pools, so that generated filters often hit; each pool has the ends of its type.
_pools: dict[str, list[Any]] = {
    "tag": ["poetry", "", "Ünï😀", "a b", "x" * 300],
    "year": [0, -1, 1990, 1991, 2**53, -(2**53)],
    "price": [0.0, -0.0, 0.1, 3, 2.5e-320, -1.7e308],
    "free": [True, False],
    "made": ["2024-02-29T23:59:59.000001Z", "2024-03-01T01:00:00+01:00", "2024-03-01", "0001-01-01", 0, 1709251199.5],
    "place": [
        {"lat": lat, "lon": lon}
        for lat, lon in [(52.5, 13.4), (48.9, 2.4), (0, 180), (0, -180), (90, 0), (-89.95, 20), (-33.9, 151.2)]
    ],
}
_radii = [1.0, 20_500.0, 900_000.0, 9_000_000.0, 30_000_000.0]


def _value(name: str) -> st.SearchStrategy[Any]:
    one = st.sampled_from(_pools[name])
    return one if name in ("free", "place") else one | st.lists(one, max_size=3)


attributes_of_items = st.lists(
    st.fixed_dictionaries({}, optional={name: _value(name) for name in ATTRIBUTES}), min_size=1, max_size=12
)


def _condition(name: str) -> st.SearchStrategy[Any]:
    value = st.sampled_from(_pools[name])
    if name == "place":
        circle = st.tuples(value, st.sampled_from(_radii))
        return circle.map(lambda c: {"geo_radius": {"attribute": name, **c[0], "metres": c[1]}})
    operators = ["eq"] if name in ("tag", "free") else ["eq", "gt", "gte", "lt", "lte"]
    compared = st.tuples(st.sampled_from(operators), value).map(lambda pair: {pair[0]: {name: pair[1]}})
    return compared | st.lists(value, max_size=3).map(lambda values: {"in": {name: values}})


_conditions = st.sampled_from(sorted(ATTRIBUTES)).flatmap(_condition) | st.sampled_from(sorted(ATTRIBUTES)).map(
    lambda name: {"exists": name}
)


def _groups(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(parts, max_size=3)
    return several.map(lambda p: {"and": p}) | several.map(lambda p: {"or": p}) | parts.map(lambda part: {"not": part})


# As JSON trees, one group in another at most: deeper ones are tried where the tree is parsed.
filter_trees = _conditions | _groups(_conditions) | _groups(_conditions | _groups(_conditions))
