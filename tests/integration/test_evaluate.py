"""The evaluation from files to report, with the real encoder, a real index and the recommender of the API."""

import json
from pathlib import Path

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

from akin import app
from ingest.encoder.artifact import read_artifact
from ingest.errors import InvalidInputError
from ingest.files import file_source
from ingest.settings import Scenario, Settings, load_settings
from ingest.store.ledger import open_ledger
from serving.evaluate.experiment import Options, evaluate
from serving.evaluate.progress import silent
from serving.evaluate.workspace import documents, shared_embeddings, take_in_items, workspace
from serving.request import STRATEGIES
from tests.artifacts import default_artifact

WORDS = {"sea": "ship harbour sailor island storm", "wood": "forest oak deer moss hunter"}
ITEMS = 60
EACH = ITEMS // 2


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two kinds of texts; each of 24 users likes nine items of one kind, in the order of days."""
    rng = np.random.default_rng(4)
    items, events = tmp_path / "items.jsonl", tmp_path / "events.jsonl"
    kinds = [("sea" if number < EACH else "wood") for number in range(ITEMS)]
    with items.open("wb") as file:
        for number, kind in enumerate(kinds):
            words = " ".join(rng.choice(WORDS[kind].split(), 4))
            row = {"item_id": f"i{number}", "title": f"{kind} {number}", "text": words}
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    with events.open("wb") as file:
        for user in range(24):
            liked = rng.choice(EACH, 9, replace=False) + (EACH if user % 2 else 0)
            for day, number in enumerate(liked.tolist()):
                row = {"user_id": f"u{user}", "item_id": f"i{number}", "type": "like", "timestamp": 1_700_000_000 + day}
                file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    return items, events


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "nobody", encoder=default_artifact(), encoder_threads=1, min_free_bytes=0)


def test_every_strategy_is_asked_and_texts_find_what_random_items_do_not(files, configured):
    items, events = (file_source(str(file)) for file in files)
    report = evaluate(configured, items, events, Options(strategies=STRATEGIES))
    found = {result.name: result for result in report.strategies}
    assert found.keys() == set(STRATEGIES)
    assert (report.users, report.items, report.split) == (24, ITEMS, "user"), "a cut in time leaves too few users"
    # Of the other kind no text is near: nearly all of the first ten are of the user's own.
    assert found["mean"].measures["recall@20"].mean > 0.5
    assert all(result.coverage["coverage@20"] > 0 for result in report.strategies)
    assert not configured.home.exists()
    assert any("too few events: 24 users" in note for note in report.notes), "nothing says that taste is a fallback"


def test_embeddings_that_a_home_keeps_are_there_before_anything_is_embedded(files, configured, tmp_path):
    items, events = (file_source(str(file)) for file in files)
    options = Options(strategies=["mean", "scenario:curious"], home=tmp_path / "kept")
    configured = configured.model_copy(update={"scenarios": {"curious": Scenario(explore=0.5)}})
    first = evaluate(configured, items, events, options)
    assert {result.name for result in first.strategies} == {"mean", "scenario:curious"}
    with open_ledger(f"sqlite:///{tmp_path / 'kept' / 'ledger.sqlite'}") as ledger:
        assert ledger.items.count() == ledger.events.count() == 0
    with workspace(configured) as catalogue:
        take_in_items(catalogue, items, silent)
        wanted = [one.content_hash for page in documents(catalogue) for one in page]
        fingerprint = read_artifact(default_artifact()).fingerprint
        with shared_embeddings(catalogue, options.home):
            assert catalogue.ledger.placements.vectors(fingerprint, wanted).keys() == set(wanted)
    assert evaluate(configured, items, events, options).as_json() == first.as_json()


def test_the_command_writes_json_and_a_page(files, configured, tmp_path, monkeypatch):
    monkeypatch.setenv("AKIN_ENCODER", str(configured.encoder))
    monkeypatch.setenv("AKIN_MIN_FREE_BYTES", "0")
    wanted = ["--strategies", "popular,mean", "--users", "10", "--split", "global"]
    wanted += ["--json", str(tmp_path / "report.json"), "--html", str(tmp_path / "report.html")]
    done = CliRunner().invoke(app, ["evaluate", "--items", str(files[0]), "--events", str(files[1]), *wanted])
    assert done.exit_code == 0, done.output
    written = json.loads((tmp_path / "report.json").read_bytes())
    assert written["strategies"].keys() == {"popular", "mean"}
    assert written["strategies"]["mean"]["ndcg@10_low"] <= written["strategies"]["mean"]["ndcg@10"]
    assert written["split"] == "global"
    assert "<svg" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "nDCG@10 by slice" in done.output


def test_what_cannot_be_written_or_asked_is_refused_before_any_file_is_read(tmp_path):
    def refused(*arguments):
        done = CliRunner().invoke(app, [*arguments, "--items", "none.csv", "--events", "none.csv"])
        return str(done.exception)

    assert "--html: there is no folder" in refused("evaluate", "--html", str(tmp_path / "a" / "b" / "r.html"))
    assert "--json" in refused("evaluate", "--json", str(tmp_path))
    assert "--out" in refused("tune", "--out", str(tmp_path))
    assert "strategies here are" in refused("evaluate", "--strategies", "magic")
    assert "split is one of" in refused("evaluate", "--split", "magic")
    assert "split is one of" in refused("tune", "--split", "magic", "--out", str(tmp_path / "t.toml"))


def test_events_on_items_that_are_not_there_are_counted_and_all_of_them_refused(files, configured, tmp_path):
    items = file_source(str(files[0]))
    rows = files[1].read_text().splitlines()
    some, all_ = tmp_path / "some.jsonl", tmp_path / "all.jsonl"
    some.write_text("\n".join([*rows, rows[0].replace(':"i', ':"sku-i')]) + "\n")
    all_.write_text("\n".join(rows).replace(':"i', ':"sku-i') + "\n")

    report = evaluate(configured, items, file_source(str(some)), Options(strategies=["popular"]))

    assert any(note.startswith(f"1 of {len(rows) + 1} events name items that are not there") for note in report.notes)
    with pytest.raises(InvalidInputError, match="none of 216 events names an item"):
        evaluate(configured, items, file_source(str(all_)), Options(strategies=["popular"]))
    with pytest.raises(InvalidInputError, match=r"all rows of .* were refused"):
        evaluate(configured, items, items, Options(strategies=["popular"]))


@pytest.mark.filterwarnings("default")  # what torch and pandas warn of is theirs
def test_ease_of_too_many_items_is_left_out_with_a_note_and_refused_by_name_before_events_are_read(
    files, configured, tmp_path
):
    pytest.importorskip("lenskit")
    items, events = (file_source(str(file)) for file in files)
    limited = configured.model_copy(update={"taste_dense_items": ITEMS - 1})

    report = evaluate(limited, items, events, Options(users=5))

    names = {result.name for result in report.strategies}
    assert "als" in names
    assert "ease" not in names
    assert any(note.startswith("without the baseline ease: ") for note in report.notes)
    with pytest.raises(InvalidInputError, match=r"for 60 items, which are more than AKIN_TASTE_DENSE_ITEMS \(59\)"):
        evaluate(limited, items, items, Options(strategies=["popular", "ease"]))
    named = evaluate(limited, items, events, Options(strategies=["popular"]))
    assert not any("ease" in note for note in named.notes)


def test_tuning_says_that_so_few_users_tell_nothing_and_writes_a_file_that_can_be_used(
    files, configured, tmp_path, monkeypatch
):
    monkeypatch.setenv("AKIN_ENCODER", str(configured.encoder))
    monkeypatch.setenv("AKIN_MIN_FREE_BYTES", "0")
    out = tmp_path / "tuned.toml"
    wanted = [
        "tune",
        "--items",
        str(files[0]),
        "--events",
        str(files[1]),
        "--out",
        str(out),
        "--json",
        str(tmp_path / "t.json"),
    ]
    done = CliRunner().invoke(app, wanted)
    assert done.exit_code == 0, done.output
    assert "24 users" in " ".join(done.output.split())
    assert json.loads((tmp_path / "t.json").read_bytes())["settings"] == {}
    monkeypatch.setenv("AKIN_CONFIG", str(out))
    assert load_settings().taste_ridge == Settings().taste_ridge
