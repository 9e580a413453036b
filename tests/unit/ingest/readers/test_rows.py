"""Which reader a file gets, and what is said of a file that gets none."""

import subprocess
import sys
from pathlib import Path

import pytest
from reading import ids, items

from ingest.errors import InvalidInputError
from ingest.mapping import ItemMapping
from ingest.readers import Progress, open_rows


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
    (tmp_path / "c").mkdir()
    for name, code in (
        ("a.csv", "file_missing"),
        ("b.csv", "file_unreadable"),
        ("a.parquet", "file_missing"),
        ("a", "file_missing"),
        ("c", "file_unreadable"),
    ):
        with pytest.raises(InvalidInputError) as caught:
            items(tmp_path / name)
        assert (caught.value.code, name in caught.value.detail) == (code, True)


def test_rows_can_be_read_without_a_mapping(file):
    assert list(open_rows(file("a.csv", "a,b\n1,2\n"))) == [(2, {"a": "1", "b": "2"})]


def test_importing_the_readers_loads_nothing_heavy():
    code = "import sys, ingest.readers; print({'pyarrow', 'pandas', 'selectolax', 'zstandard'} & set(sys.modules))"
    root = Path(__file__).resolve().parents[4]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_a_mapped_column_that_no_row_has_is_remembered(file):
    progress = Progress()
    path = file("a.jsonl", '{"item_id": "1", "name": "t"}\n{"item_id": "2", "about": "x"}\n')

    items(path, ItemMapping(fields={"title": ("name",), "text": ("nosuch",)}), progress=progress)

    assert progress.unseen == {"nosuch"}
