"""Settings that would make every answer nonsense are refused, by the name of the variable."""

import re

import pytest

from ingest.errors import SettingsError
from ingest.items import parse_item
from ingest.settings import check_cluster, load_settings, unknown_variables
from ingest.store.ledger import open_ledger

NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"event_weights": {"like": NAN}}, "AKIN_EVENT_WEIGHTS[like]"),
        ({"event_weights": {"like": INFINITE}}, "AKIN_EVENT_WEIGHTS[like]"),
        ({"half_life_days": NAN}, "AKIN_HALF_LIFE_DAYS"),
        ({"blend_text": INFINITE}, "AKIN_BLEND_TEXT"),
        ({"interests_prior": NAN}, "AKIN_INTERESTS_PRIOR"),
        ({"scenarios": {"home": {"min_score": NAN}}}, "AKIN_SCENARIOS[home][min_score]"),
        ({"scenarios": {"home": {"diversity": 1.5}}}, "AKIN_SCENARIOS[home][diversity]"),
        ({"scenarios": {"home": {"explore": 0.9}}}, "AKIN_SCENARIOS[home][explore]"),
        ({"scenarios": {"home": {"boosts": [{"by": NAN}]}}}, "AKIN_SCENARIOS[home][boosts][0][by]"),
        ({"scenarios": {"home": {"boosts": [{"by": -1}]}}}, "AKIN_SCENARIOS[home][boosts][0][by]"),
    ],
)
def test_a_number_that_is_none_is_refused(given, name):
    with pytest.raises(SettingsError, match=re.escape(f"{name}: ")):
        load_settings(**given)


def test_a_weight_from_the_environment_is_checked_alike(monkeypatch):
    monkeypatch.setenv("AKIN_EVENT_WEIGHTS", '{"like": NaN}')
    with pytest.raises(SettingsError, match=re.escape("AKIN_EVENT_WEIGHTS[like]: ")):
        load_settings()


def test_a_setting_that_there_is_not_is_named_with_the_one_that_may_be_meant(monkeypatch, tmp_path):
    file = tmp_path / "akin.toml"
    file.write_text("half_life_day = 3\nnothing_like_it = 4\n")
    monkeypatch.setenv("AKIN_CONFIG", str(file))

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert "AKIN_HALF_LIFE_DAY: there is no such setting; half_life_days would be one" in str(caught.value)
    assert "AKIN_NOTHING_LIKE_IT: there is no such setting" in str(caught.value)


@pytest.mark.parametrize("content", [b"port = = 3", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_named(monkeypatch, tmp_path, content):
    file = tmp_path / "akin.toml"
    file.write_bytes(content)
    monkeypatch.setenv("AKIN_CONFIG", str(file))

    with pytest.raises(SettingsError, match=r"akin\.toml, which is not TOML"):
        load_settings()


def test_a_part_of_a_setting_is_named_inside_its_variable(monkeypatch):
    monkeypatch.setenv("AKIN_ATTRIBUTES", '{"year": "int"}')

    with pytest.raises(SettingsError, match=r"^AKIN_ATTRIBUTES\[year\]: "):
        load_settings()


def test_a_variable_that_is_not_json_is_named_and_not_repeated(monkeypatch):
    monkeypatch.setenv("AKIN_ATTRIBUTES", "{year: integer}")

    with pytest.raises(SettingsError, match="AKIN_ATTRIBUTES: must be JSON") as caught:
        load_settings()

    assert "integer" not in str(caught.value)


@pytest.mark.parametrize("template", ["{titel}", "no field", "{title} {", "{year}"])
def test_a_template_that_would_embed_nothing_is_refused(template):
    with pytest.raises(SettingsError, match="AKIN_TEXT_TEMPLATE: text_template"):
        load_settings(text_template=template)


def test_a_template_may_name_a_declared_attribute():
    load_settings(text_template="{title} {year}", attributes={"year": "integer"})


@pytest.mark.parametrize("name", ["", "a" * 65, "release date", "größe", "a.b", "item_id", "title", "text"])
def test_a_name_that_no_attribute_can_have_is_refused_before_anything_is_built_with_it(name):
    with pytest.raises(SettingsError, match=r"AKIN_ATTRIBUTES: .* attribute names are 1 to 64 letters"):
        load_settings(attributes={name: "keyword"})


def test_an_attribute_may_have_the_longest_name_and_its_items_too():
    name = "a" * 64

    declared = load_settings(attributes={name: "keyword"}).attributes

    assert parse_item({"item_id": "1", "title": "t", "attributes": {name: "x"}}, declared, max_text_chars=10)


def test_a_broker_of_an_unknown_kind_is_refused_without_its_password():
    with pytest.raises(SettingsError, match="AKIN_BROKER_URL: must begin with amqp://") as caught:
        load_settings(broker_url="rabbit://akin:hidden@host")

    assert "hidden" not in str(caught.value)


def test_variables_that_nothing_reads_are_found():
    found = unknown_variables(["AKIN_POTR", "AKIN_PORT", "AKIN_URL", "AKIN_CONFIG", "PATH", "AKIN_XYZZY_QUUX"])

    assert found == {"AKIN_POTR": "AKIN_PORT", "AKIN_XYZZY_QUUX": None}


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "AKIN_BROKER_URL and AKIN_QDRANT_URL"),
        ({"broker_url": "amqp://localhost"}, "AKIN_QDRANT_URL"),
        ({"qdrant_url": "http://localhost:6333"}, "AKIN_BROKER_URL"),
    ],
)
def test_processes_of_their_own_need_what_they_share(given, missing):
    settings = load_settings(**given)
    assert not settings.cluster
    with pytest.raises(SettingsError, match=f"set {missing}, or"):
        check_cluster(settings)


def test_a_broker_and_a_qdrant_server_make_a_cluster():
    settings = load_settings(broker_url="amqp://localhost", qdrant_url="http://localhost:6333")
    assert settings.cluster
    check_cluster(settings)


@pytest.mark.parametrize("name", ["keep_log_days", "popularity_days"])
def test_days_that_no_calendar_holds_are_refused(name):
    with pytest.raises(SettingsError, match=f"AKIN_{name.upper()}"):
        load_settings(**{name: 1_000_000})


@pytest.mark.parametrize("name", ["plain", "a?b", "c#d", "e%20f", "g h", "i@j", "k+l", "ü", "m:n"])
def test_the_ledger_lies_in_the_data_folder_whatever_its_name(tmp_path, name):
    settings = load_settings(home=tmp_path / name)

    with open_ledger(settings.ledger_url) as ledger:
        assert ledger.file == tmp_path / name / "ledger.sqlite"
    assert (tmp_path / name / "ledger.sqlite").exists()
