"""Words: how texts are cut and folded, and weights that rank as the reference implementation of BM25 does."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.words import MOST_TERMS, document_length, document_words, query_words, term_id, tokens

texts = st.text(max_size=80)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Keeper, 1990!", ["the", "keeper", "1990"]),
        ("Ångström naïve ÉCOLE Łódź", ["angstrom", "naive", "ecole", "lodz"]),
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("\uff21\uff22\uff23 snake_case", ["abc", "snake", "case"]),
        ("Ёлка", ["елка"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("红楼梦", ["红", "楼", "梦", "红楼", "楼梦"]),
        ("iPhone手机。", ["iphone", "手", "机", "手机"]),
        ("ガラス", ["ガ", "ラ", "ス", "ガラ", "ラス"]),
        (" \n—…", []),
    ],
)
def test_words_are_cut_and_folded(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


@given(texts)
def test_any_text_has_words_that_neither_case_nor_composition_change(text: str) -> None:
    found = tokens(text)
    assert all(found)
    assert tokens(unicodedata.normalize("NFD", text)) == tokens(unicodedata.normalize("NFC", text))
    if text.isascii():
        assert tokens(text.upper()) == found


@given(st.text(st.characters(max_codepoint=127), max_size=80))
def test_plain_text_is_cut_as_it_is_beside_other_letters(text: str) -> None:
    assert [*tokens(text), "x", "楼"] == tokens(f"{text} x 楼")


@given(texts, texts, st.floats(1, 1e4))
def test_document_weights_are_shares_at_distinct_positions(title: str, text: str, average: float) -> None:
    vector = document_words(title, text, average)
    assert list(vector.positions) == sorted(set(vector.positions))
    assert all(0 <= position < 2**32 for position in vector.positions)
    assert all(0 < weight < len(vector.weights) + 1 for weight in vector.weights)
    assert set(vector.positions) == {term_id(token) for token in tokens(title) + tokens(text)}


def test_a_word_of_the_title_counts_more_and_a_repeated_one_less_each_time() -> None:
    once, twice, titled = (
        dict(zip(v.positions, v.weights, strict=True))[term_id("sea")]
        for v in (
            document_words("", "sea and sand", 5.0),
            document_words("", "sea and sea", 5.0),
            document_words("sea", "sea and sand", 5.0),
        )
    )
    assert once < twice < 2 * once
    assert titled > once


def test_a_title_that_the_template_leaves_out_counts_all_the_same() -> None:
    assert document_words("Sea", "and sand", 5.0) == document_words("Sea", "Sea\nand sand", 5.0)


def test_very_long_texts_keep_their_strongest_words() -> None:
    text = "whale " * 5 + " ".join(f"w{i}" for i in range(3 * MOST_TERMS))
    vector = document_words("", text, 60.0)
    assert len(vector.positions) == MOST_TERMS
    assert term_id("whale") in vector.positions


def test_a_query_counts_its_words_and_may_have_none() -> None:
    asked = query_words("sea Sea sand")
    assert dict(zip(asked.positions, asked.weights, strict=True)) == {term_id("sea"): 2.0, term_id("sand"): 1.0}
    assert query_words("!?").positions == ()


@given(st.lists(st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=30), min_size=2, max_size=12), st.data())
def test_scores_are_those_of_the_reference_implementation(documents: list[list[str]], data: st.DataObject) -> None:
    bm25s = pytest.importorskip("bm25s")
    asked = data.draw(
        st.lists(st.sampled_from(sorted({word for d in documents for word in d})), min_size=1, max_size=5)
    )
    model = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    model.index(documents, show_progress=False)

    lengths = [document_length("", " ".join(d)) for d in documents]
    vectors = [document_words("", " ".join(d), float(np.mean(lengths))) for d in documents]
    rows = [dict(zip(v.positions, v.weights, strict=True)) for v in vectors]
    query = query_words(" ".join(asked))
    scores = np.zeros(len(documents))
    for position, weight in zip(query.positions, query.weights, strict=True):
        found = sum(position in row for row in rows)
        rarity = np.log(1 + (len(rows) - found + 0.5) / (found + 0.5))
        scores += [weight * rarity * row.get(position, 0.0) for row in rows]

    np.testing.assert_allclose(scores, model.get_scores(asked), rtol=1e-4, atol=1e-5)
