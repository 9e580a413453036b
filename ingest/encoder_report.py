"""How an encoder does on the owner's own catalogue: what it keeps of fp32 and where least, how fast and how large."""

import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ingest.encoder.artifact import MODEL, Artifact, Fidelity, read_artifact
from ingest.encoder.fidelity import compare_vectors, kept_neighbours
from ingest.encoder.onnx import OnnxEncoder
from ingest.encoder.protocol import Vectors
from ingest.encoder.recipes import RECIPES
from ingest.errors import ArtifactError, InvalidInputError
from ingest.items import Item
from ingest.readers import Row, RowError
from ingest.settings import Provider
from ingest.text import render

MOST_TEXTS = 1_500 + 256  # measured on, and set up with
_LEAST_OF_CATEGORY = 10  # texts before a category's figure means anything
_WORST = 5


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Texts of a catalogue as they are embedded, drawn the same each time, and the first category of each."""

    texts: tuple[str, ...]
    categories: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CategoryFidelity:
    """How one category's texts keep their neighbours."""

    category: str
    texts: int
    neighbour_overlap: float


@dataclass(frozen=True, kw_only=True)
class EncoderReport:
    """What an owner wants to know of an encoder. Without the exporter's libraries there is nothing to compare with."""

    recipe: str
    megabytes: float
    provider: str  # what ran it, like AMX or CPUExecutionProvider
    texts_per_s: float  # this machine, now, all cores
    fidelity: Fidelity | None
    missed: tuple[str, ...]  # what is under the recipe's floor
    worst: tuple[CategoryFidelity, ...]
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return asdict(self)


def draw_sample(rows: Iterable[Row[Item] | RowError], template: str, *, most: int = MOST_TEXTS) -> Sample:
    """A sample of a file's items, read once and never all in memory (Vitter 1985, algorithm R)."""
    chance = random.Random(1)  # noqa: S311 - the same sample each time
    kept: list[tuple[str, str]] = []
    seen = 0
    for row in rows:
        if isinstance(row, RowError):
            continue
        one = (render(template, row.value), row.value.categories[0] if row.value.categories else "")
        seen += 1
        if len(kept) < most:
            kept.append(one)
        elif (position := chance.randrange(seen)) < most:
            kept[position] = one
    if len(kept) < 2:  # noqa: PLR2004 - a neighbour needs a second text
        raise InvalidInputError("too_few_texts", "an encoder is measured on at least two items; the file has fewer")
    chance.shuffle(kept)
    return Sample(texts=tuple(text for text, _ in kept), categories=tuple(category for _, category in kept))


def examine_encoder(
    folder: Path, sample: Sample, tell: Callable[[str], None], provider: Provider = "auto"
) -> EncoderReport:
    """Embed the sample with an artifact, and with its own model in fp32 where that can be exported here."""
    artifact = read_artifact(folder)
    with OnnxEncoder(artifact, provider=provider) as encoder:
        encoder.embed(sample.texts[:32])
        tell(f"embedding {len(sample.texts)} texts")
        started = time.perf_counter()
        vectors = encoder.embed(sample.texts)
        seconds = time.perf_counter() - started
        used = encoder.provider
    originals, note = _originals(artifact, sample.texts, tell)
    fidelity = None if originals is None else compare_vectors(vectors, originals)
    recipe = RECIPES.get(artifact.manifest.recipe)
    return EncoderReport(
        recipe=artifact.manifest.recipe,
        megabytes=round((artifact.folder / MODEL).stat().st_size / 1e6, 1),
        provider=used,
        texts_per_s=round(len(sample.texts) / seconds, 1),
        fidelity=fidelity,
        missed=tuple(recipe.floor.missed(fidelity)) if recipe is not None and fidelity is not None else (),
        worst=() if originals is None else _worst(vectors, originals, sample.categories),
        note=note,
    )


def _originals(artifact: Artifact, texts: Sequence[str], tell: Callable[[str], None]) -> tuple[Vectors | None, str]:
    from ingest.encoder.export import check_installed, export_fp32  # noqa: PLC0415 - only a comparison needs it
    from ingest.encoder.source import DEFAULT_MODEL, find_source  # noqa: PLC0415

    manifest = artifact.manifest
    try:
        check_installed()
        source = None if manifest.source == DEFAULT_MODEL else manifest.source
        revision = manifest.revision if source and manifest.revision and ":" not in manifest.revision else None
        with tempfile.TemporaryDirectory(prefix="akin-fp32-") as scratch:
            tell("exporting the same model in fp32")
            original = export_fp32(find_source(source, revision, tell), Path(scratch))
            tell(f"embedding {len(texts)} texts in fp32")
            with OnnxEncoder(original, provider="cpu") as reference:
                return reference.embed(texts), ""
    except ArtifactError as error:
        return None, f"not compared with fp32: {error}"


def _worst(vectors: Vectors, originals: Vectors, categories: Sequence[str]) -> tuple[CategoryFidelity, ...]:
    kept = kept_neighbours(vectors, originals)
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, category in enumerate(categories):
        rows[category].append(row)
    found = [
        CategoryFidelity(category=name, texts=len(members), neighbour_overlap=round(float(np.mean(kept[members])), 4))
        for name, members in rows.items()
        if name and len(members) >= _LEAST_OF_CATEGORY
    ]
    return tuple(sorted(found, key=lambda one: one.neighbour_overlap)[:_WORST])
