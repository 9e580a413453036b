"""A query belongs to one generation, also while the live one changes."""

import threading
import time

import numpy as np
import pytest

from ingest.errors import UnavailableError
from ingest.events import Event
from ingest.items import Item
from serving.live import LiveIndex
from serving.request import RecommendRequest
from serving.search import SearchRequest
from serving.similar import SimilarRequest
from tests.fakes import FakeClock, HashingEncoder, installation

ITEMS = [Item(item_id=f"i{n}", title=f"title {n % 5} {n}") for n in range(40)]


@pytest.fixture
def akin(tmp_path):
    with installation(tmp_path, refresh_seconds=0.05) as made:
        made.add_items(ITEMS)
        made.add_events([Event(event_id=f"e{n}", user_id="ann", item_id=f"i{n}", type="like") for n in range(3)])
        yield made


def test_the_ledger_is_asked_once_per_interval(akin):
    clock = FakeClock()
    live = LiveIndex(akin.ledger, akin.index, akin.encoders, refresh_seconds=0.5, clock=clock)
    first = live.current()
    akin.begin_next("second", HashingEncoder(16, "other"))
    akin.go_live("second")
    assert live.current() is first
    clock.advance(0.6)
    assert live.current().generation.name == "second"


def test_refresh_sees_the_new_generation_at_once(akin):
    live = LiveIndex(akin.ledger, akin.index, akin.encoders, refresh_seconds=1e9)
    live.current()
    akin.begin_next("second", HashingEncoder(16, "other"))
    akin.go_live("second")
    assert live.refresh().generation.name == "second"


def test_a_closed_collection_is_opened_again_and_asked_once_more(akin):
    live = LiveIndex(akin.ledger, akin.index, akin.encoders, refresh_seconds=1e9)
    live.current()
    akin.index.close("first")
    assert live.ask(lambda view: view.collection.count()) == len(ITEMS)


def test_what_is_unavailable_without_a_switch_is_said_at_once(akin):
    asked = []

    def question(view):
        asked.append(view)
        raise UnavailableError("away")

    with pytest.raises(UnavailableError, match="away"):
        akin.live.ask(question)
    assert len(asked) == 1


def test_a_query_text_is_centred_as_the_items_are(akin):
    view = akin.live.current()
    mean = np.full(16, 0.1, dtype=np.float32)
    raw = view.encoder.embed(["title 3"])[0]
    from dataclasses import replace

    centred = replace(view, generation=replace(view.generation, mean=mean)).encode("title 3")
    np.testing.assert_allclose(centred, (raw - mean) / np.linalg.norm(raw - mean), atol=1e-6)
    np.testing.assert_array_equal(view.encode("title 3"), raw)


def test_no_answer_mixes_generations_while_they_switch(akin):
    # given: two generations whose vectors do not even have the same length, so that a mix cannot go unnoticed
    akin.begin_next("second", HashingEncoder(24, "other"))
    stop, failures, seen = threading.Event(), [], set()
    rounds = [0, 0, 0]

    def ask(asker):
        while not stop.is_set():
            try:
                answers = [
                    akin.recommender.recommend(RecommendRequest(user_id="ann", limit=5, explain=True)),
                    akin.searcher.search(SearchRequest(query="title 3", user_id="ann", limit=5)),
                    akin.similar.similar(SimilarRequest(item_id="i9", user_id="ann", limit=5)),
                ]
                seen.update(answer.generation for answer in answers)
                for one in answers[0].items:
                    assert sum(reason.share for reason in one.because) == pytest.approx(one.score, abs=1e-5)
                assert all(len(answer.items) == 5 for answer in answers)
                rounds[asker] += 1
            except BaseException as error:  # noqa: BLE001
                failures.append(error)
                return

    threads = [threading.Thread(target=ask, args=(asker,)) for asker in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(8):
        before = list(rounds)
        akin.go_live(("second", "first")[turn % 2])
        # However slow the machine: an answer is asked again a few times, not through many switches.
        while not failures and not all(now > then for now, then in zip(rounds, before, strict=True)):
            time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert seen == {"first", "second"}
