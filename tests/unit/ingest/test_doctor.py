"""The examination names what is not in order and what to do, and changes nothing."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from ingest.doctor import Check, Finding, examine
from ingest.errors import SettingsError
from ingest.events import Event
from ingest.items import Item
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from tests.fakes import Installation, installation


def found(settings: Settings, **more: Check) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(settings, more)}


def test_where_nothing_is_yet_nothing_is_made(settings: Settings) -> None:
    findings = found(settings)

    for name in ("ledger", "index", "generation"):
        assert findings[name].ok
        assert "none yet" in findings[name].detail
    assert str(settings.home) in findings["ledger"].detail
    assert not settings.home.exists()


def test_in_a_cluster_the_clock_is_what_makes_the_first_generation(settings: Settings, sqlite_ledger: Ledger) -> None:
    clustered = {"qdrant_url": "http://127.0.0.1:1", "broker_url": SecretStr("memory://")}

    finding = found(settings.model_copy(update=clustered))["generation"]

    assert finding.ok
    assert "`akin beat`" in finding.detail
    assert "akin up" not in finding.detail


def test_an_installation_in_order(tmp_path: Path) -> None:
    with installation(tmp_path / "home") as akin:
        findings = found(akin.settings)

    assert "0 items" in findings["ledger"].detail
    assert findings["index"] == Finding(name="index", ok=True, detail="generations first")
    assert "first is live, built with the encoder and the attributes" in findings["generation"].detail


def test_a_file_in_the_place_of_the_data_folder_does_not_pass_for_nothing_yet(settings: Settings) -> None:
    settings.home.write_text("not a folder")

    findings = found(settings)

    for name in ("data folder", "ledger", "generation"):
        assert not findings[name].ok
        assert "is a file" in findings[name].detail


def test_events_that_match_no_item_are_counted(tmp_path: Path) -> None:
    with installation(tmp_path / "home") as akin:
        akin.add_events([Event(event_id="e", user_id="u", item_id="sku-a", type="view")])
        detail = found(akin.settings)["ledger"].detail

    assert "1 of 1 events name items that are not there (yet)" in detail


def test_an_attribute_that_was_declared_since_waits_for_a_reindex(tmp_path: Path) -> None:
    with installation(tmp_path / "home") as akin:
        declared = {**akin.settings.attributes, "colour": "keyword"}
        finding = found(akin.settings.model_copy(update={"attributes": declared}))["generation"]

    assert finding.ok
    assert "attributes (colour)" in finding.detail
    assert "akin reindex" in finding.detail


def test_values_that_do_not_fit_their_attribute_are_counted(tmp_path: Path) -> None:
    with installation(tmp_path / "home") as akin:
        years = {"a": "n/a", "b": "unknown", "c": "1999"}
        akin.add_items([Item(item_id=i, title=i, attributes={"year": year}) for i, year in years.items()])
        finding = found(akin.settings)["generation"]

    assert finding.ok
    assert "2 items with a value of year that is no integer, which filters do not see" in finding.detail


def test_an_index_that_was_lost_is_named(tmp_path: Path) -> None:
    with installation(tmp_path / "home") as akin:
        lose(akin)
        finding = found(akin.settings)["index"]

    assert not finding.ok
    assert "first is not in it" in finding.detail


def lose(akin: Installation) -> None:
    akin.index.drop("first")


def test_a_qdrant_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with installation(tmp_path / "home") as akin:
        elsewhere = akin.settings.model_copy(update={"qdrant_url": "http://127.0.0.1:1"})
        finding = found(elsewhere)["index"]

    assert not finding.ok
    assert "Qdrant" in finding.detail


def test_a_variable_that_nothing_reads_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AKIN_POTR", "8001")

    finding = found(settings)["variables"]

    assert not finding.ok
    assert "AKIN_POTR (did you mean AKIN_PORT?)" in finding.detail


def test_no_check_stops_the_others(settings: Settings) -> None:
    def wrong() -> str:
        raise SettingsError("wrong")

    def unreadable() -> str:
        Path("/dev/null/nothing").read_text()
        return ""

    findings = found(settings, wrong=wrong, unreadable=unreadable, last=lambda: "fine")

    assert (findings["wrong"].ok, findings["unreadable"].ok, findings["last"].ok) == (False, False, True)
    assert "/dev/null/nothing" in findings["unreadable"].detail
