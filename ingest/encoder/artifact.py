"""The encoder artifact: a folder whose manifest names its files by hash. Reads and writes it; runs no model."""

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from ingest.errors import ArtifactError

FORMAT = 1
MODEL = "model.onnx"
TOKENIZER = "tokenizer.json"
MANIFEST = "manifest.json"
TUNING = "tuning.json"
# Of a longer text this many pieces, evenly spread, stand for the whole: 64,000 Chinese characters fit, and one text of
# many megabytes cannot hold a worker for minutes.
DEFAULT_PASSAGES = 256

Pooling = Literal["mean", "cls"]


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How close an encoder stays to its fp32 original on a set of texts; 1.0 everywhere is identical."""

    texts: int
    mean_cosine: float
    p1_cosine: float  # 1st percentile
    worst_cosine: float
    neighbour_overlap: float  # mean share of the ten nearest neighbours that are the same


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What the artifact holds and where it comes from; only `files`, `max_tokens` and `pooling` change vectors."""

    format: int = FORMAT
    source: str  # a hub id, a package or a folder name
    revision: str | None  # a commit of the hub, or sha256:... of the weights
    licence: str
    dimensions: int
    max_tokens: int  # special tokens included
    pooling: Pooling
    passages: int = DEFAULT_PASSAGES  # most pieces of `max_tokens` read of one text, evenly spread over a longer one
    layers: int | None = None  # how many of the model's layers were kept; None: all
    recipe: str
    reduced_range: bool  # 7-bit weights, for processors whose int8 instructions saturate
    fidelity: Fidelity | None
    files: Mapping[str, str]  # name -> sha256
    exporter: Mapping[str, str] = field(default_factory=dict)  # library -> version


_MANIFEST = TypeAdapter(Manifest)


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A folder that was checked against its manifest; `fingerprint` names the vectors it makes."""

    folder: Path
    manifest: Manifest
    fingerprint: str

    @property
    def model(self) -> Path:
        """The ONNX graph: `input_ids`, `attention_mask` in, `vector` out."""
        return self.folder / MODEL

    @property
    def tokenizer(self) -> Path:
        """The tokenizer file of the `tokenizers` library."""
        return self.folder / TOKENIZER


def fingerprint(manifest: Manifest) -> str:
    """Sha256 over everything that changes vectors: equal fingerprints give equal vectors, whenever exported."""
    parts: dict[str, object] = {
        "files": {name: manifest.files[name] for name in (MODEL, TOKENIZER)},
        "max_tokens": manifest.max_tokens,
        "pooling": manifest.pooling,
    }
    if manifest.passages != DEFAULT_PASSAGES:
        parts["passages"] = manifest.passages
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """Sha256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_artifact(folder: Path) -> Artifact:
    """Check a folder against its manifest, every byte; raises ArtifactError that says what to do."""
    if not folder.is_dir():
        raise ArtifactError(f"there is no encoder artifact at {folder}; run `akin export-model --out {folder}`")
    manifest = read_manifest(folder)
    for name in (MODEL, TOKENIZER):
        path = folder / name
        if not path.is_file() or file_hash(path) != manifest.files.get(name):
            raise ArtifactError(f"{path} is missing or damaged; run `akin export-model --out {folder}` again")
    return Artifact(folder=folder, manifest=manifest, fingerprint=fingerprint(manifest))


def read_manifest(folder: Path) -> Manifest:
    """What the folder says of itself, without reading the model; raises ArtifactError."""
    path = folder / MANIFEST
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read; run `akin export-model --out {folder}` again") from error
    try:
        known = json.loads(raw)["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{path} is damaged; run `akin export-model --out {folder}` again") from error
    if known != FORMAT:
        raise ArtifactError(f"{path} has format {known!r}, this akin reads {FORMAT}; export again with this akin")
    try:
        return _MANIFEST.validate_json(raw)
    except ValidationError as error:
        raise ArtifactError(f"{path} is damaged; run `akin export-model --out {folder}` again") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json` so that a reader sees either the old one or the whole new one."""
    text = json.dumps(dataclasses.asdict(manifest), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    with tempfile.NamedTemporaryFile("w", dir=folder, encoding="utf-8", delete=False, prefix=".manifest-") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).chmod(0o644)
    Path(file.name).replace(folder / MANIFEST)
