"""The models that the engines run, made once and kept: akin's recipes, and the peers' int8 file by optimum."""

import hashlib
import importlib.util
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ingest.benchmark import Device
from ingest.benchmark.peers import PEER_FILE, PEER_LIMIT
from ingest.encoder import export
from ingest.encoder.artifact import read_artifact
from ingest.encoder.source import find_source
from ingest.errors import ArtifactError
from ingest.extras import to_install

_SHOWN: Mapping[Device, tuple[str, ...]] = {"cpu": ("fast", "int8", "accurate"), "cuda": ("fp16",)}
_NEEDS: Mapping[Device, Mapping[str, tuple[str, ...]]] = {
    "cpu": {
        "st-torch-fp32": ("sentence_transformers",),
        "st-onnx-int8": ("sentence_transformers", "optimum.onnxruntime"),
        "fastembed-int8": ("fastembed",),
        "ort-int8": (),
    },
    "cuda": {
        "st-torch-fp16": ("sentence_transformers",),
        "st-torch-fp16-256": ("sentence_transformers",),
        "st-torch-fp16-1024": ("sentence_transformers",),
    },
}


def prepare(
    folder: Path, source: str | None, device: Device, tell: Callable[[str], None]
) -> tuple[dict[str, Path], Path, dict[str, str]]:
    """Folders by engine name, the fp32 artifact that all are compared with, and why any engine is left out."""
    kept = folder / _stamp(source)
    reference = _artifact(kept, source, "fp32", tell)
    engines = {f"akin-{name}": _artifact(kept, source, name, tell) for name in _SHOWN[device]}
    skipped = {}
    peers = _published(kept, source, tell)
    if device == "cpu":
        _add_whole_numbers(peers, tell)
    for name, modules in _NEEDS[device].items():
        missing = [module for module in modules if not _installed(module)]
        if missing:
            skipped[name] = f"{missing[0]} is not installed; {to_install('bench')}"
        else:
            engines[name] = peers
    return engines, reference, skipped


def macs_per_token(model: Path) -> int:
    """Multiply-adds of the weights' matrix products for one token (4 h^2 + 2 h i a layer); attention is left out."""
    import onnx  # noqa: PLC0415 - an extra

    from ingest.encoder.matmuls import find_products  # noqa: PLC0415

    return sum(product.weights.size for product in find_products(onnx.load(model).graph))


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _stamp(source: str | None) -> str:
    """Changes whenever the exporter's code or the model does, so that no stale file is measured."""
    digest = hashlib.sha256((source or "default").encode())
    for path in sorted(Path(export.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _artifact(kept: Path, source: str | None, recipe: str, tell: Callable[[str], None]) -> Path:
    folder = kept / recipe
    try:
        return read_artifact(folder).folder
    except ArtifactError:
        tell(f"exporting the recipe {recipe}")
        # The peers stop at the model's 256 tokens; reading on would be other work.
        export.export_model(source, folder, recipe=recipe, shape=export.Shape(passages=1), force=True)
        return folder


def _published(kept: Path, source: str | None, tell: Callable[[str], None]) -> Path:
    """The published files of the model, as the peers read them."""
    folder = kept / "peers"
    if folder.is_dir():
        return folder
    published = find_source(source, None, tell).folder
    with tempfile.TemporaryDirectory(dir=kept) as scratch:
        partial = Path(scratch) / "peers"
        shutil.copytree(published, partial, ignore=shutil.ignore_patterns("onnx", "openvino", "*.py", "__pycache__"))
        _limit(partial)
        partial.rename(folder)
    return folder


def _add_whole_numbers(folder: Path, tell: Callable[[str], None]) -> None:
    """Put the model's int8 graph beside its published files, as optimum quantizes for AVX-512 VNNI."""
    from optimum.onnxruntime import ORTModelForFeatureExtraction, ORTQuantizer  # noqa: PLC0415 - an extra
    from optimum.onnxruntime.configuration import AutoQuantizationConfig  # noqa: PLC0415

    target = folder / PEER_FILE
    if target.is_file():
        return
    tell("quantizing with optimum for the peers")
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        fp32 = Path(scratch) / "fp32"
        model: Any = ORTModelForFeatureExtraction.from_pretrained(folder, export=True)
        model.save_pretrained(fp32)
        settings = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True)
        quantizer: Any = ORTQuantizer.from_pretrained(fp32, file_name="model.onnx")
        quantizer.quantize(save_dir=fp32 / "int8", quantization_config=settings)
        target.parent.mkdir(parents=True, exist_ok=True)
        next((fp32 / "int8").glob("*.onnx")).rename(target)


def _limit(folder: Path) -> None:
    """Every peer reads what the model was made to read; some take their limit from the tokenizer's settings."""
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(
        json.dumps({**settings, "model_max_length": PEER_LIMIT, "max_length": PEER_LIMIT}), encoding="utf-8"
    )
    special = folder / "special_tokens_map.json"
    if not special.is_file():
        names = ("cls_token", "mask_token", "pad_token", "sep_token", "unk_token")
        special.write_text(json.dumps({name: settings[name] for name in names if name in settings}), encoding="utf-8")
