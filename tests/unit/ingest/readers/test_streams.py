"""Compressed files and standard input read like plain files; damage and bombs are refused."""

import gzip
import io
import random
import sys
from pathlib import Path

import pytest
import zstandard
from reading import ids, items

from ingest.errors import InvalidInputError
from ingest.mapping import ItemMapping
from ingest.readers import Progress, Row, file_size_hint, read_items

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
