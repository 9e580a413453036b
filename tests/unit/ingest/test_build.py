"""The mean that a build centres its vectors on. Whole builds: tests/integration/test_reindex.py."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from ingest.build import LEAST_ITEMS_FOR_MEAN, build
from ingest.encoder.protocol import Vectors
from ingest.items import Item
from ingest.settings import Settings
from ingest.submit import submit_items
from tests.fakes import Installation, RecordingEncoder, installation

Mean = Callable[[Sequence[str]], Vectors | None]


def embedded(settings: Settings) -> Settings:
    return settings


def on_a_server(settings: Settings) -> Settings:
    return settings.model_copy(update={"qdrant_url": "http://127.0.0.1:6333"})


@pytest.fixture
def encoder() -> RecordingEncoder:
    return RecordingEncoder()


@pytest.fixture
def akin(tmp_path: Path, encoder: RecordingEncoder) -> Iterator[Installation]:
    with installation(tmp_path, encoder=encoder, text_template="{text}", train_taste=False) as made:
        yield made


@pytest.fixture(params=[embedded, on_a_server])
def mean_of(request: pytest.FixtureRequest, akin: Installation) -> Mean:
    """The mean of a build over items with those texts, as one process makes it, or for workers on a server."""

    def mean_of(texts: Sequence[str]) -> Vectors | None:
        items = [Item(item_id=f"i{n}", text=text) for n, text in enumerate(texts)]
        submit_items(akin.ledger, akin.queue, akin.settings, items)
        generation = akin.ledger.generations.get("first")
        settings = request.param(akin.settings)
        return build(settings, akin.ledger, akin.index, akin.encoders, generation, lambda *_: None).mean

    return mean_of


def test_the_mean_is_that_of_all_items_however_many_share_a_text(mean_of: Mean, encoder: RecordingEncoder) -> None:
    texts = [*(f"number {n}" for n in range(50)), *["all alike"] * 25]

    assert mean_of(texts) == pytest.approx(encoder.embed(texts).mean(axis=0), abs=1e-6)


def test_too_few_items_have_no_mean(mean_of: Mean) -> None:
    assert mean_of([f"number {n}" for n in range(LEAST_ITEMS_FOR_MEAN - 1)]) is None


@pytest.mark.parametrize("good", [0, LEAST_ITEMS_FOR_MEAN - 1])
def test_what_could_not_be_embedded_does_not_count_towards_the_least_number(mean_of: Mean, good: int) -> None:
    texts = [f"number {n}" if n < good else f"untokenizable {n}" for n in range(LEAST_ITEMS_FOR_MEAN + 10)]

    assert mean_of(texts) is None


def test_just_enough_items_have_a_mean(mean_of: Mean) -> None:
    found = mean_of([f"number {n}" for n in range(LEAST_ITEMS_FOR_MEAN)])

    assert found is not None
    assert found.dtype == np.float32
