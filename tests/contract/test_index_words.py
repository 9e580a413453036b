"""What every index must do with words, run over both engines: write, replace, delete, and find by them."""

import json
from pathlib import Path

import index_fixtures as given
import numpy as np
import pytest

from ingest.errors import InvalidInputError
from ingest.index.edge import EdgeIndex
from ingest.index.filter_parser import parse_filter
from ingest.index.protocol import Collection, CollectionSpec, Index, NoWordsError, Point, Query, SparseVector

pytestmark = [
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
]

TERMS = 15
LAST = 2**32 - 1  # the largest position


def words(**weights: float) -> SparseVector:
    return SparseVector(positions=tuple(int(name[1:]) for name in weights), weights=tuple(weights.values()))


def fill(collection: Collection, n: int = 200) -> np.ndarray:
    """Points whose words are the rows of the returned matrix, with a taste each."""
    weights = np.random.default_rng(3).random((n, TERMS)).astype(np.float32)
    weights[np.random.default_rng(4).random((n, TERMS)) < np.linspace(0.2, 0.97, TERMS)] = 0
    texts = given.unit_vectors(n)
    collection.upsert(
        [
            Point(
                item_id=str(i),
                text=texts[i],
                attributes={"year": i % 7},
                taste=words(t1=1.0),
                words=SparseVector(
                    positions=tuple(np.flatnonzero(row).tolist()), weights=tuple(row[row != 0].tolist())
                ),
            )
            for i, row in enumerate(weights)
        ]
    )
    return weights


def bm25(weights: np.ndarray, asked: dict[int, float]) -> np.ndarray:
    found = (weights > 0).sum(axis=0)
    rarity = np.log(1 + (len(weights) - found + 0.5) / (found + 0.5))
    return sum(weights[:, term] * rarity[term] * weight for term, weight in asked.items())


def test_a_query_by_words_weighs_each_by_its_rarity(collection: Collection) -> None:
    weights = fill(collection)
    scores = bm25(weights, {2: 1.0, 9: 2.0, 14: 1.0})

    hits = collection.query(Query(words=words(w2=1.0, w9=2.0, w14=1.0, w77=1.0), limit=50))

    assert [hit.item_id for hit in hits] == [str(i) for i in np.argsort(-scores, kind="stable")[:50]]
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(scores)[::-1][:50], rtol=1e-4)
    assert collection.query(Query(words=words(w77=1.0), limit=5)) == []


def test_filters_exclusions_thresholds_and_given_items_hold_for_words(collection: Collection) -> None:
    scores = bm25(fill(collection), {3: 1.0})
    order = [int(i) for i in np.argsort(-scores, kind="stable")]
    excluded = {str(i) for i in order[:120:2]}
    least = float(np.median(scores[scores > 0])) + 1e-5
    allowed = [str(i) for i in order if i % 7 <= 2 and str(i) not in excluded and scores[i] >= least]
    young = parse_filter({"lte": {"year": 2}}, given.ATTRIBUTES)
    query = {"words": words(w3=1.0), "limit": 200, "filter": young, "exclude_ids": sorted(excluded)}

    hits = collection.query(Query(**query, min_score=least, with_vectors=True))
    among = collection.query(Query(**query, min_score=least, among=allowed[::2]))

    assert [hit.item_id for hit in hits] == allowed
    assert all(hit.text is not None for hit in hits)
    assert [hit.item_id for hit in among] == allowed[::2]


def test_an_upsert_brings_the_words_it_has_and_drops_those_before(collection: Collection) -> None:
    fill(collection, 10)
    text = given.unit_vectors(1)[0]

    collection.upsert(
        [Point(item_id="1", text=text, attributes={}, words=SparseVector(positions=(LAST,), weights=(1,)))]
    )
    collection.upsert([Point(item_id="2", text=text, attributes={})])
    collection.delete(["3"])

    hits = collection.query(Query(words=SparseVector(positions=(LAST,), weights=(1.0,)), limit=9))
    assert [hit.item_id for hit in hits] == ["1"]
    everything = SparseVector(positions=tuple(range(TERMS)), weights=(1.0,) * TERMS)
    assert not {"1", "2", "3"} & {hit.item_id for hit in collection.query(Query(words=everything, limit=9))}


def test_setting_tastes_leaves_words_alone(collection: Collection) -> None:
    fill(collection, 30)
    asked = Query(words=words(w0=1.0, w1=1.0), limit=30)
    before = {hit.item_id: hit.score for hit in collection.query(asked)}

    collection.set_taste({"0": words(t5=2.0), "1": SparseVector(positions=(), weights=())})

    assert {hit.item_id: hit.score for hit in collection.query(asked)} == pytest.approx(before)
    assert [hit.item_id for hit in collection.query(Query(taste=words(t5=1.0), limit=9))] == ["0"]


def test_a_collection_without_words_says_so(index: Index) -> None:
    name, text = given.fresh_name(), given.unit_vectors(1)[0]
    collection = index.create(name, CollectionSpec(dimensions=given.DIMENSIONS, attributes={}))

    collection.upsert([Point(item_id="a", text=text, attributes={})])

    assert collection.average_length is None
    with pytest.raises(NoWordsError, match="reindex"):
        collection.query(Query(words=words(w1=1.0), limit=1))
    with pytest.raises(InvalidInputError, match="reindex"):
        collection.upsert([Point(item_id="b", text=text, attributes={}, words=words(w1=1.0))])
    index.drop(name)


def test_the_average_length_comes_back_with_the_collection(index: Index) -> None:
    name = given.fresh_name()
    index.create(name, given.SPEC)
    index.close(name)

    assert index.open(name).average_length == given.SPEC.average_length
    index.drop(name)


def test_a_folder_made_before_there_were_words_still_opens(edge_folder: Path) -> None:
    index, text = EdgeIndex(edge_folder), given.unit_vectors(1)[0]
    index.create("old", CollectionSpec(dimensions=given.DIMENSIONS, attributes={})).upsert(
        [Point(item_id="a", text=text, attributes={})]
    )
    index.close("old")
    spec = edge_folder / "old" / "spec.json"
    stored = json.loads(spec.read_bytes())
    del stored["average_length"]
    spec.write_text(json.dumps(stored))

    opened = index.open("old")

    assert opened.average_length is None
    assert [hit.item_id for hit in opened.query(Query(text=text, limit=1))] == ["a"]
    index.close("old")


@pytest.mark.parametrize(
    "bad",
    [
        SparseVector(positions=(1, 1), weights=(0.1, 0.2)),
        SparseVector(positions=(1,), weights=(float("nan"),)),
        SparseVector(positions=(2**32,), weights=(0.5,)),
    ],
)
def test_words_that_could_harm_the_engine_are_refused(collection: Collection, bad: SparseVector) -> None:
    with pytest.raises(InvalidInputError):
        collection.query(Query(words=bad, limit=1))
    with pytest.raises(InvalidInputError, match="the bad one"):
        collection.upsert([Point(item_id="the bad one", text=given.unit_vectors(1)[0], attributes={}, words=bad)])
