"""What the command line prints at a terminal of 80 columns: nothing that has to be typed is cut."""

from collections.abc import Iterator
from io import StringIO

import pytest
from rich.console import Console

from ingest.commands import output
from serving import terminal


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Iterator[StringIO]:
    out = StringIO()
    for module in (terminal, output):
        monkeypatch.setattr(module, "console", Console(file=out, width=80))
    return out


def answer(item_id: str) -> dict[str, object]:
    item = {
        "item_id": item_id,
        "score": 0.5,
        "source": "interests",
        "fields": {"title": "A rather long title of a book about lighthouses and their keepers"},
        "because": [{"item_id": "b", "title": "Another long title about lighthouses", "share": 0.5}],
    }
    return {"items": [item]}


def test_an_id_stands_on_one_line(printed: StringIO) -> None:
    terminal.show_answer("for ada", answer("the-keeper-of-the-orange-lighthouse-ii"), as_json=False)

    assert "the-keeper-of-the-orange-lighthouse-ii" in printed.getvalue()
    assert "…" not in printed.getvalue()
    assert max(map(len, printed.getvalue().splitlines())) <= 80


def test_an_id_that_is_longer_goes_on_in_the_next_line(printed: StringIO) -> None:
    terminal.show_answer("for ada", answer("x" * 120), as_json=False)

    assert printed.getvalue().count("x") == 120
    assert "…" not in printed.getvalue()


def test_a_generation_can_be_named(printed: StringIO) -> None:
    checks = [{"name": name, "value": 0.98765, "passed": True} for name in ("items", "recall@10", "ndcg@10", "failed")]
    row = {
        "name": "g20261124-101112-1234",
        "state": "catching_up",
        "items": 1_000_000,
        "fingerprint": "f" * 64,
        "report": {"checks": checks},
    }
    terminal.show_generations([row], as_json=False)

    assert "g20261124-101112-1234" in printed.getvalue()
    assert "…" not in printed.getvalue()


def test_a_hash_is_shown_whole(printed: StringIO) -> None:
    output.show({"files": "sha256:" + "0123456789abcdef" * 8}, as_json=False)

    assert "".join(printed.getvalue().split()).endswith("0123456789abcdef" * 8)


def test_an_empty_table_says_why(printed: StringIO) -> None:
    output.show_keys([], as_json=False)
    terminal.show_generations([], as_json=False)

    assert "akin keys create" in printed.getvalue()
    assert "akin ingest items" in printed.getvalue()
