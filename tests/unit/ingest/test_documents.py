"""What is embedded and placed for an item, whoever asks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.documents import Document, centred, declared_attributes, document, embedded, left_out
from ingest.items import AttributeType, Item
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


# --- Attributes that came in under other declarations -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "stored", "held"),
    [
        ("integer", 1999, 1999),
        ("integer", "1999", 1999),
        ("integer", "-7", -7),
        ("integer", ["1999", 2001], [1999, 2001]),
        ("integer", 1999.0, 1999),
        ("float", "19.5", 19.5),
        ("float", 19, 19.0),
        ("keyword", "red", "red"),
        ("keyword", 1999, "1999"),
        ("keyword", 19.5, "19.5"),
        ("keyword", [1, "two"], ["1", "two"]),
        ("boolean", "true", True),
        ("datetime", "2024-05-01", "2024-05-01T00:00:00Z"),
        ("datetime", "0", "1970-01-01T00:00:00Z"),
        ("geo", "48.5,2", {"lat": 48.5, "lon": 2.0}),
    ],
)
def test_a_value_is_held_in_the_type_of_the_generation(type_: str, stored: Any, held: Any) -> None:
    one, attributes = Item(item_id="a", attributes={"x": stored}), {"x": AttributeType(type_)}

    assert declared_attributes(one, attributes) == {"x": held}
    assert not left_out([one], attributes)


@pytest.mark.parametrize(
    ("type_", "stored", "held"),
    [
        ("integer", "n/a", {}),
        ("integer", 19.5, {}),
        ("integer", 2**60, {}),
        ("integer", ["1999", "n/a"], {"x": [1999]}),
        ("float", "cheap", {}),
        ("boolean", 3, {}),
        ("datetime", ["2024-05-01"], {}),
        ("geo", "Paris", {}),
        ("keyword", {"lat": 1.0, "lon": 2.0}, {}),
    ],
)
def test_a_value_of_no_such_type_is_left_out_and_counted(type_: str, stored: Any, held: dict[str, Any]) -> None:
    one, attributes = Item(item_id="a", attributes={"x": stored}), {"x": AttributeType(type_)}

    assert declared_attributes(one, attributes) == held
    assert left_out([one, one, Item(item_id="b")], attributes) == {"x": 2}


def test_categories_are_held_where_they_are_declared() -> None:
    one = Item(item_id="a", categories=("birds", "whales"), attributes={"other": 1})

    assert declared_attributes(one, {"categories": AttributeType.KEYWORD}) == {"categories": ["birds", "whales"]}
    assert declared_attributes(one, {}) == {}
