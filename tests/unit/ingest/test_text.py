import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import SettingsError
from ingest.items import Item
from ingest.text import check_template, clean, clean_line, content_hash, plain, render

any_text = st.text(alphabet=st.characters(codec=None), max_size=200)
pieces = st.sampled_from(
    ["<", ">", "</", "<b>", "</b>", "<p ", "<!--", "-->", "&", "amp;", "&lt;", "&#60;", "#x3c;", "<script>", "</script>",
     "<br/>", "a", " ", "\n", "\x00", "\ud800", "\u037e", "\u0338", "e", "\u0301", '"', "'", "=", "<textarea>"]
)  # fmt: skip
markup_like = st.lists(pieces, max_size=40).map("".join)


@given(any_text | markup_like)
def test_cleaning_twice_changes_nothing(text):
    once = clean(text)
    assert clean(once) == once


@given(any_text | markup_like)
def test_cleaned_text_can_be_stored_anywhere(text):
    cleaned = clean(text)
    cleaned.encode()
    assert "\x00" not in cleaned
    assert "  " not in cleaned
    assert cleaned == cleaned.strip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>One <b>bo</b>ld</p><p>two</p>", "One bold\ntwo"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<ul><li>tea<li>milk</ul>", "tea\nmilk"),
        ("<a href='http://x.test/?a=1&b=2'>link</a>&nbsp;here", "link here"),
        ('<img alt="a > b" src="x.png">after', "after"),
        ("<ScRiPt>alert(1)</sCrIpT>safe<style>p{}</style>", "safe"),
        ("<!-- note -->kept", "kept"),
        ("&lt;b&gt;escaped&lt;/b&gt; &amp;amp;", "escaped &"),
        ("<html><head><title>T</title></head><body>B</body></html>", "T\nB"),
    ],
)
def test_markup_is_taken_out(text, expected):
    assert clean(text) == expected


@pytest.mark.parametrize(
    "text",
    ["a < b", "x<y", "x<y and y>z", "if a <b and c> d", "List<String>", "I <3 you", "use <script> here", "R&D", "a&b;c",
     "?a=1&section=2&copy=3", "end with <b", "<!-- open"],
)  # fmt: skip
def test_what_only_looks_a_little_like_markup_survives(text):
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x00b\x07c", "abc"),
        ("a\ud800b\udfff", "ab"),
        ("  a \t b\u00a0c ", "a b c"),
        ("one\r\n\r\n\r\ntwo", "one\ntwo"),
        ("e\u0301", "\u00e9"),
        ("\ufeffstart", "start"),
        ("", ""),
    ],
)
def test_characters_are_normalised(text, expected):
    assert clean(text) == expected


@pytest.mark.parametrize(
    "text",
    ["<div>" * 200_000, "<b>" * 300_000, "<" * 1_000_000, "&" + "amp;" * 250_000, "héllo wörld " * 83_000,
     "<a href=" * 120_000 + ">", "<p a=' \"" * 100_000 + ">", "<!--" * 250_000 + "-->",
     "".join(f"<b id={i}>" for i in range(30_000)) + "<p>x</p>" * 30_000],
    ids=["nested", "inline", "less-than", "ampersands", "plain", "attributes", "quotes", "comments", "formatting"],
)  # fmt: skip
def test_a_megabyte_is_cleaned_in_seconds_however_it_is_built(text):
    started = time.perf_counter()
    clean(text)
    assert time.perf_counter() - started < 10


def test_titles_stay_on_one_line():
    assert clean_line("one<br>two\nthree") == "one two three"


def test_attribute_strings_keep_their_markup_but_lose_control_characters():
    assert plain("<b>\tx\x00\ud800 e\u0301") == "<b> x \u00e9"


@given(any_text)
def test_equal_words_have_equal_hashes(text):
    assert content_hash(text) == content_hash(f"  {text}  ")
    assert len(content_hash(text)) == 64


def test_other_words_have_another_hash():
    assert content_hash("a b") != content_hash("ab")


def test_a_template_is_filled_and_empty_lines_are_dropped():
    item = Item(item_id="1", title="Emma", categories=("novel", "classic"), attributes={"authors": ["Austen", "X"]})
    template = "{title} by {authors}\n{categories}\n{text}\nSeries: {series}\nA book."
    assert render(template, item) == "Emma by Austen, X\nnovel, classic\nA book."


def test_braces_in_values_are_not_filled_again():
    assert render("{title}\n{text}", Item(item_id="1", title="{text}", text="secret")) == "{text}\nsecret"


def test_every_kind_of_attribute_has_a_text():
    values = {"b": True, "i": 3, "f": 1.5, "g": {"lat": 1.0, "lon": 2.0}, "l": [1, 2], "n": None}
    item = SimpleNamespace(title="", text="", categories=(), attributes=values)
    assert render("{b} {i} {f} {g} {l} {n}.", item) == "yes 3 1.5 1.0, 2.0 1, 2 ."


def test_fields_win_over_attributes_of_the_same_name():
    assert render("{title}", Item(item_id="1", title="field", attributes={"title": "attribute"})) == "field"


@pytest.mark.parametrize(
    ("template", "message"),
    [("{title} {nope}", "{nope}"), ("nothing", "no field"), ("{title} {", "brace"), ("{title} {a b}", "brace")],
)
def test_a_wrong_template_is_refused_with_its_fault(template, message):
    with pytest.raises(SettingsError) as caught:
        check_template(template, {"year"})
    assert message in str(caught.value)


def test_a_template_of_known_names_is_accepted():
    check_template("{title}\n{categories}\n{year}", {"year"})
