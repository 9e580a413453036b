"""What is embedded and placed for an item, whoever asks."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ingest.documents import Document, centred, document, embedded
from ingest.items import Item
from tests.fakes import Installation, RecordingEncoder, installation


@pytest.fixture
def encoder() -> RecordingEncoder:
    return RecordingEncoder()


@pytest.fixture
def akin(tmp_path: Path, encoder: RecordingEncoder) -> Iterator[Installation]:
    with installation(tmp_path, encoder=encoder) as made:
        yield made


def documents(*texts: str) -> list[Document]:
    return [document(Item(item_id=f"i{n}", text=text), 1, "{text}") for n, text in enumerate(texts)]


def test_texts_are_embedded_once_and_remembered(akin: Installation, encoder: RecordingEncoder) -> None:
    found, failed = embedded(akin.ledger, akin.encoders, encoder.fingerprint, documents("one", "two", "one"))
    again, _ = embedded(akin.ledger, akin.encoders, encoder.fingerprint, documents("two", "one"))

    assert (sorted(encoder.calls[0]), len(encoder.calls), failed) == (["one", "two"], 1, {})
    assert set(found) == set(again) == {d.content_hash for d in documents("one", "two")}


def test_what_was_embedded_is_kept_by_and_by(akin: Installation, encoder: RecordingEncoder) -> None:
    wanted = documents("of some length", "short", "of quite another length", "tiny", "middling")

    embedded(akin.ledger, akin.encoders, encoder.fingerprint, wanted, keep_every=2)

    assert [len(call) for call in encoder.calls] == [2, 2, 1]
    assert [text for call in encoder.calls for text in call] == sorted((d.text for d in wanted), key=len)


def test_a_text_that_cannot_be_embedded_has_its_reason_and_harms_no_other(
    akin: Installation, encoder: RecordingEncoder
) -> None:
    good, bad = documents("good", "untokenizable")

    found, failed = embedded(akin.ledger, akin.encoders, encoder.fingerprint, [good, bad])

    assert set(found) == {good.content_hash}
    assert failed == {bad.content_hash: "it cannot be embedded: the tokenizer failed"}


def test_vectors_are_centred_on_the_mean_of_their_generation() -> None:
    mean = np.array([0.5, 0.0], dtype=np.float32)
    vector = np.array([0.5, 0.5], dtype=np.float32)

    assert np.allclose(centred(vector, mean), [0, 1])
    assert np.array_equal(centred(vector, None), vector)
    assert np.array_equal(centred(mean, mean), mean)  # no direction is left: better the old one than NaN
