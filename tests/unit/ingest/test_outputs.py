"""Where a command is to write is looked at before it works."""

import os

import pytest

from ingest.errors import SettingsError
from ingest.outputs import check_output


def test_the_last_folder_of_the_path_is_made_and_the_file_is_not(tmp_path):
    check_output(tmp_path / "build" / "report.html", "--html")

    assert (tmp_path / "build").is_dir()
    assert list((tmp_path / "build").iterdir()) == []


def test_no_file_is_no_trouble():
    check_output(None, "--html")


def test_a_file_that_is_there_stays_as_it_is(tmp_path):
    (tmp_path / "a").write_text("before")
    check_output(tmp_path / "a", "--json")
    assert (tmp_path / "a").read_text() == "before"


def test_more_than_one_missing_folder_is_more_likely_a_slip(tmp_path):
    with pytest.raises(SettingsError, match=r"--html: there is no folder .*/x;"):
        check_output(tmp_path / "x" / "y" / "report.html", "--html")
    check_output(tmp_path / "x" / "y" / "report.html", "--home", parents=True)
    assert (tmp_path / "x" / "y").is_dir()


def test_a_folder_in_the_place_of_the_file_or_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"--json: .* is a folder"):
        check_output(tmp_path, "--json")
    with pytest.raises(SettingsError, match=r"--json: .*file is no folder"):
        check_output(tmp_path / "file" / "report.json", "--json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path):
    (tmp_path / "kept").mkdir(mode=0o500)
    with pytest.raises(SettingsError, match=r"--out: .* cannot be written"):
        check_output(tmp_path / "kept" / "tuned.toml", "--out")
