"""Files that are read before they are needed."""

import os

import pytest

from ingest.page_cache import read_into_page_cache

SIZE = 3 << 20


def in_memory(path):
    """Whether the last page of the file can be read without waiting for the disk."""
    with path.open("rb") as file:
        try:
            return os.preadv(file.fileno(), [bytearray(1)], SIZE - 1, os.RWF_NOWAIT) == 1
        except BlockingIOError:
            return False


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="this system cannot say what is in its page cache")
def test_every_file_is_in_memory_afterwards(tmp_path):
    inner = tmp_path / "segments" / "one"
    inner.mkdir(parents=True)
    paths = [tmp_path / "wal", inner / "matrix"]
    for path in paths:
        path.write_bytes(os.urandom(SIZE))
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if any(map(in_memory, paths)):
        pytest.skip("this file system keeps its files in memory")

    read_into_page_cache(tmp_path)

    assert all(map(in_memory, paths))


def test_what_another_left_to_be_written_is_written_out(tmp_path, monkeypatch):
    (tmp_path / "matrix").write_bytes(b"1234")
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))

    read_into_page_cache(tmp_path)

    assert flushed == [(tmp_path / "matrix").stat().st_ino]


def test_what_is_not_there_or_cannot_be_read_is_no_error(tmp_path):
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    read_into_page_cache(tmp_path)
    read_into_page_cache(tmp_path / "missing")
