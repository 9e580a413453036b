import importlib.util
from pathlib import Path

import numpy as np
import pytest

from ingest.encoder.artifact import Artifact, read_artifact
from ingest.encoder.export import Shape, export_model
from ingest.encoder.onnx import OnnxEncoder
from ingest.errors import ArtifactError
from tests.artifacts import default_artifact, export_tiny, write_tiny_bert

TEXTS = ["red river", "A bird sings, two birds!", "书山 水。", "", "unknownword stone"]


def torch_vectors(folder: Path, pooling: str) -> np.ndarray:
    import torch
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    rows = []
    for text in TEXTS:
        with torch.no_grad():
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()
        vector = hidden[0] if pooling == "cls" else hidden.mean(axis=0)
        rows.append(vector / np.linalg.norm(vector))
    return np.array(rows)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("fast", [True, False], ids=["tokenizer.json", "vocab.txt"])
def test_an_fp32_export_equals_the_torch_model(tmp_path: Path, pooling: str, fast: bool) -> None:
    source = write_tiny_bert(tmp_path / "source", pooling=pooling, fast=fast)

    artifact = export_tiny(source, tmp_path / "out")

    assert artifact.manifest.pooling == pooling
    with OnnxEncoder(artifact) as encoder:
        assert np.allclose(encoder.embed(TEXTS), torch_vectors(source, pooling), atol=1e-4)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("recipe", ["int8", "fast", "accurate", "fp16"])
def test_a_bert_base_shape_exports_by_every_recipe(tmp_path: Path, recipe: str, pooling: str) -> None:
    source = write_tiny_bert(tmp_path / "source", pooling=pooling, hidden=768)

    artifact = export_tiny(source, tmp_path / "out", recipe=recipe)

    assert artifact.manifest.dimensions == 768
    with OnnxEncoder(artifact) as encoder:
        assert (np.einsum("nd,nd->n", encoder.embed(TEXTS), torch_vectors(source, pooling)) > 0.95).all()


def test_exporting_twice_makes_the_same_encoder(tiny_source: Path, tiny_artifact: Artifact, tmp_path: Path) -> None:
    assert export_tiny(tiny_source, tmp_path / "again").fingerprint == tiny_artifact.fingerprint


def test_the_manifest_records_where_it_came_from_and_what_was_lost() -> None:
    manifest = read_artifact(default_artifact()).manifest

    assert (manifest.source, manifest.recipe) == ("sentence-transformers/all-MiniLM-L6-v2", "int8")
    assert (manifest.dimensions, manifest.max_tokens, manifest.licence) == (384, 256, "apache-2.0")
    assert manifest.fidelity is not None
    assert manifest.fidelity.mean_cosine >= 0.998
    assert manifest.fidelity.neighbour_overlap >= 0.94
    assert {"torch", "onnxruntime", "optimum-onnx"} <= manifest.exporter.keys()


def test_too_great_a_loss_is_refused_and_leaves_nothing(
    tiny_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ingest.encoder import export

    recipe = export.find_recipe("fast")
    floor = type(recipe.floor)(mean_cosine=1.01, p1_cosine=0, neighbour_overlap=0)
    strict = type(recipe)(name="fast", storage="int8", floor=floor)
    monkeypatch.setattr(export, "find_recipe", lambda _: strict)

    with pytest.raises(ArtifactError, match=r"under 1\.01"):
        export_model(str(tiny_source), tmp_path / "out", recipe="fast")

    assert not list(tmp_path.iterdir())


def test_an_unknown_recipe_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="int8, fast, accurate, fp32, fp16"):
        export_model(None, tmp_path / "out", recipe="int3")


def test_a_missing_extra_names_the_command_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "torch" else find(name, *more))

    with pytest.raises(ArtifactError, match=r"pip install '\.\[export\]'"):
        export_model(None, tmp_path / "out")


def test_progress_is_told(tiny_source: Path, tmp_path: Path) -> None:
    said: list[str] = []

    export_model(str(tiny_source), tmp_path / "out", recipe="fp32", progress=said.append)

    assert [line.split()[0] for line in said] == ["exporting", "storing", "comparing"]


def test_one_text_is_too_few_to_measure_on(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="two texts"):
        export_model(None, tmp_path / "out", texts=["alone"])


def test_fewer_layers_and_dimensions_and_passages_make_another_encoder(tiny_source: Path, tmp_path: Path) -> None:
    whole = export_tiny(tiny_source, tmp_path / "whole")
    export_model(
        str(tiny_source), tmp_path / "less", recipe="int8", shape=Shape(layers=1, dimensions=8, passages=1), force=True
    )

    less = read_artifact(tmp_path / "less")
    assert (less.manifest.layers, less.manifest.dimensions, less.manifest.passages) == (1, 8, 1)
    assert less.model.stat().st_size < whole.model.stat().st_size
    assert less.fingerprint != whole.fingerprint
    beginning, longer = "red river stone bird sings. ", "red river stone bird sings. " * 8
    with OnnxEncoder(less) as encoder:
        first, second = encoder.embed([longer, longer + "two blue dogs"])
        assert np.allclose(np.linalg.norm(encoder.embed([beginning]), axis=1), 1, atol=1e-5)
    assert np.array_equal(first, second)  # only the first passage is read


@pytest.mark.parametrize(("layers", "dimensions", "named"), [(9, None, "--layers 9"), (None, 99, "--dimensions")])
def test_more_than_the_model_has_is_refused(
    tiny_source: Path, tmp_path: Path, layers: int | None, dimensions: int | None, named: str
) -> None:
    with pytest.raises(ArtifactError, match=named):
        export_model(str(tiny_source), tmp_path / "out", shape=Shape(layers=layers, dimensions=dimensions))


def test_the_owners_texts_set_up_and_measure(tiny_source: Path, tmp_path: Path) -> None:
    texts = [f"{a} {b} {c}" for a in ("red", "blue", "green") for b in ("river", "stone", "bird") for c in "abcd"]

    manifest = export_model(str(tiny_source), tmp_path / "out", recipe="int8", texts=texts, force=True)

    assert manifest.fidelity is not None
    assert manifest.fidelity.texts == 27  # a quarter set it up
