"""Writes are refused before a disk is full, with what to do."""

from pathlib import Path

import pytest

from ingest.disk import check_free_space
from ingest.errors import StorageFullError


def test_free_space_is_asked_where_the_folder_will_be(tmp_path: Path) -> None:
    check_free_space(tmp_path / "not" / "made" / "yet", 1)


def test_a_folder_may_be_named_from_where_the_program_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    check_free_space(Path("akin-data"), 1)


def test_a_disk_with_less_room_than_the_watermark_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StorageFullError, match="make room, or lower AKIN_MIN_FREE_BYTES") as refused:
        check_free_space(tmp_path, 2**62)

    assert str(tmp_path) in str(refused.value)
    assert f"{2**62:,}" in str(refused.value)
