"""The file that lists refused rows."""

import orjson
import pytest

from ingest.errors import SettingsError
from ingest.readers import RejectsFile, RowError


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


def test_without_a_refused_row_there_is_no_rejects_file(tmp_path):
    with RejectsFile(tmp_path / "rejects.jsonl") as rejects:
        pass
    assert rejects.count == 0
    assert list(tmp_path.iterdir()) == []
