"""Runs every engine on the same texts, in turns, and takes medians.

First one process with an engine's own threads, then one one-thread process pinned to each core.
"""

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ingest.benchmark import Device
from ingest.benchmark.models import macs_per_token, prepare
from ingest.benchmark.peak import Peak, measure_peak
from ingest.benchmark.process import EngineProcess, Run
from ingest.benchmark.texts import catalogue_texts, text_sets
from ingest.encoder.artifact import Fidelity
from ingest.encoder.fidelity import compare_vectors

FIDELITY_TEXTS = 1_500  # a set, more than are timed
PAUSE_SECONDS = 0.3  # before each turn: threads of the engine before may still spin, waiting for work
MODES: Mapping[Device, tuple[str, ...]] = {"cpu": ("one process", "one process per core"), "cuda": ("one process",)}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What one engine did with one set in one mode, medians over the repetitions."""

    texts_per_s: float
    tokens_per_s: float
    peak_share: float | None
    padding: float  # share of what the model was given
    tokens: int  # really read, of all the texts
    memory: int  # bytes, the largest process


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything that one run found."""

    figures: Mapping[str, Mapping[str, Mapping[str, Figure]]]  # set -> mode -> engine
    fidelity: Mapping[str, Mapping[str, Fidelity]]  # set -> recipe
    skipped: Mapping[str, str]  # engine -> why
    peak: Peak | None

    def as_json(self) -> dict[str, object]:
        """By set: every engine in the mode that is faster for it, and what the recipes cost in fidelity."""
        return {name: {"engines": self._engines(name), "fidelity": self._fidelity(name)} for name in self.figures}

    def _engines(self, name: str) -> dict[str, object]:
        modes = self.figures[name].values()
        best = {
            engine: max((mode[engine] for mode in modes if engine in mode), key=lambda figure: figure.texts_per_s)
            for engine in dict.fromkeys(engine for mode in modes for engine in mode)
        }
        keys = ("texts_per_s", "tokens_per_s", "peak_share")
        return {engine: {key: getattr(figure, key) for key in keys} for engine, figure in best.items()}

    def _fidelity(self, name: str) -> dict[str, object]:
        return {
            recipe: {
                "cosine_mean": found.mean_cosine,
                "cosine_p1": found.p1_cosine,
                "overlap_at_10": found.neighbour_overlap,
            }
            for recipe, found in self.fidelity[name].items()
        }


def measure(
    items: Path | None,
    folder: Path,
    *,
    source: str | None,
    device: Device,
    sets: Sequence[str],
    texts: int,
    repeat: int,
    tell: Callable[[str], None],
) -> Results:
    """Make the models in `folder`, run every engine on every set, and compare akin's vectors with fp32."""
    folder.mkdir(parents=True, exist_ok=True)
    engines, reference, skipped = prepare(folder, source, device, tell)
    found = text_sets(catalogue_texts(items), reference / "tokenizer.json", max(texts, FIDELITY_TEXTS))
    files = {name: folder / f"texts-{name}.json" for name in sets}
    for name, path in files.items():
        path.write_text(json.dumps(found[name][:texts]), encoding="utf-8")
    compared = {name: folder / f"compared-{name}.json" for name in sets}
    for name, path in compared.items():
        path.write_text(json.dumps(found[name]), encoding="utf-8")
    cores = sorted(os.sched_getaffinity(0))
    peak = measure_peak(cores) if device == "cpu" else None
    macs = macs_per_token(reference / "model.onnx")
    figures: dict[str, dict[str, dict[str, Figure]]] = {name: {} for name in sets}
    found_runs = {}
    for mode in MODES[device]:
        on = [None] if mode == "one process" else cores
        found_runs[mode] = _run_mode(engines, files, on, repeat, skipped, tell)
    peak = peak.higher(measure_peak(cores)) if peak else None
    for mode, runs in found_runs.items():
        for name in sets:
            figures[name][mode] = {
                engine: _figure(passes, texts, macs, peak) for engine, passes in runs[name].items() if passes
            }
    recipes = {name: path for name, path in engines.items() if name.startswith("akin-") and name not in skipped}
    tell("comparing vectors with fp32")
    fidelity = _fidelity(recipes, reference, compared, folder)
    return Results(figures=figures, fidelity=fidelity, skipped=skipped, peak=peak)


_Passes = dict[str, dict[str, list[list[Run]]]]  # set -> engine -> repetition -> process


def _run_mode(
    engines: Mapping[str, Path],
    files: Mapping[str, Path],
    cores: Sequence[int | None],
    repeat: int,
    skipped: dict[str, str],
    tell: Callable[[str], None],
) -> _Passes:
    """Every engine warm, then set by set and repetition by repetition in turns."""
    passes: _Passes = {name: {engine: [] for engine in engines} for name in files}
    with ExitStack() as stack:
        started = {
            engine: [stack.enter_context(EngineProcess(engine, path, 0 if core is None else 1, core)) for core in cores]
            for engine, path in engines.items()
        }
        for engine in list(started):
            try:
                _together(started[engine], next(iter(files.values())), 8)
            except RuntimeError as error:
                skipped[engine] = f"it did not run: {error}"
                del started[engine]
        for name, path in files.items():
            tell(f"{name}, {'one process' if cores[0] is None else 'one process per core'}")
            for _ in range(repeat):
                for engine, processes in started.items():
                    passes[name][engine].append(_together(processes, path))
    return passes


def _together(processes: Sequence[EngineProcess], texts: Path, one_in: int = 1) -> list[Run]:
    time.sleep(PAUSE_SECONDS)
    of = len(processes) * one_in
    for share, process in enumerate(processes):
        process.ask(texts, share, of)
    return [process.answer() for process in processes]


def _figure(passes: Sequence[Sequence[Run]], texts: int, macs: int, peak: Peak | None) -> Figure:
    seconds = statistics.median(max(run.seconds for run in runs) for runs in passes)
    tokens, given = sum(run.tokens for run in passes[0]), sum(run.given for run in passes[0])
    return Figure(
        texts_per_s=texts / seconds,
        tokens_per_s=tokens / seconds,
        peak_share=tokens / seconds * macs / peak.macs_per_s if peak else None,
        padding=1 - tokens / given if given else 0.0,
        tokens=tokens,
        memory=max(run.memory for runs in passes for run in runs),
    )


def _fidelity(
    recipes: Mapping[str, Path], reference: Path, files: Mapping[str, Path], folder: Path
) -> dict[str, dict[str, Fidelity]]:
    """Akin's vectors of every set against those of its own fp32 artifact, which reads the same tokens."""
    vectors: dict[tuple[str, str], Path] = {}
    for engine, path in {"akin-fp32": reference, **recipes}.items():
        with EngineProcess(engine, path, 0, None) as process:
            for name, texts in files.items():
                vectors[engine, name] = folder / f"vectors-{engine}-{name}.npy"
                process.ask(texts, vectors=vectors[engine, name])
                process.answer()
    return {
        name: {
            engine.removeprefix("akin-"): compare_vectors(
                np.load(vectors[engine, name]), np.load(vectors["akin-fp32", name])
            )
            for engine in recipes
        }
        for name in files
    }
