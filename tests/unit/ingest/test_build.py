"""The mean that a build centres its vectors on, and what it does with items that end it. Whole builds: tests/integration/test_reindex.py."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.build import LEAST_ITEMS_FOR_MEAN, Built, build
from ingest.documents import document
from ingest.encoder.protocol import Vectors
from ingest.errors import UnavailableError
from ingest.items import Item
from ingest.reconcile import MAX_ATTEMPTS
from ingest.settings import Settings
from ingest.store.records import GenerationState
from ingest.submit import submit_items
from tests.fakes import HashingEncoder, Installation, RecordingEncoder, installation

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


# --- What ends a build --------------------------------------------------------------------------------------------------


def build_of(akin: Installation, settings: Settings) -> Built:
    generation = akin.ledger.generations.get("next")
    return build(settings, akin.ledger, akin.index, akin.encoders, generation, lambda *_: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("where", [embedded, on_a_server])
def test_an_item_that_ends_its_builds_is_set_aside_after_four(
    akin: Installation, encoder: RecordingEncoder, where: Callable[[Settings], Settings]
) -> None:
    # given a new encoder that one of the items kills
    def be_killed() -> None:
        if any("poison" in text for text in encoder.calls[-1]):
            raise KeyboardInterrupt  # nothing that a build catches

    texts = [f"number {n}" for n in range(63)]
    items = [Item(item_id=f"i{n}", text=text) for n, text in enumerate([*texts, "poison"])]
    submit_items(akin.ledger, akin.queue, akin.settings, items)
    akin._begin("next", encoder, GenerationState.BUILDING)
    encoder.before = be_killed

    # when it is begun again and again
    settings = where(akin.settings)
    for _ in range(MAX_ATTEMPTS):
        with pytest.raises(KeyboardInterrupt):
            build_of(akin, settings)
    built = build_of(akin, settings)

    # then it was tried in ever smaller calls, and is set aside with the reason; the others are in the mean
    assert [len(call) for call in encoder.calls if "poison" in call] == [64, 64, 16, 1]
    [aside] = akin.ledger.pending.set_aside()
    assert (aside.item_id, aside.attempts) == ("i63", MAX_ATTEMPTS)
    assert "lost 4 times" in aside.reason
    assert built.mean == pytest.approx(HashingEncoder().embed(texts).mean(axis=0), abs=1e-6)


def test_a_text_that_was_changed_since_is_not_set_aside(akin: Installation, encoder: RecordingEncoder) -> None:
    akin._begin("next", encoder, GenerationState.BUILDING)
    akin.ledger.generations.count_attempts(
        "next", [document(Item(item_id="a", text="old"), 1, "{text}").content_hash] * 9
    )

    submit_items(akin.ledger, akin.queue, akin.settings, [Item(item_id="a", text="new")])

    assert build_of(akin, akin.settings).items == 1


def test_an_error_is_no_lost_build(akin: Installation, encoder: RecordingEncoder) -> None:
    def be_away() -> None:
        raise UnavailableError("not now")

    submit_items(akin.ledger, akin.queue, akin.settings, [Item(item_id="a", text="a text")])
    akin._begin("next", encoder, GenerationState.BUILDING)
    encoder.before = be_away

    with pytest.raises(UnavailableError):
        build_of(akin, akin.settings)

    assert akin.ledger.generations.attempts("next") == {}


class OutOfMemory:
    """A part of the ledger that needs more memory than there is."""

    def __getattr__(self, name: str) -> Any:
        raise MemoryError("no room for 1 TB")


def test_a_training_that_fails_does_not_fail_the_build(akin: Installation, encoder: RecordingEncoder) -> None:
    submit_items(akin.ledger, akin.queue, akin.settings, [Item(item_id="a", text="a text")])
    akin._begin("next", encoder, GenerationState.BUILDING)
    akin.ledger.events = OutOfMemory()  # type: ignore[assignment]

    built = build_of(akin, akin.settings.model_copy(update={"train_taste": True}))

    assert (built.items, built.untrained) == (1, "MemoryError: no room for 1 TB")
