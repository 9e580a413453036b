"""What every index must do, run over Qdrant Edge and over qdrant-client (its local mode stands in for a server)."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import index_fixtures as given
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import given as for_all
from index_fixtures import best

from ingest.errors import ConflictError, InvalidInputError, NotFoundError, SettingsError, UnavailableError
from ingest.index import filters as f
from ingest.index.edge import EdgeIndex
from ingest.index.engines import open_index
from ingest.index.filter_parser import parse_filter
from ingest.index.filters import matches
from ingest.index.protocol import Collection, CollectionSpec, Index, Point, Query, SparseVector
from ingest.items import AttributeType
from ingest.settings import Settings

# What the client's local mode says about itself; there is nothing to do about it.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
]

property_settings = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


# What is written can be read


def test_points_are_counted_listed_and_read_back(collection: Collection) -> None:
    vectors = given.unit_vectors(300)

    collection.upsert(given.points(vectors))

    assert collection.count() == 300
    assert collection.unindexed() == 0
    assert set(collection.ids()) == {str(i) for i in range(300)}
    read = collection.vectors(["7", "299", "nobody"])
    assert set(read) == {"7", "299"}
    np.testing.assert_allclose(read["7"], vectors[7], atol=1e-7)
    assert read["7"].dtype == np.float32


def test_more_ids_than_a_page_are_all_listed(collection: Collection) -> None:
    collection.upsert(given.points(given.unit_vectors(2_300)))

    ids = list(collection.ids())

    assert len(ids) == len(set(ids)) == 2_300


def test_an_upsert_replaces_vector_and_attributes(collection: Collection) -> None:
    vectors = given.unit_vectors(2)
    collection.upsert([Point(item_id="a", text=vectors[0], attributes={"tag": "old", "year": 1})])

    collection.upsert([Point(item_id="a", text=vectors[1], attributes={"tag": "new"})])

    assert collection.count() == 1
    np.testing.assert_allclose(collection.vectors(["a"])["a"], vectors[1], atol=1e-7)
    assert collection.matching_ids(["a"], parse_filter({"eq": {"tag": "new"}}, given.ATTRIBUTES)) == {"a"}
    assert collection.matching_ids(["a"], parse_filter({"eq": {"tag": "old"}}, given.ATTRIBUTES)) == set()
    assert collection.matching_ids(["a"], parse_filter({"exists": "year"}, given.ATTRIBUTES)) == set()


def test_deleted_points_are_gone_and_unknown_ids_are_no_error(collection: Collection) -> None:
    vectors = given.unit_vectors(5)
    collection.upsert(given.points(vectors))

    collection.delete(["0", "3", "nobody"])
    collection.delete([])

    assert set(collection.ids()) == {"1", "2", "4"}
    assert {hit.item_id for hit in collection.query(Query(text=vectors[0], limit=10))} == {"1", "2", "4"}


def test_nothing_written_is_no_error(collection: Collection) -> None:
    collection.upsert([])

    assert collection.count() == 0
    assert collection.query(Query(text=given.unit_vectors(1)[0], limit=3)) == []
    assert list(collection.ids()) == []
    assert collection.vectors([]) == {}
    assert collection.matching_ids([], None) == set()


@pytest.mark.parametrize("item_id", ["x" * 300, "../../etc", "a/b?c#d", "日本語 😀", " ", "1"])
def test_any_printable_id_comes_back_as_it_was(collection: Collection, item_id: str) -> None:
    vector = given.unit_vectors(1)[0]

    collection.upsert([Point(item_id=item_id, text=vector, attributes={})])

    assert [hit.item_id for hit in collection.query(Query(text=vector, limit=1))] == [item_id]
    assert collection.matching_ids([item_id], None) == {item_id}


# Queries


def test_answers_are_the_nearest_with_the_dot_product_as_score(collection: Collection) -> None:
    vectors = given.unit_vectors(200)
    collection.upsert(given.points(vectors))
    query = 2.5 * given.unit_vectors(1, seed=1)[0]  # a query need not have unit length

    for exact in (True, False):
        hits = collection.query(Query(text=query, limit=20, exact=exact))

        assert [hit.item_id for hit in hits] == best(vectors, query)[:20]
        np.testing.assert_allclose([hit.score for hit in hits], np.sort(vectors @ query)[::-1][:20], atol=1e-5)
        assert all(hit.text is None for hit in hits)


def test_a_score_that_equals_the_threshold_is_kept(collection: Collection) -> None:
    vectors = given.unit_vectors(50)
    collection.upsert(given.points(vectors))
    everything = collection.query(Query(text=vectors[0], limit=50))
    threshold = everything[10].score

    hits = collection.query(Query(text=vectors[0], limit=50, min_score=threshold))

    assert [hit.item_id for hit in hits] == [hit.item_id for hit in everything[:11]]


def test_vectors_come_with_the_hits_when_asked_for(collection: Collection) -> None:
    vectors = given.unit_vectors(20)
    collection.upsert(given.points(vectors))

    for hit in collection.query(Query(text=vectors[3], limit=5, with_vectors=True)):
        assert hit.text is not None
        np.testing.assert_allclose(hit.text, vectors[int(hit.item_id)], atol=1e-7)


@pytest.mark.parametrize("excluded", [0, 1, 50, 100, 101, 150, 290, 300])
def test_exclusions_never_shorten_an_answer_while_there_is_enough(collection: Collection, excluded: int) -> None:
    vectors = given.unit_vectors(300)
    collection.upsert(given.points(vectors))
    order = best(vectors, vectors[0])

    # The nearest are excluded: the worst case for fetching a few more and dropping them.
    hits = collection.query(Query(text=vectors[0], limit=10, exclude_ids=order[:excluded]))

    assert [hit.item_id for hit in hits] == order[excluded : excluded + 10]


def test_ten_thousand_exclusions_are_served_and_more_are_refused(collection: Collection) -> None:
    vectors = given.unit_vectors(300)
    collection.upsert(given.points(vectors))
    order = best(vectors, vectors[0])
    excluded = [*order[:250], *(f"gone-{i}" for i in range(9_750))]

    hits = collection.query(Query(text=vectors[0], limit=10, exclude_ids=excluded))

    assert [hit.item_id for hit in hits] == order[250:260]
    with pytest.raises(InvalidInputError, match="10000"):
        collection.query(Query(text=vectors[0], limit=10, exclude_ids=[*excluded, "one more"]))


# Taste


def _taste_query(**weights: float) -> SparseVector:
    return SparseVector(positions=tuple(int(name[1:]) for name in weights), weights=tuple(weights.values()))


def _with_tastes(collection: Collection, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Points with text and tag, and their tastes as rows of a matrix, set afterwards; returns both matrices."""
    texts = given.unit_vectors(n)
    dense = np.random.default_rng(5).normal(size=(n, 12)).astype(np.float32)
    dense[np.random.default_rng(6).random((n, 12)) < 0.6] = 0
    collection.upsert([Point(item_id=str(i), text=t, attributes={"year": i % 7}) for i, t in enumerate(texts)])
    collection.set_taste(
        {
            str(i): SparseVector(positions=tuple(np.flatnonzero(row).tolist()), weights=tuple(row[row != 0].tolist()))
            for i, row in enumerate(dense)
        }
    )
    return texts, dense


def test_a_taste_query_scores_by_the_exact_dot_product(collection: Collection) -> None:
    _, dense = _with_tastes(collection)
    scores = dense[:, [1, 4, 9]] @ np.array([1.0, -0.5, 2.0], np.float32)

    hits = collection.query(Query(taste=_taste_query(p1=1.0, p4=-0.5, p9=2.0), limit=25))

    assert [hit.item_id for hit in hits] == [str(i) for i in np.argsort(-scores, kind="stable")[:25]]
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(scores)[::-1][:25], atol=1e-5)
    assert [hit.item_id for hit in collection.query(Query(taste=_taste_query(p11=1.0, p99=1.0), limit=1))] == [
        str(dense[:, 11].argmax())
    ]
    assert collection.query(Query(taste=_taste_query(p99=1.0), limit=5)) == []


def test_filters_exclusions_and_thresholds_hold_for_taste(collection: Collection) -> None:
    texts, dense = _with_tastes(collection)
    scores = dense[:, 3]
    order = [int(i) for i in np.argsort(-scores, kind="stable")]
    excluded = {str(i) for i in order[:130:2]}
    allowed = [i for i in order if i % 7 <= 2 and str(i) not in excluded and scores[i] >= 0.2]

    hits = collection.query(
        Query(
            taste=_taste_query(p3=1.0),
            limit=300,
            filter=parse_filter({"lte": {"year": 2}}, given.ATTRIBUTES),
            exclude_ids=sorted(excluded),
            min_score=0.2,
            with_vectors=True,
        )
    )

    assert [hit.item_id for hit in hits] == [str(i) for i in allowed]
    for hit in hits:
        assert hit.text is not None
        np.testing.assert_allclose(hit.text, texts[int(hit.item_id)], atol=1e-6)


def test_setting_tastes_leaves_everything_else_as_it_was(collection: Collection) -> None:
    texts, _ = _with_tastes(collection)
    one = SparseVector(positions=(7,), weights=(3.0,))

    collection.set_taste({"5": one, "6": SparseVector(positions=(), weights=()), "nobody": one})
    collection.set_taste({})

    assert collection.count() == 300
    assert [(h.item_id, h.score) for h in collection.query(Query(taste=_taste_query(p7=1.0), limit=1))] == [("5", 3.0)]
    everywhere = SparseVector(positions=tuple(range(12)), weights=(1.0,) * 12)
    assert "6" not in {hit.item_id for hit in collection.query(Query(taste=everywhere, limit=300))}
    for item_id, vector in collection.vectors(["5", "6"]).items():
        np.testing.assert_allclose(vector, texts[int(item_id)], atol=1e-6)
    assert collection.matching_ids(["5", "6", "nobody"], parse_filter({"gte": {"year": 0}}, given.ATTRIBUTES)) == {
        "5",
        "6",
    }


def test_an_upsert_brings_the_taste_it_has_and_drops_the_one_before(collection: Collection) -> None:
    texts, _ = _with_tastes(collection, 10)
    ten = SparseVector(positions=(20,), weights=(10.0,))

    collection.upsert([Point(item_id="1", text=texts[1], attributes={}, taste=ten)])
    collection.upsert([Point(item_id="2", text=texts[2], attributes={})])

    assert [hit.item_id for hit in collection.query(Query(taste=_taste_query(p20=1.0), limit=9))] == ["1"]
    everywhere = SparseVector(positions=tuple(range(12)), weights=(1.0,) * 12)
    assert not {"1", "2"} & {hit.item_id for hit in collection.query(Query(taste=everywhere, limit=9))}


@pytest.mark.parametrize(
    "taste",
    [
        SparseVector(positions=(1, 1), weights=(0.1, 0.2)),
        SparseVector(positions=(1,), weights=(float("nan"),)),
        SparseVector(positions=(-1,), weights=(0.5,)),
        SparseVector(positions=(1, 2), weights=(0.5,)),
    ],
)
def test_a_taste_that_could_harm_the_engine_is_refused(collection: Collection, taste: SparseVector) -> None:
    collection.upsert(given.points(given.unit_vectors(2)))

    with pytest.raises(InvalidInputError):
        collection.query(Query(taste=taste, limit=1))
    with pytest.raises(InvalidInputError, match="0"):
        collection.set_taste({"0": taste})


def test_given_items_are_scored_exactly(collection: Collection) -> None:
    texts, dense = _with_tastes(collection)
    among = [str(i) for i in range(0, 300, 3)]
    young = parse_filter({"lte": {"year": 2}}, given.ATTRIBUTES)
    expected = {i for i in among if int(i) % 7 <= 2 and i != "9"}

    by_text = collection.query(Query(text=texts[1], limit=300, among=[*among, "gone"], filter=young, exclude_ids=["9"]))
    by_taste = collection.query(Query(taste=_taste_query(p2=1.0), limit=300, among=among))

    assert {hit.item_id for hit in by_text} == expected
    for hit in by_text:
        assert hit.score == pytest.approx(float(texts[int(hit.item_id)] @ texts[1]), abs=1e-5)
    scored = {i: dense[int(i), 2] for i in among if dense[int(i), 2]}
    assert {hit.item_id: hit.score for hit in by_taste} == pytest.approx(scored, abs=1e-5)
    assert collection.query(Query(text=texts[1], limit=3, among=[])) == []


def test_a_query_asks_by_text_or_taste_or_words(collection: Collection) -> None:
    one, other = given.unit_vectors(1)[0], _taste_query(p1=1.0)
    for both in ({}, {"text": one, "taste": other}, {"text": one, "words": other}, {"taste": other, "words": other}):
        with pytest.raises(InvalidInputError, match="one of the three"):
            collection.query(Query(limit=1, **both))


# Filters


def _clear_of_every_border(tree: object, items: list[dict[str, object]]) -> bool:
    """Whether no point lies within a thousandth of a circle's radius: engines may round differently there."""
    circles = [tree] if isinstance(tree, f.GeoRadius) else []
    pending = [tree]
    while pending:
        node = pending.pop()
        circles += [node] if isinstance(node, f.GeoRadius) else []
        pending += [*getattr(node, "parts", ()), *([node.part] if isinstance(node, f.Not) else [])]
    places = [place for item in items if (place := f.normal_point(item.get("place")))]
    return not any(
        abs(f.great_circle_metres((c.latitude, c.longitude), place) / c.metres - 1) < 1e-3
        for c in circles
        for place in places
    )


@property_settings
@for_all(items=given.attributes_of_items, tree=given.filter_trees)
def test_every_filter_means_what_the_reference_says(
    collection: Collection, items: list[dict[str, object]], tree: object
) -> None:
    filter_ = parse_filter(tree, given.ATTRIBUTES)
    assume(_clear_of_every_border(filter_, items))
    collection.delete(list(collection.ids()))  # what the example before left
    vectors = given.unit_vectors(len(items))
    collection.upsert(given.points(vectors, items))
    ids = [str(i) for i in range(len(items))]
    expected = {id_ for id_, attributes in zip(ids, items, strict=True) if matches(filter_, attributes)}

    assert collection.matching_ids([*ids, "nobody"], filter_) == expected
    for exact in (True, False):
        hits = collection.query(Query(text=vectors[0], limit=100, filter=filter_, exact=exact))
        assert {hit.item_id for hit in hits} == expected
    hits = collection.query(Query(text=vectors[0], limit=100, filter=filter_, exclude_ids=ids[::2]))
    assert {hit.item_id for hit in hits} == expected - set(ids[::2])


def test_a_filter_that_code_composed_too_deep_is_refused_before_the_engine(collection: Collection) -> None:
    tree: f.Filter = f.Exists(attribute="tag")
    for _ in range(100_000):
        tree = f.Not(part=tree)

    with pytest.raises(InvalidInputError) as refused:
        collection.query(Query(text=given.unit_vectors(1)[0], limit=1, filter=tree))
    assert refused.value.code == "filter_too_deep"
    with pytest.raises(InvalidInputError):
        collection.matching_ids(["1"], tree)
    # Taking 100,000 nested records apart from the outside would exhaust the stack, so it is done from the inside.
    while isinstance(tree, f.Not):
        tree = tree.part


def test_a_filter_that_code_composed_too_wide_is_refused(collection: Collection) -> None:
    wide = f.Or(parts=(f.Exists(attribute="tag"),) * 5_000)

    with pytest.raises(InvalidInputError) as refused:
        collection.query(Query(text=given.unit_vectors(1)[0], limit=1, filter=wide))
    assert refused.value.code == "filter_too_large"


# What must not reach the engine

_good = given.unit_vectors(1)[0]
_deep: dict[str, object] = {}
for _ in range(200):
    _deep = {"a": _deep}


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param({"text": np.full(given.DIMENSIONS, np.nan, np.float32)}, id="NaN"),
        pytest.param({"text": np.full(given.DIMENSIONS, np.inf, np.float32)}, id="infinite"),
        pytest.param({"text": np.zeros(given.DIMENSIONS, np.float32)}, id="zero"),
        pytest.param({"text": 3 * _good}, id="not of unit length"),
        pytest.param({"text": _good[:-1]}, id="too short"),
        pytest.param({"text": given.unit_vectors(2)}, id="two-dimensional"),
        pytest.param({"attributes": {"undeclared": 1}}, id="undeclared attribute"),
        pytest.param({"attributes": {"tag": _deep}}, id="nested payload"),
        pytest.param({"attributes": {"tag": [["a"]]}}, id="list in a list"),
        pytest.param({"attributes": {"tag": None}}, id="null"),
        pytest.param({"attributes": {"tag": "a\0b"}}, id="NUL"),
        pytest.param({"attributes": {"tag": "\ud800"}}, id="surrogate"),
        pytest.param({"attributes": {"year": "1990"}}, id="string for an integer"),
        pytest.param({"attributes": {"year": True}}, id="boolean for an integer"),
        pytest.param({"attributes": {"year": 2**70}}, id="huge integer"),
        pytest.param({"attributes": {"price": float("nan")}}, id="NaN price"),
        pytest.param({"attributes": {"price": 10**400}}, id="integer beyond floats"),
        pytest.param({"attributes": {"free": 1}}, id="integer for a boolean"),
        pytest.param({"attributes": {"made": "yesterday"}}, id="no time"),
        pytest.param({"attributes": {"made": "2024-02-30"}}, id="date that does not exist"),
        pytest.param({"attributes": {"place": {"lat": 91, "lon": 0}}}, id="beyond the pole"),
        pytest.param({"attributes": {"place": {"lat": 1, "lon": 0, "alt": 3}}}, id="altitude"),
        pytest.param({"attributes": {"tag": ["a"] * 10_001}}, id="long list"),
        pytest.param({"taste": SparseVector(positions=(1, 1), weights=(0.1, 0.2))}, id="taste position twice"),
        pytest.param({"taste": SparseVector(positions=(1,), weights=(float("inf"),))}, id="infinite taste"),
        pytest.param({"taste": SparseVector(positions=(-1,), weights=(0.5,))}, id="negative taste position"),
        pytest.param({"taste": SparseVector(positions=(1, 2), weights=(0.5,))}, id="taste of two lengths"),
    ],
)
def test_one_invalid_point_leaves_its_batch_wholly_unapplied(collection: Collection, bad: dict[str, object]) -> None:
    vectors = given.unit_vectors(600)
    batch = given.points(vectors)
    fields: dict[str, object] = {"item_id": "the bad one", "text": vectors[0], "attributes": {}, **bad}
    batch.insert(500, Point(**fields))

    with pytest.raises(InvalidInputError, match="the bad one"):
        collection.upsert(batch)

    assert collection.count() == 0


@pytest.mark.parametrize("item_id", ["", "a\0b", "\ud800"])
def test_an_id_that_is_no_text_is_refused(collection: Collection, item_id: str) -> None:
    with pytest.raises(InvalidInputError):
        collection.upsert([Point(item_id=item_id, text=_good, attributes={})])
    # Asking for it, on the other hand, is only asking for something that is not there.
    assert collection.matching_ids([item_id], None) == set()
    collection.delete([item_id])
    assert collection.query(Query(text=_good, limit=1, exclude_ids=[item_id])) == []


@pytest.mark.parametrize(
    "query",
    [
        Query(text=np.full(given.DIMENSIONS, np.nan, np.float32), limit=1),
        Query(text=_good[:-1], limit=1),
        Query(text=_good, limit=0),
        Query(text=_good, limit=10**9),
        Query(text=_good, limit=1, min_score=float("nan")),
        Query(text=_good, limit=1, min_score=1e300),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(collection: Collection, query: Query) -> None:
    with pytest.raises(InvalidInputError):
        collection.query(query)


# Collections


def test_collections_come_and_go_by_name(index: Index) -> None:
    first, second = given.fresh_name(), given.fresh_name()
    index.create(first, given.SPEC)
    index.create(second, CollectionSpec(dimensions=3, attributes={}))

    assert {first, second} <= set(index.names())
    assert index.open(first) is index.open(first)
    with pytest.raises(ConflictError):
        index.create(first, given.SPEC)

    index.drop(first)
    index.drop(first)
    assert first not in index.names()
    with pytest.raises(NotFoundError):
        index.open(first)
    assert index.create(first, given.SPEC).count() == 0
    index.drop(first)
    index.drop(second)


@pytest.mark.parametrize("name", ["", "A", "a b", "../a", "a/b", ".a", "-a", "a.b", "ä", "a" * 64, "a\n"])
def test_names_that_are_no_names_are_refused(index: Index, name: str) -> None:
    for call in (lambda: index.create(name, given.SPEC), lambda: index.open(name), lambda: index.drop(name)):
        with pytest.raises(SettingsError):
            call()


@pytest.mark.parametrize(
    "spec",
    [
        CollectionSpec(dimensions=0, attributes={}),
        CollectionSpec(dimensions=3, attributes={"item_id": AttributeType.KEYWORD}),
        CollectionSpec(dimensions=3, attributes={"a.b": AttributeType.KEYWORD}),
        CollectionSpec(dimensions=3, attributes={"a" * 65: AttributeType.KEYWORD}),
    ],
)
def test_specs_that_no_collection_can_have_are_refused(index: Index, spec: CollectionSpec) -> None:
    with pytest.raises(SettingsError):
        index.create(given.fresh_name(), spec)


def test_what_was_closed_is_there_when_opened_again_and_its_old_handle_says_so(index: Index) -> None:
    name = given.fresh_name()
    old = index.create(name, given.SPEC)
    old.upsert(given.points(given.unit_vectors(10), [{"year": i} for i in range(10)]))

    index.close(name)
    index.close(name)

    with pytest.raises(UnavailableError, match="closed"):
        old.count()
    again = index.open(name)
    assert again.count() == 10
    late = parse_filter({"gte": {"year": 7}}, given.ATTRIBUTES)
    assert again.matching_ids([str(i) for i in range(10)], late) == {"7", "8", "9"}
    with pytest.raises(InvalidInputError):  # the spec came back too
        again.upsert([Point(item_id="x", text=_good, attributes={"year": "late"})])
    index.drop(name)


def test_closing_while_queries_run_harms_none_of_them(index: Index) -> None:
    name = given.fresh_name()
    vectors = given.unit_vectors(500)
    index.create(name, given.SPEC).upsert(given.points(vectors))
    outcomes: list[str] = []

    def ask() -> None:
        collection = index.open(name)
        try:
            while True:
                assert len(collection.query(Query(text=vectors[1], limit=5))) == 5
        except UnavailableError:
            outcomes.append("told")
        except BaseException as error:  # noqa: BLE001 - whatever else it is fails the test
            outcomes.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    index.close(name)
    for thread in threads:
        thread.join(timeout=10)

    assert outcomes == ["told"] * 4
    assert index.open(name).count() == 500
    index.drop(name)


# Which engine


def test_settings_choose_the_engine_and_nothing_is_asked_before_it_is_needed(tmp_path: Path) -> None:
    embedded = open_index(Settings(home=tmp_path, attributes={}))
    assert isinstance(embedded, EdgeIndex)
    assert (tmp_path / "index").is_dir()

    absent = open_index(Settings(home=tmp_path, qdrant_url="http://127.0.0.1:1"))
    for call in (lambda: absent.open("g"), absent.names, lambda: absent.create("g", given.SPEC)):
        with pytest.raises(UnavailableError):
            call()


def test_the_embedded_engine_does_not_load_the_client_of_the_other() -> None:
    script = "import sys, ingest.index.engines; sys.exit('qdrant_client' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
