"""One is not many."""

from ingest.sentences import count_of


def test_one_is_said_as_one():
    assert [count_of(n, "row") for n in (0, 1, 2, 12_000)] == ["0 rows", "1 row", "2 rows", "12,000 rows"]
