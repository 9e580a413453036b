"""The parts of a blended score, and the shares that they are split into."""

import numpy as np
import pytest
from test_profile import DIMENSIONS, profile_of

from ingest.index.checks import MAX_EXCLUDED
from ingest.index.protocol import SparseVector
from serving.blended import Blend
from serving.profile import TasteProfile, unit
from serving.scored import Basis, scores_of
from tests.fakes import installation


def some(n, seed):
    return [unit(vector) for vector in np.random.default_rng(seed).normal(size=(n, DIMENSIONS)).astype(np.float32)]


def test_an_item_that_stands_apart_counts_more_by_text_and_the_shares_add_up():
    history = profile_of([(1.0, vector) for vector in some(6, 1)])
    vectors = dict(zip("abc", some(3, 2), strict=True))
    plain = Blend(text=history, text_weight=0.3).texts(vectors)
    blend = Blend(text=history, text_weight=0.3, rarities={"a": 2.0, "b": 0.5})
    found = blend.texts(vectors)
    assert found == pytest.approx({"a": 2 * plain["a"], "b": plain["b"] / 2, "c": plain["c"]})
    shares = blend.shares([*vectors, "nowhere"], {}, vectors)
    assert [one.values.sum() for one in shares] == pytest.approx([*found.values(), 0.0])


def test_more_items_are_scored_than_one_query_may_ask_about(tmp_path):
    # Ten boosts of a scenario name a thousand items each, and each finds more by its filter.
    taste = TasteProfile(parts=(), vector=SparseVector(positions=(1,), weights=(1.0,)))
    named = [f"i{n}" for n in range(MAX_EXCLUDED + 30)]
    with installation(tmp_path) as akin:
        scores = scores_of(akin.live.current(), Basis(blend=Blend(taste=taste)), named)
    assert scores == dict.fromkeys(named, 0.0)
