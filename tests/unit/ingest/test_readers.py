import gzip
import io
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import InvalidInputError, SettingsError
from ingest.items import AttributeType
from ingest.mapping import EventMapping, ItemMapping, load_mapping
from ingest.readers import (
    Progress,
    RejectsFile,
    Row,
    RowError,
    file_size_hint,
    open_rows,
    read_events,
    read_items,
)
from ingest.readers.lines import read_csv, read_json_lines
from tests.reference import BOOK_ATTRIBUTES, MAPPINGS, MOVIE_ATTRIBUTES, reference_data

DECLARED = {"year": AttributeType.INTEGER, "tags": AttributeType.KEYWORD}


@pytest.fixture
def file(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def codes(rows):
    return {row.position: row.code for row in rows if isinstance(row, RowError)}


def ids(rows):
    return {row.position: row.value.item_id for row in rows if isinstance(row, Row)}


def items(path, mapping=None, max_text_chars=1_000, **options):
    return list(read_items(path, mapping or ItemMapping(), DECLARED, max_text_chars=max_text_chars, **options))


def events(path, mapping=None):
    return list(read_events(path, mapping or EventMapping(), {"view", "rating"}))


class Forever(io.RawIOBase):
    """A file that would never end."""

    def __init__(self, line):
        self.line, self.given = line, 0

    def readable(self):
        return True

    def readinto(self, buffer):
        n = min(len(buffer), len(self.line))
        buffer[:n] = self.line[:n]
        self.given += n
        return n


class TestJsonLines:
    def test_good_rows_go_on_around_broken_ones(self, file):
        lines = [
            b'\xef\xbb\xbf{"item_id": "a", "title": "t"}',
            b"",
            b'{"item_id": "b", "title": ',
            b'{"item_id": "c", "title": "\xff"}',
            b'{"item_id": "d", "title": "\\ud800"}',
            b'{"item_id": "e", "title": "t", "attributes": {"year": NaN}}',
            b'{"item_id": "f", "title": "t", "attributes": {"year": 1e400}}',
            b'["g"]',
            b'{"item_id": "h", "title": "\\u0000 "}',
            b'{"item_id": "i", "title": "t", "attributes": {"year": "x"}}',
            b'{"item_id": "j", "title": "t\\u0000"}',
            b'{"item_id": ' + b"[" * 100_000,
        ]
        rows = items(file("a.jsonl", b"\n".join(lines)))
        assert ids(rows) == {1: "a", 11: "j"}
        assert codes(rows) == {
            3: "bad_json", 4: "bad_json", 5: "bad_json", 6: "bad_json", 7: "bad_json", 8: "wrong_type",
            9: "item_empty", 10: "attribute_wrong_type", 12: "bad_json",
        }  # fmt: skip

    def test_an_error_names_its_item_and_not_its_value(self, file):
        (error,) = items(file("a.jsonl", '{"item_id": "a", "title": "t", "attributes": {"year": "s3cret"}}'))
        assert error.subject_id == "a"
        assert "attributes.year" in error.detail
        assert "s3cret" not in error.detail

    def test_an_integer_that_could_never_be_placed_is_an_error_of_its_row(self, file):
        line = '{"item_id": "a", "title": "t", "attributes": {"year": %d}}\n'
        rows = items(file("a.jsonl", line % 2**53 + line % (2**53 + 1)))
        assert ids(rows) == {1: "a"}
        assert codes(rows) == {2: "attribute_wrong_type"}

    def test_a_line_that_is_too_long_is_read_past(self):
        stream = io.BytesIO(b'{"a":1}\n{"b":"' + b"x" * 5_000 + b'"}\n{"c":3}')
        rows = list(read_json_lines(stream, 1_000))
        assert [position for position, _ in rows] == [1, 2, 3]
        assert rows[1][1].code == "line_too_long"
        assert rows[2][1] == {"c": 3}

    def test_a_text_that_is_too_long_is_an_error_of_its_row(self, file):
        rows = items(file("a.jsonl", json.dumps({"item_id": "a", "text": "x" * 1_001})))
        assert codes(rows) == {1: "text_too_long"}

    def test_a_megabyte_of_text_is_read(self, file):
        path = file("a.jsonl", json.dumps({"item_id": "a", "text": "wort " * 200_000}))
        assert ids(items(path, max_text_chars=1_000_000)) == {1: "a"}

    def test_a_json_array_is_told_apart(self, file):
        with pytest.raises(InvalidInputError, match="JSON array"):
            items(file("a.json", '[{"item_id": "a"}]'))

    def test_utf_16_is_told_apart(self, file):
        with pytest.raises(InvalidInputError, match="UTF-16"):
            items(file("a.jsonl", '{"item_id": "a"}'.encode("utf-16")))

    def test_an_empty_file_holds_nothing(self, file):
        assert items(file("a.jsonl", "")) == []

    def test_rows_are_streamed(self):
        source = Forever(b'{"item_id": "a"}\n')
        rows = read_json_lines(io.BufferedReader(source, 4096), 1_000)
        assert [next(rows)[0] for _ in range(1_000)] == list(range(1, 1_001))
        assert source.given < 100_000

    @given(st.binary(max_size=200))
    def test_any_bytes_are_rows_or_errors(self, content):
        try:
            rows = list(read_json_lines(io.BytesIO(content), 50))
        except InvalidInputError:
            return
        assert all(isinstance(row, dict | RowError) for _, row in rows)


class TestCsv:
    def test_cells_become_typed_fields(self, file):
        path = file("a.csv", 'item_id,title,tags,year,x\n1,"Emma, or",p|q,1815,z\n\n2,"two\nlines",,,\n3,t,,,\n')
        rows = items(path, ItemMapping(separators={"tags": "|"}))
        assert [row.value.attributes for row in rows] == [{"tags": ["p", "q"], "year": 1815}, {}, {}]
        assert ids(rows) == {2: "1", 4: "2", 6: "3"}
        assert rows[1].value.title == "two lines"

    def test_broken_rows_stay_alone(self, file):
        content = (
            b'item_id,title\n1,one\n2\n3,"open\n4,four\n5,"five"\n6,\xff\n7,"a"b\n8,eight\n9,"open at the end\n10,ten\n'
        )
        rows = items(file("a.csv", content))
        assert ids(rows) == {2: "1", 5: "4", 6: "5", 9: "8", 11: "10"}
        assert codes(rows) == {3: "wrong_cells", 4: "bad_csv", 7: "bad_utf8", 8: "bad_csv", 10: "bad_csv"}

    def test_an_open_quote_does_not_swallow_a_large_file(self):
        content = 'a,b\n1,"open\n' + "2,x\n" * 20_000
        rows = list(read_csv(io.BytesIO(content.encode()), 10_000_000))
        assert len([row for _, row in rows if isinstance(row, dict)]) == 20_000

    def test_a_line_that_is_too_long_is_read_past(self):
        rows = list(read_csv(io.BytesIO(b"a,b\n1," + b"x" * 5_000 + b"\n2,y\n"), 1_000))
        assert rows[0][1].code == "bad_csv"
        assert rows[1] == (3, {"a": "2", "b": "y"})

    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_the_header_tells_the_delimiter(self, file, delimiter):
        path = file("a.csv", f"\ufeffitem_id{delimiter}title\r\n1{delimiter}t\r\n")
        assert ids(items(path)) == {2: "1"}

    @pytest.mark.parametrize("content", ["", "\n", "a,a\n1,2", b"\xff,b\n", '"a'])
    def test_without_a_header_the_file_is_refused(self, file, content):
        with pytest.raises(InvalidInputError) as caught:
            items(file("a.csv", content))
        assert caught.value.code == "file_format"

    def test_a_missing_column_is_told_before_any_row(self, file):
        with pytest.raises(InvalidInputError, match="no column item_id") as caught:
            items(file("a.csv", "isbn,title\n1,t\n"))
        assert "isbn" in caught.value.detail

    @given(st.binary(max_size=100))
    def test_any_bytes_are_rows_or_errors(self, content):
        rows = list(read_csv(io.BytesIO(b"a,b\n" + content), 50))
        assert all(isinstance(row, dict | RowError) for _, row in rows)

    cells = st.text(st.characters(exclude_characters="\r\x00", exclude_categories=["Cs"]), max_size=10)

    @given(st.lists(st.tuples(cells, cells), max_size=5))
    def test_what_was_written_is_read(self, table):
        quoted = "".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in table)
        rows = list(read_csv(io.BytesIO(b"a,b\n" + quoted.encode()), 10_000))
        assert [tuple(row.values()) for _, row in rows] == table


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
        with pytest.raises(SettingsError, match=r"pip install 'akin\[parquet\]'"):
            items(path)


COMPRESSORS = {"gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress}


@pytest.mark.parametrize("suffix", COMPRESSORS)
class TestCompressed:
    def test_it_reads_like_the_plain_file(self, file, suffix):
        compress = COMPRESSORS[suffix]
        parts = [f'{{"item_id": "{i}", "title": "t"}}\n'.encode() for i in range(10_000)]
        content = compress(b"".join(parts[:5_000])) + compress(b"".join(parts[5_000:]))
        path, progress = file(f"a.jsonl.{suffix}", content), Progress()
        assert ids(items(path, progress=progress)) == {i + 1: str(i) for i in range(10_000)}
        assert progress.done == file_size_hint(path) == len(content)

    def test_a_truncated_file_is_refused_after_its_good_rows(self, file, suffix):
        draw = random.Random(1)
        lines = "".join(f'{{"item_id": "{draw.random()}", "title": "t"}}\n' for _ in range(20_000))
        content = COMPRESSORS[suffix](lines.encode())
        rows = read_items(file(f"a.jsonl.{suffix}", content[:-100]), ItemMapping(), {}, max_text_chars=100)
        assert isinstance(next(rows), Row)
        with pytest.raises(InvalidInputError) as caught:
            list(rows)
        assert caught.value.code == "file_truncated"

    def test_a_damaged_file_is_refused(self, file, suffix):
        content = bytearray(COMPRESSORS[suffix](random.Random(1).randbytes(10_000)))
        content[20:40] = bytes(20)
        with pytest.raises(InvalidInputError) as caught:
            items(file(f"a.jsonl.{suffix}", bytes(content)) if suffix == "gz" else file("a.jsonl.zst", content[:4] * 9))
        assert caught.value.code in {"file_damaged", "file_truncated"}

    def test_a_bomb_is_refused(self, file, suffix):
        path = file(f"a.jsonl.{suffix}", COMPRESSORS[suffix](b" " * 300_000_000))
        with pytest.raises(InvalidInputError) as caught:
            items(path)
        assert caught.value.code == "decompression_bomb"

    def test_a_plain_file_by_that_name_is_told_apart(self, file, suffix):
        with pytest.raises(InvalidInputError, match="not compressed"):
            items(file(f"a.jsonl.{suffix}", '{"item_id": "a"}'))


def test_standard_input_is_read(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(b'{"item_id": "a", "title": "t"}\n'))))
    assert ids(items("-")) == {1: "a"}
    assert file_size_hint("-") is None


def test_the_size_of_a_file_is_told_by_the_format_that_was_named(file):
    assert file_size_hint(file("nameless", "12345"), "csv") == 5
    assert file_size_hint(Path("not there"), "csv") is None


def test_the_format_may_be_named(file):
    assert ids(items(file("a.txt", "item_id,title\n1,t\n"), format="csv")) == {2: "1"}


@pytest.mark.parametrize(
    ("name", "options", "code"), [("a.txt", {}, "file_format"), ("a.csv", {"format": "xml"}, "file_format")]
)
def test_an_unknown_format_is_refused(file, name, options, code):
    with pytest.raises(InvalidInputError) as caught:
        items(file(name, "x"), **options)
    assert caught.value.code == code


def test_a_file_that_is_not_there_or_a_folder_is_named(tmp_path):
    (tmp_path / "b.csv").mkdir()
    for name, code in (("a.csv", "file_missing"), ("b.csv", "file_unreadable"), ("a.parquet", "file_missing")):
        with pytest.raises(InvalidInputError) as caught:
            items(tmp_path / name)
        assert (caught.value.code, name in caught.value.detail) == (code, True)


def test_rows_can_be_read_without_a_mapping(file):
    assert list(open_rows(file("a.csv", "a,b\n1,2\n"))) == [(2, {"a": "1", "b": "2"})]


def test_reading_events_twice_gives_the_same_ids(file):
    path = file("a.csv", "user_id,item_id,event,value,timestamp\nu,i,view,,1362063653\nu,i,rating,4,\n,i,view,,\n")
    first, second = events(path), events(path)
    assert first == second
    assert len({row.value.event_id for row in first[:2]}) == 2
    assert first[2] == RowError(
        position=4, subject_id="i", code="user_id_missing", detail="user_id is missing: it must be a string"
    )


def test_a_refused_event_does_not_give_its_user_away(file):
    (error,) = events(file("a.jsonl", '{"user_id": "s3cret", "item_id": "i", "type": "nope"}'))
    assert "s3cret" not in repr(error)


def test_refused_rows_are_listed_in_a_file(tmp_path):
    error = RowError(position=3, subject_id="ä", code="c", detail="d")
    with RejectsFile(tmp_path / "rejects.jsonl") as rejects:
        rejects.write(error)
        rejects.write(error)
    lines = (tmp_path / "rejects.jsonl").read_bytes().splitlines()
    assert rejects.count == len(lines) == 2
    assert orjson.loads(lines[0]) == {"position": 3, "subject_id": "ä", "code": "c", "detail": "d"}


def test_what_an_earlier_run_refused_is_not_left_beside_a_clean_one(tmp_path):
    path = tmp_path / "rejects.jsonl"
    path.write_text("of the run before")

    with pytest.raises(KeyboardInterrupt), RejectsFile(path):
        raise KeyboardInterrupt
    assert path.exists()

    with RejectsFile(path):
        pass
    assert not path.exists()


def test_a_rejects_file_that_cannot_be_made_is_one_sentence(tmp_path):
    error = RowError(position=1, subject_id=None, code="wrong", detail="wrong")

    with pytest.raises(SettingsError, match="--rejects"), RejectsFile(tmp_path / "no" / "folder") as rejects:
        rejects.write(error)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "item_id,title,description,genre,year\n1,One,Long,x,1990\n"),
        (
            "a.jsonl",
            '{"item_id": "1", "title": "One", "genre": "x"}\n{"item_id": "2", "title": "Two", "description": 1}\n',
        ),
    ],
)
def test_columns_of_which_nothing_is_taken_are_named(file, name, content):
    progress = Progress()

    items(file(name, content), progress=progress)

    assert progress.ignored == {"description", "genre"}


def test_parquet_columns_of_which_nothing_is_taken_are_named(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"item_id": ["1"], "title": ["One"], "genre": ["x"]}), tmp_path / "a.parquet")
    progress = Progress()

    items(tmp_path / "a.parquet", progress=progress)

    assert progress.ignored == {"genre"}


def test_the_list_of_ignored_columns_stays_short():
    progress = Progress()

    progress.ignore([f"column {n}" for n in range(1_000)])
    progress.ignore(["x" * 1_000, "a\nb"])

    assert len(progress.ignored) == 20


def test_without_a_refused_row_there_is_no_rejects_file(tmp_path):
    with RejectsFile(tmp_path / "rejects.jsonl") as rejects:
        pass
    assert rejects.count == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "attributes", "n_items", "n_events"),
    [("movies", MOVIE_ATTRIBUTES, 2_512, 54_569), ("books", BOOK_ATTRIBUTES, 10_000, 298_176)],
)
def test_the_reference_data_is_read_without_a_refused_row(name, attributes, n_items, n_events):
    folder = reference_data(name)
    item_mapping, event_mapping = load_mapping(MAPPINGS / f"{name}.toml")
    declared = {key: AttributeType(type_) for key, type_ in attributes.items()}
    catalogue = list(read_items(folder / "items.parquet", item_mapping, declared, max_text_chars=64_000))
    assert codes(catalogue) == {}
    assert len({row.value.item_id for row in catalogue}) == n_items
    ratings = list(read_events(folder / "events.parquet", event_mapping, {"rating"}))
    assert codes(ratings) == {}
    assert len({row.value.event_id for row in ratings}) == n_events


def test_a_small_catalogue_is_read_in_a_moment():
    path = reference_data("movies") / "items.parquet"
    mapping, _ = load_mapping(MAPPINGS / "movies.toml")
    declared = {key: AttributeType(type_) for key, type_ in MOVIE_ATTRIBUTES.items()}
    list(read_items(path, mapping, declared, max_text_chars=64_000))
    started = time.perf_counter()
    list(read_items(path, mapping, declared, max_text_chars=64_000))
    assert time.perf_counter() - started < 2  # measured 0.2 s; the rest is for a busy machine


def test_importing_the_readers_loads_nothing_heavy():
    code = "import sys, ingest.readers; print({'pyarrow', 'pandas', 'selectolax', 'zstandard'} & set(sys.modules))"
    root = Path(__file__).resolve().parents[3]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
