"""Parquet: rows numbered from one, damage told apart from rows that are wrong."""

import gzip
import sys

import pytest
from reading import codes, events, ids, items

from ingest.errors import InvalidInputError, SettingsError
from ingest.readers import Progress, file_size_hint


class TestParquet:
    @pytest.fixture
    def table(self, tmp_path):
        import pyarrow as pa
        from pyarrow import parquet

        def write(columns, name="a.parquet"):
            parquet.write_table(pa.table(columns), tmp_path / name)
            return tmp_path / name

        return write

    def test_rows_are_numbered_from_one(self, table):
        path = table({"item_id": [1, 2, None], "title": ["a", None, "c"], "year": [1990.0, None, 1.0], "x": [1, 2, 3]})
        rows = items(path)
        assert ids(rows) == {1: "1"}
        assert rows[0].value.attributes == {"year": 1990}
        assert codes(rows) == {2: "item_empty", 3: "item_id_missing"}

    def test_text_that_is_no_utf_8_is_an_error_of_its_row(self, table):
        import pyarrow as pa

        titles = pa.array([b"a", b"\xff", b"c"]).cast(pa.binary()).view(pa.string())
        rows = items(table({"item_id": ["1", "2", "3"], "title": titles}))
        assert (ids(rows), codes(rows)) == ({1: "1", 3: "3"}, {2: "bad_value"})

    def test_times_and_decimals_are_read(self, table):
        from datetime import UTC, datetime
        from decimal import Decimal

        path = table(
            {
                "user_id": ["u"],
                "item_id": ["i"],
                "type": ["view"],
                "timestamp": [datetime(2024, 1, 1, tzinfo=UTC)],
                "value": [Decimal("2.50")],
            }
        )
        (row,) = events(path)
        assert row.value.timestamp == datetime(2024, 1, 1, tzinfo=UTC)
        assert row.value.value == 2.5

    @pytest.mark.parametrize("keep", [0, 10, 200])
    def test_a_truncated_file_is_refused(self, table, keep):
        path = table({"item_id": ["1"]})
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(InvalidInputError) as caught:
            items(path)
        assert caught.value.code == "file_damaged"

    def test_a_missing_column_is_told_with_all_there_are(self, table):
        with pytest.raises(InvalidInputError) as caught:
            items(table({"asin": ["1"], "unrelated": ["x"]}))
        assert "asin, unrelated" in caught.value.detail

    def test_compressed_files_and_rows_to_come_are_known(self, table, file):
        path = table({"item_id": ["1", "2"], "title": ["a", "b"]})
        compressed = file("b.parquet.gz", gzip.compress(path.read_bytes()))
        assert ids(items(compressed)) == {1: "1", 2: "2"}
        assert file_size_hint(compressed) is None
        progress = Progress()
        items(path, progress=progress)
        assert progress.done == file_size_hint(path) == 2

    def test_without_pyarrow_the_error_says_what_to_install(self, table, monkeypatch):
        path = table({"item_id": ["1"]})
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(SettingsError, match=r"pip install '\.\[parquet\]'"):
            items(path)


def test_parquet_columns_of_which_nothing_is_taken_are_named(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"item_id": ["1"], "title": ["One"], "genre": ["x"]}), tmp_path / "a.parquet")
    progress = Progress()

    items(tmp_path / "a.parquet", progress=progress)

    assert progress.ignored == {"genre"}
