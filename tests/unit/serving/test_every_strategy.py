"""What holds for every strategy, whatever the catalogue, the history and the options: over a real ledger and index."""

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.documents import declared_attributes
from ingest.events import Event
from ingest.index.filter_parser import parse_filter
from ingest.index.filters import matches
from ingest.items import Item
from ingest.train import place_taste, train_live
from serving.inline_history import parse_inline_history
from serving.request import STRATEGIES, BoostedItems, RecommendRequest
from serving.search import SearchRequest
from serving.similar import SimilarRequest
from tests.fakes import HashingEncoder, installation

TOPICS = ("poetry", "crime", "cooking")

filters = st.sampled_from(
    [
        None,
        {"eq": {"categories": "poetry"}},
        {"gte": {"year": 2010}},
        {"and": [{"eq": {"free": True}}, {"not": {"eq": {"categories": "crime"}}}]},
        {"or": [{"lt": {"year": 2003}}, {"in": {"categories": ["cooking", "unknown"]}}]},
        {"or": []},
    ]
)
catalogues = st.lists(
    st.tuples(st.sampled_from(TOPICS), st.integers(1995, 2020), st.booleans()), min_size=0, max_size=25
).map(
    lambda rows: [
        Item(
            item_id=f"i{n}",
            title=f"{topic} {topic} {n}",
            categories=(topic,) if n % 5 else (),
            attributes={"year": year, "free": free},
        )
        for n, (topic, year, free) in enumerate(rows)
    ]
)
pasts = st.lists(
    st.tuples(st.sampled_from(["ann", "bob", "cy"]), st.integers(0, 30), st.sampled_from(["like", "view", "dislike"])),
    max_size=25,
)
numbers = st.integers(0, 27)
some_ids = st.lists(numbers.map("i{}".format), max_size=6).map(tuple)
boosts = st.lists(
    st.builds(BoostedItems, by=st.sampled_from([0.1, 2.0]), item_ids=some_ids, filter=filters), max_size=2
).map(tuple)
options = st.fixed_dictionaries(
    {
        "limit": st.integers(1, 12),
        "filter": filters,
        "exclude_ids": some_ids,
        "exclude_seen": st.booleans(),
        "explain": st.just(value=True),
    },
    optional={
        "required": filters,
        "reasons": st.integers(1, 4),
        "min_score": st.sampled_from([-0.5, 0.0, 0.2]),
        "diversity": st.sampled_from([0.5, 1.0]),
        "max_per": st.sampled_from([{"categories": 1}, {"categories": 3}]),
        "pinned": some_ids,
        "boosts": boosts,
        "explore": st.sampled_from([0.1, 0.5]),
        "seed": st.integers(0, 9),
        "relax": st.lists(st.sampled_from(["categories", "year", "free", "max_per", "min_score"]), max_size=3).map(
            tuple
        ),
    },
)


@dataclass
class Asked:
    """A request, all pages of its answer, and what it may contain."""

    request: RecommendRequest
    pages: list
    items: dict
    seen: set
    attributes: dict

    def passes(self, item_id, tree):
        typed = parse_filter(tree, self.attributes)
        return matches(typed, declared_attributes(self.items[item_id], self.attributes))

    @property
    def allowed(self):
        away = {*self.request.exclude_ids, *(self.seen if self.request.exclude_seen else ())}
        return {item_id for item_id in self.items if self.passes(item_id, self.request.required)} - away


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    catalogue=catalogues, past=pasts, asked=options, inline=st.booleans(), trained=st.booleans(), prior=st.booleans()
)
def test_every_page_keeps_what_was_asked(strategy, catalogue, past, asked, inline, trained, prior):
    tuned = {"interests_prior": 0.3, "blend_prior": 0.3, "history_fading": 0.5} if prior else {}
    with (
        tempfile.TemporaryDirectory() as folder,
        installation(Path(folder), encoder=HashingEncoder(8), taste_least_users=1, **tuned) as akin,
    ):
        akin.add_items(catalogue)
        akin.add_events([event(user, f"i{n}", type_) for user, n, type_ in past])
        if trained:
            train_live(akin.settings, akin.ledger)
            # So few items have no rarities of their own.
            akin.ledger.learned.keep_rarities({one.item_id: 0.5 + n / 10 for n, one in enumerate(catalogue)})
            place_taste(akin.ledger, akin.index)
        history = parse_inline_history([{"item_id": f"i{n}", "type": t} for _, n, t in past], akin.settings)
        who = {"history": history} if inline else {"user_id": "ann"}
        request = RecommendRequest(strategy=strategy, **asked, **who)
        check(
            Asked(
                request=request,
                pages=list(pages(akin, request)),
                items={one.item_id: one for one in catalogue},
                seen={f"i{n}" for user, n, _ in past if inline or user == "ann"},
                attributes=akin.settings.attributes,
            )
        )


def pages(akin, request):
    answer = akin.recommender.recommend(request)
    yield answer
    while answer.has_next:
        answer = akin.recommender.next_page(answer.recommendation_id)
        yield answer


def check(asked):
    shown = [one for page in asked.pages for one in page.items]
    ids = [one.item_id for one in shown]
    assert len(ids) == len(set(ids))
    assert set(ids) <= asked.allowed
    for one in shown:
        check_item(asked, one)
    for page in asked.pages:
        assert len(page.items) <= asked.request.limit
        check_caps(asked, page)
        check_sources(asked, page)
    strict = {item_id for item_id in asked.allowed if asked.passes(item_id, asked.request.filter)}
    if asked.request.min_score is None and asked.request.exclude_seen:
        assert strict <= set(ids)  # nothing is lost on the way from page to page


def check_item(asked, one):
    explained = sum(reason.share for reason in one.because) + (one.prior or 0) + (one.boost or 0)
    assert explained + (one.others.share if one.others else 0) == pytest.approx(one.score, abs=1e-5)
    assert len(one.because) <= (asked.request.reasons or len(one.because))
    if not {"categories", "year", "free"} & set(one.relaxed):
        assert asked.passes(one.item_id, asked.request.filter)
    least = asked.request.min_score
    if least is not None and one.source != "pinned" and "min_score" not in one.relaxed:
        assert one.score >= least - 1e-5


def check_caps(asked, page):
    pinned = [one for one in page.items if one.source == "pinned"]
    capped = [one for one in page.items if "max_per" not in one.relaxed]
    for name, most in asked.request.max_per.items():
        counts = Counter(value for one in capped for value in getattr(asked.items[one.item_id], name))
        fixed = Counter(value for one in pinned for value in getattr(asked.items[one.item_id], name))
        assert all(count <= max(most, fixed[value]) for value, count in counts.items())


def check_sources(asked, page):
    sources = [one.source for one in page.items]
    assert sources.count("explore") <= asked.request.explore * asked.request.limit + 1
    pinned = sources.count("pinned")
    assert sources[:pinned] == ["pinned"] * pinned
    assert pinned == 0 or page is asked.pages[0]
    assert set(page.relaxed) <= set(asked.request.relax)
    assert all(set(one.relaxed) <= set(page.relaxed) for one in page.items)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    catalogue=catalogues,
    past=pasts,
    filter_=filters,
    excluded=some_ids,
    limit=st.integers(1, 12),
    mode=st.sampled_from([None, "semantic", "lexical", "hybrid"]),
    personal=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_a_search_and_similar_items_keep_what_was_asked(catalogue, past, filter_, excluded, limit, mode, personal):
    with (
        tempfile.TemporaryDirectory() as folder,
        installation(Path(folder), encoder=HashingEncoder(8)) as akin,
    ):
        akin.add_items(catalogue)
        akin.add_events([event(user, f"i{n}", type_) for user, n, type_ in past])
        common = {"user_id": "ann", "limit": limit, "filter": filter_, "exclude_ids": excluded}
        typed = parse_filter(filter_, akin.settings.attributes)
        passing = {
            one.item_id for one in catalogue if matches(typed, declared_attributes(one, akin.settings.attributes))
        } - set(excluded)
        searched = akin.searcher.search(
            SearchRequest(query="poetry 3 cooking", mode=mode, personalization=personal, **common)
        )
        assert_fit(searched, passing, None if mode == "lexical" else min(limit, len(passing)))
        if catalogue:
            similar = akin.similar.similar(SimilarRequest(item_id="i0", user_impact=personal, **common))
            assert_fit(similar, passing - {"i0"}, min(limit, len(passing - {"i0"})))


def assert_fit(answer, passing, size):
    ids = [one.item_id for one in answer.items]
    assert len(ids) == len(set(ids))
    assert set(ids) <= passing
    assert size is None or len(ids) == size
    scores = [one.score for one in answer.items]
    assert scores == sorted(scores, reverse=True)


def event(user_id, item_id, type_="like"):
    return Event(event_id=f"{user_id}/{item_id}/{type_}", user_id=user_id, item_id=item_id, type=type_)
