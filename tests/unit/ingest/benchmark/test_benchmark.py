"""The encoder's benchmark: its texts, its engine processes, and what it makes of their figures."""

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tokenizers import Tokenizer

from ingest.benchmark.encoder import FIDELITY_TEXTS, Figure, Results
from ingest.benchmark.models import macs_per_token
from ingest.benchmark.peers import open_engine
from ingest.benchmark.process import EngineProcess
from ingest.benchmark.report import show
from ingest.benchmark.texts import SETS, catalogue_texts, text_sets
from ingest.encoder.artifact import Fidelity
from ingest.errors import SettingsError
from tests.artifacts import default_artifact, export_tiny, write_tiny_bert


@pytest.fixture(scope="module")
def sets() -> dict[str, list[str]]:
    return text_sets(catalogue_texts(None), default_artifact() / "tokenizer.json", 20)


def test_every_set_has_the_texts_that_its_name_promises(sets: dict[str, list[str]]) -> None:
    tokenizer = Tokenizer.from_file(str(default_artifact() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    lengths = {name: [len(tokenizer.encode(text).ids) for text in texts] for name, texts in sets.items()}
    assert set(sets) == set(SETS)
    assert all(len(texts) == 20 for texts in sets.values())
    assert set(lengths["short"]) == {16}
    assert max(lengths["mixed"]) > 256


def test_the_same_seed_gives_the_same_texts(sets: dict[str, list[str]]) -> None:
    assert text_sets(catalogue_texts(None), default_artifact() / "tokenizer.json", 20) == sets


def test_the_sample_is_enough_for_as_many_short_texts_as_fidelity_is_measured_on() -> None:
    texts = text_sets(catalogue_texts(None), default_artifact() / "tokenizer.json", FIDELITY_TEXTS)["short"]

    assert len(set(texts)) == FIDELITY_TEXTS


def test_texts_that_are_too_few_are_said_and_not_searched_for_ever() -> None:
    with pytest.raises(SettingsError, match="give more items"):
        text_sets(["a lighthouse"], default_artifact() / "tokenizer.json", 20)


def test_an_engine_embeds_its_share_in_a_process_of_its_own(tmp_path: Path, sets: dict[str, list[str]]) -> None:
    texts, vectors = tmp_path / "texts.json", tmp_path / "vectors.npy"
    texts.write_text(json.dumps(sets["short"]))
    with EngineProcess("akin-int8", default_artifact(), 1, None) as engine:
        engine.ask(texts, 1, 2, vectors)
        run = engine.answer()
    assert run.tokens == run.given == 10 * 16
    assert run.seconds > 0
    assert np.load(vectors).shape == (10, 384)


def test_an_engine_that_cannot_start_says_why(tmp_path: Path) -> None:
    with EngineProcess("akin-int8", tmp_path / "nothing", 1, None) as engine:
        engine.ask(tmp_path / "texts.json")
        with pytest.raises(RuntimeError, match="no encoder artifact"):
            engine.answer()


def test_the_work_of_a_token_is_that_of_every_product_fused_ones_too(tmp_path: Path) -> None:
    hidden, inner, layers = 32, 64, 2
    artifact = export_tiny(write_tiny_bert(tmp_path / "tiny", hidden=hidden), tmp_path / "encoder")

    assert macs_per_token(artifact.model) == layers * (4 * hidden**2 + 2 * hidden * inner)


def test_tokens_are_counted_as_the_encoder_reads_them(tmp_path: Path) -> None:
    artifact = export_tiny(write_tiny_bert(tmp_path / "tiny"), tmp_path / "encoder")
    embed, count = open_engine("akin-fp32", artifact.folder, 1)

    embed(["one two three", "one"])
    embed(["one two three"])  # read again

    assert (count.tokens, count.given) == (5 + 3 + 5, 5 + 3 + 5)


def _figure(rate: float) -> Figure:
    return Figure(texts_per_s=rate, tokens_per_s=16 * rate, peak_share=None, padding=0.25, tokens=320, memory=2**28)


def _results() -> Results:
    fidelity = Fidelity(texts=20, mean_cosine=0.99, p1_cosine=0.98, worst_cosine=0.9, neighbour_overlap=0.9)
    modes = {
        "one process": {"akin-int8": _figure(30), "ort-int8": _figure(20)},
        "one process per core": {"akin-int8": _figure(40), "ort-int8": _figure(10)},
    }
    return Results(
        figures={"short": modes},
        fidelity={"short": {"int8": fidelity}},
        skipped={"fastembed-int8": "fastembed is not installed; install akin's extra `bench`"},
        peak=None,
    )


def test_the_json_holds_each_engine_in_the_mode_that_is_faster_for_it() -> None:
    assert _results().as_json() == {
        "short": {
            "engines": {
                "akin-int8": {"texts_per_s": 40, "tokens_per_s": 640, "peak_share": None},
                "ort-int8": {"texts_per_s": 20, "tokens_per_s": 320, "peak_share": None},
            },
            "fidelity": {"int8": {"cosine_mean": 0.99, "cosine_p1": 0.98, "overlap_at_10": 0.9}},
        }
    }


def test_the_report_gives_ratios_and_names_what_was_left_out(tmp_path: Path) -> None:
    with (tmp_path / "report").open("w") as file:
        show(_results(), Console(file=file, width=200))
    text = (tmp_path / "report").read_text()
    assert "1.50" in text
    assert "4.00" in text
    assert "skipped fastembed-int8: fastembed is not installed; install akin's extra `bench`" in text
