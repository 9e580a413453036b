"""Turns a published model into an encoder artifact. The only place that imports torch, transformers and optimum."""

import importlib.metadata
import importlib.util
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ingest.encoder.artifact import (
    MODEL,
    TOKENIZER,
    Artifact,
    Fidelity,
    Manifest,
    file_hash,
    read_artifact,
    write_manifest,
)
from ingest.encoder.fidelity import measure_fidelity
from ingest.encoder.fidelity_texts import CALIBRATION_TEXTS, FIDELITY_TEXTS
from ingest.encoder.folders import check_replaceable, replaced_folder
from ingest.encoder.onnx import OnnxEncoder
from ingest.encoder.processor import needs_reduced_range
from ingest.encoder.quantize import Recipe, find_recipe, quantize
from ingest.encoder.source import ModelSource, find_source
from ingest.encoder.tokens import token_ids
from ingest.errors import ArtifactError

_LIBRARIES = ("torch", "transformers", "optimum", "optimum-onnx", "onnx", "onnxruntime", "tokenizers")

_FEWEST_TEXTS = 2  # a neighbour needs a second one


def export_model(
    source: str | None,
    out: Path,
    *,
    revision: str | None = None,
    recipe: str = "int8",
    texts: Sequence[str] | None = None,
    progress: Callable[[str], None] | None = None,
    force: bool = False,
) -> Manifest:
    """Export a model to the folder `out`, which is replaced in one step when everything has succeeded.

    `source` is a hub id (with `revision`, a commit, or the newest one), a folder, or None for the default model.
    `texts` are what the loss of quantization is measured on, a built-in set by default. Raises ArtifactError when the
    model is refused, when the export extra is missing, and, unless `force`, when the loss is above the recipe's floor.
    """
    tell = progress or _silent
    chosen = find_recipe(recipe)
    if texts is not None and len(texts) < _FEWEST_TEXTS:
        raise ArtifactError("fidelity is measured on at least two texts; give more, or none for the built-in set")
    _check_installed()
    check_replaceable(out)
    model = find_source(source, revision, tell)
    with tempfile.TemporaryDirectory(prefix="akin-export-") as scratch, replaced_folder(out) as folder:
        tell(f"exporting {model.name} to ONNX")
        original = _export_fp32(model, Path(scratch))
        tell(f"storing weights as {chosen.name}")
        manifest = _apply(chosen, original, folder)
        tell("comparing with fp32")
        fidelity = _compare(folder, original, texts or FIDELITY_TEXTS)
        _check_floor(chosen, fidelity, force=force)
        manifest = replace(manifest, fidelity=fidelity)
        write_manifest(folder, manifest)
    return manifest


def _silent(_: str) -> None:
    return


def _check_installed() -> None:
    for name in ("torch", "transformers", "optimum", "onnx"):
        if importlib.util.find_spec(name) is None:
            raise ArtifactError(f"exporting a model needs {name}; run `pip install 'akin[export]'`")
    if importlib.util.find_spec("optimum.exporters.onnx") is None:
        raise ArtifactError("exporting a model needs optimum-onnx; run `pip install 'akin[export]'`")


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


def _export_fp32(source: ModelSource, folder: Path) -> Artifact:
    """The unquantized artifact: graph with pooling inside, tokenizer, manifest."""
    from ingest.encoder.graph import add_pooling

    with _quiet():
        dimensions = _export_graph(source.folder, folder / MODEL)
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


def _export_graph(folder: Path, path: Path) -> int:
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
        constructor = TasksManager.get_exporter_config_constructor(
            "onnx", model=model, task="feature-extraction", library_name="transformers"
        )
        export(model, constructor(model.config), path, opset=OPSET)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ArtifactError(f"{folder} could not be exported ({error}); use a BERT-type encoder") from error
    return int(model.config.hidden_size)


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


def _apply(recipe: Recipe, original: Artifact, folder: Path) -> Manifest:
    """Fill `folder` with the graph as the recipe stores it; the manifest has no fidelity yet."""
    shutil.copyfile(original.tokenizer, folder / TOKENIZER)
    reduced_range = recipe.quantized and needs_reduced_range()
    if recipe.quantized:
        with _quiet():
            calibration = token_ids(original, CALIBRATION_TEXTS)
            quantize(original.model, folder / MODEL, recipe, reduced_range=reduced_range, calibration=calibration)
    else:
        shutil.copyfile(original.model, folder / MODEL)
    files = {name: file_hash(folder / name) for name in (MODEL, TOKENIZER)}
    manifest = replace(original.manifest, recipe=recipe.name, reduced_range=reduced_range, files=files)
    write_manifest(folder, manifest)
    return manifest


def _compare(folder: Path, original: Artifact, texts: Sequence[str]) -> Fidelity:
    exported = OnnxEncoder(read_artifact(folder), provider="cpu")
    with exported, OnnxEncoder(original, provider="cpu") as reference:
        return measure_fidelity(exported, reference, texts)


def _check_floor(recipe: Recipe, fidelity: Fidelity, *, force: bool) -> None:
    if fidelity.mean_cosine >= recipe.floor or force:
        return
    raise ArtifactError(
        f"the mean cosine to fp32 is {fidelity.mean_cosine}, under the {recipe.floor} that the recipe {recipe.name} "
        "must keep; use recipe fp32, or --force if you accept the loss"
    )
