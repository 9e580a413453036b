import json
import shutil
from pathlib import Path

import pytest

from ingest.encoder import source as sources
from ingest.encoder.source import DEFAULT_MODEL, DEFAULT_REVISION, find_source
from ingest.errors import ArtifactError


@pytest.fixture
def model(tiny_source: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_source, tmp_path / "model"))


def find(folder: Path) -> sources.ModelSource:
    return find_source(str(folder), None, lambda _: None)


def edit(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(content | changes))


def test_a_model_says_how_it_is_used(model: Path) -> None:
    found = find(model)

    assert (found.name, found.pooling, found.max_tokens, found.licence) == ("model", "mean", 16, "mit")
    assert found.revision.startswith("sha256:")


@pytest.mark.parametrize(
    "changes",
    [
        {"auto_map": {"AutoModel": "modeling_evil.Evil"}},
        {"_attn_implementation": "someone/kernel"},
        {"_attn_implementation_internal": "someone/kernel"},
        {"attn_implementation": "someone/kernel"},
        {"_experts_implementation": "x"},
        {"text_config": {"vision": [{"_attn_implementation_autoset": True}]}},
    ],
)
def test_a_config_that_can_load_code_is_refused(model: Path, changes: dict[str, object]) -> None:
    edit(model / "config.json", **changes)

    with pytest.raises(ArtifactError, match=r"load code"):
        find(model)


def test_a_tokenizer_that_brings_code_is_refused(model: Path) -> None:
    edit(model / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Tokenizer", None]})

    with pytest.raises(ArtifactError, match="auto_map"):
        find(model)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_pickled_weights_are_refused(model: Path, name: str) -> None:
    (model / "model.safetensors").rename(model / name)

    with pytest.raises(ArtifactError, match="pickled weights"):
        find(model)


def test_layers_that_would_be_left_out_are_refused(model: Path) -> None:
    (model / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Dense"}]))

    with pytest.raises(ArtifactError, match="Dense"):
        find(model)


def test_a_pooling_that_is_unknown_is_refused(model: Path) -> None:
    edit(model / "1_Pooling" / "config.json", pooling_mode_mean_tokens=False, pooling_mode_max_tokens=True)

    with pytest.raises(ArtifactError, match="max_tokens"):
        find(model)


@pytest.mark.parametrize(("modes", "pooling"), [({"pooling_mode": "cls"}, "cls"), ({"pooling_mode": "mean"}, "mean")])
def test_a_pooling_may_be_named(model: Path, modes: dict[str, object], pooling: str) -> None:
    (model / "1_Pooling" / "config.json").write_text(json.dumps(modes))

    assert find(model).pooling == pooling


def test_a_model_without_a_pooling_file_pools_by_mean(model: Path) -> None:
    shutil.rmtree(model / "1_Pooling")

    assert find(model).pooling == "mean"


def test_the_limit_never_exceeds_the_positions_a_model_has(model: Path) -> None:
    edit(model / "sentence_bert_config.json", max_seq_length=100_000)
    assert find(model).max_tokens == 64

    (model / "sentence_bert_config.json").unlink()
    edit(model / "tokenizer_config.json", model_max_length=10**30)
    assert find(model).max_tokens == 64


def test_a_model_card_without_front_matter_has_an_unknown_licence(model: Path) -> None:
    (model / "README.md").write_text("# A model\nlicense: mit\n")

    assert find(model).licence == "unknown"


def test_damaged_json_is_named(model: Path) -> None:
    (model / "config.json").write_text("{")

    with pytest.raises(ArtifactError, match=r"config\.json"):
        find(model)


def test_the_default_model_comes_from_the_package_when_the_hub_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_hub_answers", lambda: False)
    said: list[str] = []

    found = find_source(None, None, said.append)

    assert (found.name, found.revision) == (DEFAULT_MODEL, DEFAULT_REVISION)
    assert (found.licence, found.max_tokens, found.pooling) == ("apache-2.0", 256, "mean")


def test_a_name_that_cannot_be_looked_up_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_hub_answers", lambda: False)

    with pytest.raises(ArtifactError, match="hub cannot be reached"):
        find_source("nobody/nothing", "0" * 40, lambda _: None)
