"""JSON Lines and CSV: every line is a row or an error, and is read as it comes."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import codes, ids, items

from ingest.errors import InvalidInputError
from ingest.mapping import ItemMapping
from ingest.readers import RowError
from ingest.readers.lines import read_csv, read_json_lines


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
            3: "bad_json", 4: "bad_utf8", 5: "bad_json", 6: "bad_json", 7: "bad_json", 8: "wrong_type",
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

    @pytest.mark.parametrize("content", ["\n", "a,a\n1,2", b"\xff,b\n", '"a'])
    def test_without_a_header_the_file_is_refused(self, file, content):
        with pytest.raises(InvalidInputError) as caught:
            items(file("a.csv", content))
        assert caught.value.code == "file_format"

    @pytest.mark.parametrize("content", ["", "item_id,title\n"])
    def test_an_empty_file_has_no_rows_with_a_header_or_without(self, file, content):
        assert items(file("a.csv", content)) == []

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
