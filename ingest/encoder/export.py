"""Turns a published model into an encoder artifact. The only place that imports torch, transformers and optimum."""

import importlib.metadata
import importlib.util
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ingest.encoder.artifact import (
    DEFAULT_PASSAGES,
    MODEL,
    TOKENIZER,
    Artifact,
    Fidelity,
    Manifest,
    file_hash,
    read_artifact,
    write_manifest,
)
from ingest.encoder.cpu import needs_reduced_range
from ingest.encoder.fidelity import measure_fidelity, principal_directions
from ingest.encoder.fidelity_texts import FIDELITY_TEXTS, calibration_texts
from ingest.encoder.folders import check_replaceable, replaced_folder
from ingest.encoder.onnx import OnnxEncoder
from ingest.encoder.quantize import store
from ingest.encoder.recipes import Recipe, find_recipe
from ingest.encoder.source import ModelSource, find_source
from ingest.encoder.tokens import token_ids
from ingest.errors import ArtifactError
from ingest.extras import to_install

_LIBRARIES = ("torch", "transformers", "optimum", "optimum-onnx", "onnx", "onnxruntime", "tokenizers")

_SETTING_UP = 256  # of the owner's texts, besides the built-in ones
_FEWEST_TEXTS = 2  # a neighbour needs a second one


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of the model is kept: `layers`, `dimensions` principal directions, `passages` of a long text."""

    layers: int | None = None
    dimensions: int | None = None
    passages: int = DEFAULT_PASSAGES


WHOLE = Shape()


def export_model(
    source: str | None,
    out: Path,
    *,
    revision: str | None = None,
    recipe: str = "int8",
    texts: Sequence[str] | None = None,
    shape: Shape = WHOLE,
    progress: Callable[[str], None] | None = None,
    force: bool = False,
) -> Manifest:
    """Export a model to the folder `out`, which is replaced in one step when everything has succeeded.

    `source` is a hub id (with `revision`, a commit, or the newest one), a folder, or None for the default model.
    `texts` are the owner's, by default a built-in set. Some set up the quantization, the loss is measured on others.
    Raises ArtifactError when the model is refused, when the export extra is missing, and, unless `force`, when the loss
    is above the recipe's floor.
    """
    tell = progress or _silent
    chosen = find_recipe(recipe)
    if texts is not None and len(texts) < _FEWEST_TEXTS:
        raise ArtifactError("fidelity is measured on at least two texts; give more, or none for the built-in set")
    check_installed()
    check_replaceable(out)
    model = find_source(source, revision, tell)
    setting_up, measured = _parted(texts)
    with tempfile.TemporaryDirectory(prefix="akin-export-") as scratch, replaced_folder(out) as folder:
        tell(f"exporting {model.name} to ONNX")
        original = export_fp32(model, Path(scratch) / "whole")
        shaped = original
        if shape != WHOLE:
            shaped = _shaped(model, original, shape, Path(scratch) / "shaped", setting_up)
        tell(f"storing weights as {chosen.name}")
        manifest = _apply(chosen, shaped, folder, setting_up, tell)
        tell("comparing with fp32")
        fidelity = compare(read_artifact(folder), original, measured)
        _check_floor(chosen, fidelity, force=force)
        manifest = replace(manifest, fidelity=fidelity)
        write_manifest(folder, manifest)
    return manifest


def _parted(texts: Sequence[str] | None) -> tuple[list[str], Sequence[str]]:
    """Texts that the ranges are taken from, and others that the loss is measured on."""
    if texts is None:
        return calibration_texts(), FIDELITY_TEXTS
    n = min(_SETTING_UP, len(texts) // 4)
    return [*calibration_texts(), *texts[:n]], texts[n:]


def _shaped(model: ModelSource, original: Artifact, shape: Shape, folder: Path, texts: Sequence[str]) -> Artifact:
    from ingest.encoder.graph import add_projection

    shaped = original
    if shape.layers is not None:
        shaped = export_fp32(model, folder, layers=shape.layers)
    else:
        shutil.copytree(original.folder, folder)
    manifest = replace(shaped.manifest, passages=shape.passages, layers=shape.layers)
    if shape.dimensions is not None:
        if not 1 < shape.dimensions < manifest.dimensions:
            raise ArtifactError(f"--dimensions takes 2 to {manifest.dimensions - 1} for this model")
        with OnnxEncoder(shaped, provider="cpu") as encoder:
            add_projection(folder / MODEL, principal_directions(encoder.embed(texts), shape.dimensions))
        manifest = replace(manifest, dimensions=shape.dimensions)
    manifest = replace(manifest, files={name: file_hash(folder / name) for name in (MODEL, TOKENIZER)})
    write_manifest(folder, manifest)
    return read_artifact(folder)


def _silent(_: str) -> None:
    return


def check_installed() -> None:
    """Raise ArtifactError that names the extra unless the exporter's libraries are here."""
    for name in ("torch", "transformers", "optimum", "onnx"):
        if importlib.util.find_spec(name) is None:
            raise ArtifactError(f"exporting a model needs {name}; {to_install('export')}")
    if importlib.util.find_spec("optimum.exporters.onnx") is None:
        raise ArtifactError(f"exporting a model needs optimum-onnx; {to_install('export')}")


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters' warnings are about their own insides (tracing, deprecated arguments); none is for the caller."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


def export_fp32(source: ModelSource, folder: Path, *, layers: int | None = None) -> Artifact:
    """The unquantized artifact: graph with pooling inside, tokenizer, manifest."""
    from ingest.encoder.graph import add_pooling

    folder.mkdir(parents=True, exist_ok=True)
    with _quiet():
        dimensions = _export_graph(source.folder, folder / MODEL, layers)
        add_pooling(folder / MODEL, source.pooling, dimensions)
        _save_tokenizer(source.folder, folder / TOKENIZER)
    manifest = Manifest(
        source=source.name,
        revision=source.revision,
        licence=source.licence,
        dimensions=dimensions,
        max_tokens=source.max_tokens,
        pooling=source.pooling,
        recipe="fp32",
        reduced_range=False,
        fidelity=None,
        files={name: file_hash(folder / name) for name in (MODEL, TOKENIZER)},
        exporter={name: importlib.metadata.version(name) for name in _LIBRARIES},
    )
    write_manifest(folder, manifest)
    return read_artifact(folder)


def _export_graph(folder: Path, path: Path, layers: int | None) -> int:
    """Export token ids to hidden states through optimum; returns the hidden size."""
    import torch
    from optimum.exporters.onnx import export
    from optimum.exporters.tasks import TasksManager
    from transformers import AutoModel

    from ingest.encoder.graph import OPSET

    try:
        model = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation="eager",
            torch_dtype=torch.float32,
        ).eval()
        if layers is not None:
            _keep_layers(model, layers)
        constructor = TasksManager.get_exporter_config_constructor(
            "onnx", model=model, task="feature-extraction", library_name="transformers"
        )
        export(model, constructor(model.config), path, opset=OPSET)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ArtifactError(f"{folder} could not be exported ({error}); use a BERT-type encoder") from error
    return int(model.config.hidden_size)


def _keep_layers(model: Any, n: int) -> None:
    """Keep `n` layers of a BERT-type model, spread evenly; of several the first and the last are always kept.

    Without its last layer a model that was trained to embed gives hardly anything of what it gave.
    """
    every = getattr(getattr(model, "encoder", None), "layer", None)
    if every is None or not 1 <= n <= len(every):
        most = "a model whose layers can be told apart" if every is None else f"1 to {len(every)} layers"
        raise ArtifactError(f"--layers {n} cannot be kept of this model; it takes {most}")
    kept = [len(every) - 1] if n == 1 else [round(row * (len(every) - 1) / (n - 1)) for row in range(n)]
    model.encoder.layer = type(every)(every[row] for row in kept)
    model.config.num_hidden_layers = n


def _save_tokenizer(folder: Path, path: Path) -> None:
    """Copy the fast tokenizer file, or make one from the vocabulary."""
    if (folder / TOKENIZER).is_file():
        shutil.copyfile(folder / TOKENIZER, path)
        return
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        tokenizer.backend_tokenizer.save(str(path))
    except (OSError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{folder} has no tokenizer that can be stored as tokenizer.json ({error})") from error


def _apply(
    recipe: Recipe, original: Artifact, folder: Path, texts: Sequence[str], tell: Callable[[str], None]
) -> Manifest:
    """Fill `folder` with the graph as the recipe stores it; the manifest has no fidelity yet."""
    shutil.copyfile(original.tokenizer, folder / TOKENIZER)
    reduced_range = recipe.quantized and needs_reduced_range()
    calibration = token_ids(original, texts) if recipe.quantized else ()
    with _quiet():
        store(
            original.model,
            folder / MODEL,
            recipe,
            reduced_range=reduced_range,
            calibration=calibration,
            tell=tell,
        )
    files = {name: file_hash(folder / name) for name in (MODEL, TOKENIZER)}
    manifest = replace(original.manifest, recipe=recipe.name, reduced_range=reduced_range, files=files)
    write_manifest(folder, manifest)
    return manifest


def compare(exported: Artifact, original: Artifact, texts: Sequence[str]) -> Fidelity:
    """How close an artifact is to another one, as a rule its fp32 original, on at least two texts."""
    with OnnxEncoder(exported, provider="cpu") as encoder, OnnxEncoder(original, provider="cpu") as reference:
        return measure_fidelity(encoder, reference, texts)


def _check_floor(recipe: Recipe, fidelity: Fidelity, *, force: bool) -> None:
    missed = recipe.floor.missed(fidelity)
    if missed and not force:
        raise ArtifactError(
            f"the recipe {recipe.name} keeps too little of fp32: {', '.join(missed)}; "
            "use a more exact recipe (accurate, fp32), or --force if you accept the loss"
        )
