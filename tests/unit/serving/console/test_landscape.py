"""The projection of text vectors onto two directions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.items import Item
from ingest.submit import submit_items
from serving.console.landscape import Cartographer, _directions, project
from tests.fakes import installation


@given(st.integers(1, 40), st.integers(2, 16), st.integers(0, 2**32 - 1))
def test_places_are_finite_and_within_the_frame(n, dimensions, seed):
    vectors = np.random.default_rng(seed).normal(size=(n, dimensions)).astype(np.float32)
    flat = project(vectors)
    assert flat.shape == (n, 2)
    assert np.isfinite(flat).all()
    assert np.abs(flat).max() <= 1 + 1e-6


def test_the_direction_that_varies_most_comes_first():
    vectors = np.zeros((50, 5), np.float32)
    vectors[:, 3] = np.linspace(-10, 10, 50)
    vectors[:, 1] = np.sin(np.arange(50))
    flat = project(vectors)
    assert abs(np.corrcoef(flat[:, 0], vectors[:, 3])[0, 1]) > 0.999


@given(seed=st.integers(0, 2**32 - 1), items=st.integers(3, 60), dimensions=st.integers(9, 40))
def test_the_directions_are_those_of_the_largest_singular_values(seed, items, dimensions):
    vectors = np.random.default_rng(seed).standard_normal((items, dimensions)).astype(np.float32)
    centred = vectors - vectors.mean(axis=0)
    values = np.linalg.svd(centred, compute_uv=False)
    flat = centred @ _directions(centred.T @ centred)
    assert np.allclose(np.linalg.norm(flat, axis=0), values[:2], rtol=1e-3, atol=1e-3)


def test_the_same_vectors_get_the_same_map():
    vectors = np.random.default_rng(1).standard_normal((50, 20)).astype(np.float32)
    assert np.array_equal(project(vectors), project(vectors.copy()))


def test_many_equal_vectors_lie_on_one_place():
    assert np.array_equal(project(np.ones((10, 20), np.float32)), np.zeros((10, 2)))


def shown(cartographer):
    return {place.item_id: (place.title, place.category) for place in cartographer.draw().places}


def test_the_map_shows_no_deleted_item_and_every_title_as_it_is_now(tmp_path):
    with installation(tmp_path) as akin:
        akin.add_items([Item(item_id=f"i{n}", title=f"title {n}", categories=("old",)) for n in range(5)])
        cartographer = Cartographer(akin.ledger, akin.live)
        assert shown(cartographer)["i2"] == ("title 2", "old")
        akin.delete_items(["i1"], place=False)
        submit_items(akin.ledger, akin.queue, akin.settings, [Item(item_id="i2", title="renamed", categories=("new",))])
        assert "i1" not in shown(cartographer)
        assert shown(cartographer)["i2"] == ("renamed", "new")


def test_what_took_the_place_of_another_item_is_on_the_map(tmp_path):
    with installation(tmp_path) as akin:
        akin.add_items([Item(item_id=f"i{n}", title=f"title {n}") for n in range(5)])
        cartographer = Cartographer(akin.ledger, akin.live)
        cartographer.draw()
        akin.delete_items(["i1"])
        akin.add_items([Item(item_id="fresh", title="fresh")])
        assert set(shown(cartographer)) == {"i0", "i2", "i3", "i4", "fresh"}
