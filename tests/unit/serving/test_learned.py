"""What trainings learned counts in other processes within seconds."""

import pytest

from ingest.items import Item
from ingest.scoring import BlendWeights
from serving.learned import Learned
from tests.fakes import FakeClock, installation


@pytest.fixture
def akin(tmp_path):
    with installation(tmp_path) as made:
        made.add_items([Item(item_id=name, title=name) for name in "ab"])
        yield made


def test_what_a_training_learned_counts_some_seconds_later(akin):
    clock = FakeClock()
    learned = Learned(akin.ledger, akin.settings, seconds=5.0, clock=clock)
    assert learned.rarities() == {}
    assert learned.weights() == BlendWeights()
    akin.ledger.learned.keep_rarities({"a": 2.0})
    akin.ledger.learned.keep_blend(BlendWeights(text=0.4, fading=0.1))
    assert learned.rarities() == {}
    assert learned.settings().history_fading == 0
    clock.advance(6)
    assert learned.rarities() == {"a": 2.0}
    assert learned.weights() == BlendWeights(text=0.4, fading=0.1)
    assert learned.settings().history_fading == 0.1


def test_rarities_are_read_again_only_when_a_training_changed_them(akin):
    clock = FakeClock()
    learned = Learned(akin.ledger, akin.settings, seconds=5.0, clock=clock)
    akin.ledger.learned.keep_rarities({"a": 2.0})
    first = learned.rarities()
    clock.advance(6)
    assert learned.rarities() is first
    akin.ledger.learned.keep_rarities({"a": 2.0, "b": 0.5})
    clock.advance(6)
    assert learned.rarities() == {"a": 2.0, "b": 0.5}
