"""Kept tastes: a request reads little when nothing has changed, and everything once something has."""

import subprocess
import sys
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest

from ingest.events import Event
from ingest.items import Item
from ingest.train import train_live
from serving.request import RecommendRequest
from serving.tastes import Tastes, _bytes_of
from serving.vectors import VectorCache
from tests.fakes import HashingEncoder, installation


def event(item_id, type_="like", user_id="ann", **more):
    return Event(event_id=f"{user_id}/{item_id}/{type_}", user_id=user_id, item_id=item_id, type=type_, **more)


@pytest.fixture
def akin(tmp_path):
    with installation(tmp_path) as made:
        topics = ("poetry", "crime", "cooking")
        made.add_items([Item(item_id=f"i{n}", title=f"{topics[n % 3]} number {n}") for n in range(12)])
        made.add_events([event("i0"), event("i3")])
        yield made


def taste(akin):
    return akin.tastes.of_user(akin.live.current(), "ann", with_seen=True)


def test_a_taste_is_kept_while_nothing_changes(akin):
    assert taste(akin) is taste(akin)


def test_those_asked_for_last_are_kept_as_far_as_their_bytes_go(akin, monkeypatch):
    akin.add_events([event(f"i{n}", user_id="bo") for n in range(4)])

    def read(user_id):
        return akin.tastes.of_user(akin.live.current(), user_id, with_seen=True)

    ann, bo = read("ann"), read("bo")
    monkeypatch.setattr("serving.tastes.MOST_BYTES", _bytes_of(ann) + _bytes_of(bo))
    assert (read("ann") is ann, read("bo") is bo) == (True, True)
    akin.add_events([event("i5", user_id="bo")])
    bo = read("bo")
    assert read("bo") is bo
    assert read("ann") is not ann, "both would take more"
    akin.tastes.forget("ann")
    assert read("bo") is not bo, "the newer of ann had taken its place"


@pytest.mark.parametrize(("dimensions", "limit"), [(16, 500), (256, 500), (16, 20)])
def test_a_taste_is_counted_as_what_it_takes(tmp_path, dimensions, limit):
    with installation(tmp_path, encoder=HashingEncoder(dimensions), history_limit=limit, taste_least_users=1) as akin:
        akin.add_items([Item(item_id=f"item-{n}", title=f"{n % 9} {n % 10}") for n in range(600)])
        moment = datetime(2024, 1, 1, tzinfo=UTC)
        for user in ("ann", "bo", "cy"):
            akin.add_events(
                [event(f"item-{n}", user_id=user, timestamp=moment + timedelta(hours=n)) for n in range(600)]
            )
        train_live(akin.settings, akin.ledger)
        view = akin.live.current()

        def read(user_id):
            found = akin.tastes.of_user(view, user_id, with_seen=True, with_sparse=True)
            assert (found.sparse is None, found.profile.anchors is None) == (False, False)  # what is made of it later
            return found

        read("ann")  # and with it what is kept of the items
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            kept = [read("bo"), read("cy")]
            taken = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
    assert 0.8 * taken < sum(map(_bytes_of, kept)) < 1.5 * taken


def test_an_event_counts_in_the_very_next_answer(akin):
    before = akin.recommender.recommend(RecommendRequest(user_id="ann"))
    akin.add_events([event("i1", "purchase")])
    after = akin.recommender.recommend(RecommendRequest(user_id="ann"))
    assert "i1" in {item.item_id for item in before.items}
    assert "i1" not in {item.item_id for item in after.items}
    assert after.profile.events == 3


def test_an_event_written_by_another_process_counts_too(akin):
    taste(akin)
    write = (
        "import sys; from ingest.events import Event; from ingest.store.ledger import open_ledger\n"
        "with open_ledger(sys.argv[1]) as ledger:\n"
        "    ledger.events.add([Event(event_id='other', user_id='ann', item_id='i2', type='like')])"
    )
    subprocess.run([sys.executable, "-c", write, akin.settings.ledger_url], check=True)
    assert "i2" in taste(akin).seen


def test_an_item_of_the_history_that_changed_is_read_anew(akin):
    before = taste(akin).profile
    akin.add_items([Item(item_id="i0", title="cooking after all")])
    assert taste(akin).profile.vector @ before.vector < 0.999


def test_another_generation_has_another_taste(akin):
    before = taste(akin)
    akin.begin_next("second", HashingEncoder(seed="other"))
    akin.go_live("second")
    after = akin.tastes.of_user(akin.live.refresh(), "ann", with_seen=True)
    assert abs(float(after.profile.vector @ before.profile.vector)) < 0.999


def test_nothing_is_kept_of_an_erased_user(akin):
    taste(akin)
    akin.users.erase("ann")
    assert taste(akin).profile is None
    assert taste(akin).seen == ()


class ErasedMeanwhile(VectorCache):
    """Fetches the vectors of a history, whose user is erased at that moment."""

    erase = None

    def of_history(self, view, entries):
        self.erase("ann")
        return super().of_history(view, entries)


def test_nothing_is_kept_of_a_user_who_is_erased_while_asking(akin):
    vectors = ErasedMeanwhile()
    tastes = Tastes(akin.ledger, akin.settings, vectors)

    def erase(user_id):
        akin.users.erase(user_id)
        tastes.forget(user_id)

    vectors.erase = erase
    assert tastes.of_user(akin.live.current(), "ann", with_seen=True).profile is not None
    assert not tastes._kept


class OtherSettings:
    """What a training may find: settings that nobody else holds."""

    def __init__(self, settings):
        self.now = settings

    def settings(self):
        return self.now


def test_settings_that_take_the_place_of_others_in_memory_are_told_from_them(akin):
    def learned(**weights):
        return akin.settings.model_copy(update={"event_weights": {**akin.settings.event_weights, **weights}})

    akin.tastes.learned = OtherSettings(learned())
    assert taste(akin).profile is not None
    place, akin.tastes.learned.now = id(akin.tastes.learned.now), None
    tried = [learned(like=-1.0)]
    while id(tried[-1]) != place and len(tried) < 1_000:
        tried.append(learned(like=-1.0))
    akin.tastes.learned.now = tried[-1]
    assert taste(akin).profile is None
