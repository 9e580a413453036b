"""From files to a file of settings: what `akin tune` does, and how it says what it found."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingest.catalogue import Catalogue
from ingest.documents import embedded
from ingest.encoder.protocol import Vectors
from ingest.files import FileSource
from ingest.reindex import configured_encoder
from ingest.settings import Settings
from serving.evaluate.experiment import count_strangers, read_events
from serving.evaluate.progress import Bars, silent
from serving.evaluate.split import check_kind, split_events
from serving.evaluate.tuning import Tuning, tune
from serving.evaluate.workspace import documents, shared_embeddings, take_in_items, text_vectors, workspace


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """How to tune. `split` and `seed` as the evaluation that follows will have them: its test events stay unseen."""

    split: str = "auto"
    users: int = 1_000
    seed: int = 1
    minutes: float = 10.0
    home: Path | None = None


def tune_files(
    settings: Settings, items: FileSource, events: FileSource, options: TuneOptions, *, bars: Bars = silent
) -> Tuning:
    """Embed the items, put the test events away, and search on the rest. All events are held in memory."""
    check_kind(options.split)
    with workspace(settings) as catalogue:
        take_in_items(catalogue, items, bars)
        given, _ = read_events(catalogue.settings, events, bars)
        item_ids = [one.item.item_id for page in documents(catalogue) for one in page]
        count_strangers(given, frozenset(item_ids))
        split = split_events(given, frozenset(item_ids), catalogue.settings, kind=options.split, seed=options.seed)
        with shared_embeddings(catalogue, options.home):
            _embed(catalogue, bars)
            text = _texts(catalogue, item_ids)
        return tune(split, item_ids, text, catalogue.settings, users=options.users, minutes=options.minutes, bars=bars)


def as_toml(found: Tuning) -> str:
    """The settings as a file for AKIN_CONFIG; one without settings where the present ones are as good."""
    lines = [f"# {line}" for line in summary(found).splitlines()]
    lines += [f"{name} = {value!r}" for name, value in found.found.items()]
    return "\n".join(lines) + "\n"


def as_json(found: Tuning) -> dict[str, Any]:
    """Plain values for machines."""
    return {
        "settings": dict(found.found),
        "present_ndcg@10": _plain(found.present),
        "gain": None if found.gain is None else asdict(found.gain),
        "users": found.users,
        "tried": [{"settings": dict(one.settings), "ndcg@10": one.ndcg} for one in found.tried],
        "note": found.note,
    }


def summary(found: Tuning) -> str:
    """What was gained, in two sentences."""
    if found.gain is None:
        return f"Nothing was tuned: {found.note}."
    gain = found.gain
    note = f"\n{found.note[:1].upper()}{found.note[1:].rstrip('; ')}." if found.note else ""
    return (
        f"nDCG@10 of blend {found.present:.4f} with the present settings, {gain.mean:+.4f} with the best found "
        f"(95 % interval {gain.low:+.4f} to {gain.high:+.4f}),\non {found.users} users of a validation cut "
        f"who took no part in the choice.{note}"
    )


def print_tuning(found: Tuning, console: Console) -> None:
    """What was tried, and what came of it."""
    table = Table(title="tried, on the users that choose", title_justify="left")
    table.add_column("settings")
    table.add_column("ndcg@10", justify="right")
    for one in found.tried:
        table.add_row(Text(_named(one.settings) or "as they are"), f"{one.ndcg:.4f}")
    if found.tried:
        console.print(table)
    console.print(Text(summary(found)))
    for name, value in found.found.items():
        console.print(Text(f"  {name} = {value!r}"))


def _embed(catalogue: Catalogue, bars: Bars) -> None:
    fingerprint, _ = configured_encoder(catalogue.settings, catalogue.ledger, catalogue.encoders)
    total = catalogue.ledger.items.count()
    with bars("items embedded") as show:
        done = 0
        for page in documents(catalogue):
            embedded(catalogue.ledger, catalogue.encoders, fingerprint, page)
            done += len(page)
            show(done, total)


def _texts(catalogue: Catalogue, item_ids: list[str]) -> Vectors:
    if len(item_ids) > catalogue.settings.taste_dense_items:  # so many are trained without text
        return np.zeros((len(item_ids), 0), dtype=np.float32)
    return text_vectors(catalogue, item_ids)


def _named(settings: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in settings.items())


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else value
