"""The parts of a blended score, and the shares that they are split into."""

import numpy as np
import pytest
from test_profile import DIMENSIONS, profile_of

from ingest.index.protocol import NO_TASTE
from serving.blended import Blend
from serving.profile import unit


def some(n, seed):
    return [unit(vector) for vector in np.random.default_rng(seed).normal(size=(n, DIMENSIONS)).astype(np.float32)]


def test_an_item_that_stands_apart_counts_more_by_text_and_the_shares_add_up():
    history = profile_of([(1.0, vector) for vector in some(6, 1)])
    vectors = dict(zip("abc", some(3, 2), strict=True))
    plain = Blend(text=history, text_weight=0.3).texts(vectors)
    blend = Blend(text=history, text_weight=0.3, rarities={"a": 2.0, "b": 0.5})
    found = blend.texts(vectors)
    assert found == pytest.approx({"a": 2 * plain["a"], "b": plain["b"] / 2, "c": plain["c"]})
    for item_id, vector in vectors.items():
        reasons = blend.because(item_id, NO_TASTE, vector, {})
        assert sum(reason.share for reason in reasons) == pytest.approx(found[item_id])
