"""Search by words, by meaning and by both: what is found, in which order, and what holds in every mode."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.errors import InvalidInputError
from ingest.events import Event
from ingest.index.protocol import CollectionSpec, NoWordsError
from ingest.items import AttributeType, Item
from serving.facets import FacetValue, check_facets
from serving.matching import MODES, wanted
from serving.search import SearchRequest
from tests.fakes import installation

WORDS = ("sea", "storm", "keeper", "poetry", "crime", "lamp")


@pytest.fixture(scope="module")
def akin(tmp_path_factory):
    with installation(tmp_path_factory.mktemp("home")) as made:
        made.add_items(
            [
                Item(
                    item_id=f"i{n}",
                    title=f"{WORDS[n % 6]} {WORDS[(n + n // 6) % 6]}",
                    text=" ".join(WORDS[(n * k) % 6] for k in range(n % 5)),
                    categories=(f"c{n % 4}", "all"),
                    attributes={"year": 1990 + n, "free": n % 2 == 0} if n % 10 else {},
                )
                for n in range(60)
            ]
            + [
                Item(item_id="红楼梦", title="红楼梦", text="贾宝玉与林黛玉的爱情故事"),
                Item(item_id="三国演义", title="三国演义", text="曹操、刘备与孙权的故事"),
                Item(item_id="étranger", title="L'Étranger", text="Aujourd'hui, maman est morte."),
            ]
        )
        made.add_events([Event(event_id=f"e{n}", user_id="ann", item_id=f"i{n}", type="like") for n in (3, 9, 15)])
        yield made


def ids(answer):
    return [one.item_id for one in answer.items]


def search(akin, query, **options):
    return akin.searcher.search(SearchRequest(query=query, **options))


@pytest.mark.parametrize("mode", ["lexical", "hybrid"])
@pytest.mark.parametrize(
    ("query", "first"), [("红楼", "红楼梦"), ("刘备的故事", "三国演义"), ("LE etranger", "étranger"), ("黛", "红楼梦")]
)
def test_words_of_any_script_find_their_item(akin, mode, query, first):
    assert ids(search(akin, query, mode=mode))[0] == first


def test_a_lexical_search_finds_only_what_shares_a_word(akin):
    answer = search(akin, "keeper zeppelin", mode="lexical", limit=60, fields=("title", "text"))
    assert answer.items
    assert all("keeper" in one.fields["title"] + one.fields["text"] for one in answer.items)
    assert answer.items[0].score == pytest.approx(1.0)
    assert {one.source for one in answer.items} == {"lexical"}
    assert search(akin, "zeppelin", mode="lexical").items == ()
    assert search(akin, "?!", mode="lexical").items == ()


def test_a_personal_lexical_search_orders_the_same_items_by_taste(akin):
    asked = {"mode": "lexical", "limit": 60, "user_id": "ann"}
    plain = search(akin, "keeper", **asked, personalization=0.0)
    personal = search(akin, "keeper", **asked, personalization=1.0)
    assert set(ids(plain)) == set(ids(personal))
    profile = akin.searcher._tastes.of_user(akin.live.current(), "ann", with_seen=False).profile.vector
    vectors = akin.live.current().collection.vectors(ids(personal))
    expected = [float(vectors[item_id] @ profile) for item_id in ids(personal)]
    np.testing.assert_allclose([one.score for one in personal.items], expected, atol=1e-5)


def test_a_query_without_words_is_answered_by_meaning(akin):
    assert {one.source for one in search(akin, "?!", mode="hybrid").items} == {"semantic"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mode=st.sampled_from((None, *MODES)),
    query=st.lists(st.sampled_from((*WORDS, "红楼", "nothing")), min_size=1, max_size=4).map(" ".join),
    limit=st.integers(1, 30),
    personalization=st.sampled_from((0.0, 0.3, 1.0)),
    min_score=st.sampled_from((None, 0.0, 0.3)),
    excluded=st.sets(st.integers(0, 59)),
    facets=st.sampled_from(((), ("categories", "year", "free"))),
    fields=st.sampled_from(((), ("title",))),
)
def test_every_mode_keeps_to_its_filter_exclusions_threshold_and_order(
    akin, mode, query, limit, personalization, min_score, excluded, facets, fields
):
    answer = search(
        akin,
        query,
        mode=mode,
        limit=limit,
        user_id="ann",
        personalization=personalization,
        min_score=min_score,
        filter={"gte": {"year": 2000}},
        exclude_ids=tuple(f"i{n}" for n in excluded),
        facets=facets,
        fields=fields,
    )
    numbers = [int(item_id[1:]) for item_id in ids(answer)]
    assert len(set(numbers)) == len(numbers) <= limit
    assert all(n >= 10 and n % 10 and n not in excluded for n in numbers)
    scores = [one.score for one in answer.items]
    assert scores == sorted(scores, reverse=True)
    assert all(score >= (-9 if min_score is None else min_score) for score in scores)
    if facets:
        assert answer.facets["year"].items >= len(numbers)
        assert answer.facets["free"].items == sum(one.count for one in answer.facets["free"].values)
    else:
        assert answer.facets is None


def test_facets_count_every_match_and_not_only_the_page(akin):
    answer = search(akin, "storm", mode="lexical", limit=2, facets=("categories", "year", "free"), facet_limit=1)
    everything = search(akin, "storm", mode="lexical", limit=60, fields=("attributes",))
    years = [one.fields["attributes"]["year"] for one in everything.items if one.fields["attributes"]]
    assert answer.facets["categories"].values == (FacetValue(value="all", count=len(everything.items)),)
    assert answer.facets["categories"].distinct == 5
    assert (answer.facets["year"].min, answer.facets["year"].max) == (min(years), max(years))
    assert answer.facets["year"].items == len(years)


def test_nothing_found_has_empty_facets(akin):
    answer = search(akin, "zeppelin", mode="lexical", facets=("categories", "year"))
    assert answer.facets["categories"].values == ()
    assert answer.facets["year"].items == 0
    assert answer.facets["year"].min is None


def test_a_hybrid_score_is_the_sum_of_its_parts_and_one_end_is_each_mode(akin):
    view = akin.live.current()
    text = view.encode("keeper")
    asked = {"words": None, "text": text, "taste": None, "personalization": 0.5}
    assert wanted("hybrid", **asked, words_share=0.0).text == pytest.approx(text)
    assert wanted("hybrid", **asked, words_share=1.0).text is None
    both = wanted("hybrid", **{**asked, "taste": -text, "personalization": 0.25}, words_share=0.4)
    assert both.words_weight == pytest.approx(0.75 * 0.4)
    assert both.text == pytest.approx((0.75 * 0.6 - 0.25) * text, abs=1e-6)


def test_a_generation_built_without_words_is_searched_by_meaning_and_says_what_it_lacks(tmp_path):
    with installation(tmp_path) as made:
        dimensions = made.live.current().generation.dimensions
        made.index.drop("first")
        made.index.create("first", CollectionSpec(dimensions=dimensions, attributes=made.settings.attributes))
        made.live.refresh()
        made.add_items([Item(item_id="a", title="the keeper")])

        assert search(made, "keeper").strategy == "semantic"
        for mode in ("lexical", "hybrid"):
            with pytest.raises(NoWordsError, match="reindex"):
                search(made, "keeper", mode=mode)


def test_an_attribute_of_a_kind_without_facets_is_refused_by_name():
    with pytest.raises(InvalidInputError, match="place") as refused:
        check_facets(("place",), 10, {"place": AttributeType.GEO, "tag": AttributeType.KEYWORD})
    assert refused.value.field == "facets"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("min_score", [1e10, -1e10, float("nan")])
def test_a_least_score_that_no_engine_holds_is_refused_in_every_mode(akin, mode, min_score):
    with pytest.raises(InvalidInputError) as refused:
        search(akin, "sea", mode=mode, min_score=min_score)
    assert refused.value.field == "min_score"
