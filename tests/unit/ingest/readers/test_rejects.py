"""The file that lists refused rows."""

import orjson
import pytest

from ingest.errors import SettingsError
from ingest.files import file_source
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
    with RejectsFile(path) as earlier:
        earlier.write(RowError(position=1, subject_id=None, code="wrong", detail="wrong"))

    with pytest.raises(KeyboardInterrupt), RejectsFile(path):
        raise KeyboardInterrupt
    assert path.exists()

    with RejectsFile(path):
        pass
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [
        "buy milk\n",
        '{"item_id": "a", "title": "A"}\n',
        '{"position": 1, "subject_id": null, "code": "c", "detail": "d", "mine": 1}\n',
        "[1, 2]\n",
        "\n",
        b"\x80\x81" * 100_000,
    ],
)
def test_a_file_of_somebody_else_s_is_refused_as_a_list_and_stays_as_it_is(file, content):
    path = file("notes.txt", content)
    before = path.read_bytes()
    error = RowError(position=1, subject_id=None, code="wrong", detail="wrong")

    with pytest.raises(SettingsError, match=r"notes\.txt.*--rejects"), RejectsFile(path) as rejects:
        rejects.write(error)

    assert path.read_bytes() == before


def test_an_empty_file_may_be_written_to_and_is_not_removed(file):
    path = file("made.jsonl", "")

    with RejectsFile(path):
        pass
    assert path.read_bytes() == b""

    with RejectsFile(path) as rejects:
        rejects.write(RowError(position=1, subject_id=None, code="wrong", detail="wrong"))
    assert len(path.read_bytes().splitlines()) == 1


def test_the_file_that_is_read_is_not_where_its_refused_rows_go(file, tmp_path):
    source = file("big.jsonl", '{"position": 1, "subject_id": null, "code": "c", "detail": "d"}\n')
    linked = tmp_path / "link.jsonl"
    linked.symlink_to(source)

    for rejects in (source, linked, tmp_path / "." / "big.jsonl"):
        with pytest.raises(SettingsError, match="--rejects"):
            file_source(str(source), rejects=rejects).rejects_path()

    assert file_source(str(source), rejects=tmp_path / "other").rejects_path() == tmp_path / "other"
    assert file_source("-", rejects=source).rejects_path() == source


def test_a_rejects_file_that_cannot_be_made_is_one_sentence(tmp_path):
    error = RowError(position=1, subject_id=None, code="wrong", detail="wrong")

    with pytest.raises(SettingsError, match="--rejects"), RejectsFile(tmp_path / "no" / "folder") as rejects:
        rejects.write(error)


def test_without_a_refused_row_there_is_no_rejects_file(tmp_path):
    with RejectsFile(tmp_path / "rejects.jsonl") as rejects:
        pass
    assert rejects.count == 0
    assert list(tmp_path.iterdir()) == []
