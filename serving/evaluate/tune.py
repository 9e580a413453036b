"""From files to a file of settings: what `akin tune` does, and how it says what it found."""

import json
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
from serving.evaluate.drawn_ids import DrawnSource
from serving.evaluate.experiment import count_strangers, read_events
from serving.evaluate.progress import Bars, silent
from serving.evaluate.split import check_kind, split_events
from serving.evaluate.tuning import Gain, Tuning, tune
from serving.evaluate.validation import Value
from serving.evaluate.workspace import documents, shared_embeddings, take_in_items, text_vectors, workspace

_OF_TEMPLATES = (
    "A new text_template embeds what it changes anew: run `akin reindex` after the start with this file.",
    "Its attributes have to be declared here or in AKIN_ATTRIBUTES; AKIN_TEXT_TEMPLATE would overrule it.",
)


_OF_CHOSEN = (
    "\nWith each trial the users that choose chose the weights of text and popularity"
    "\nanew, and which weights of an item are kept, as they are below. The gain is over"
    "\nwhat a training learns of them by itself. What is fixed here no training learns"
    "\nany more: tune again when the catalogue has changed."
)


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
    items, events = (DrawnSource.of(source, options.seed) for source in (items, events))
    with workspace(settings) as catalogue:
        take_in_items(catalogue, items, bars)
        given, _ = read_events(catalogue.settings, events, bars)
        item_ids = [one.item.item_id for page in documents(catalogue) for one in page]
        count_strangers(given, frozenset(item_ids))
        split = split_events(given, frozenset(item_ids), catalogue.settings, kind=options.split, seed=options.seed)

        def vectors(template: str) -> Vectors:
            if template != present:
                _embed(catalogue, template, bars)
            return _vectors(catalogue, item_ids, template)

        present = catalogue.settings.text_template
        with shared_embeddings(catalogue, options.home):
            _embed(catalogue, present, bars)
        return tune(
            split, item_ids, vectors, catalogue.settings, users=options.users, minutes=options.minutes, bars=bars
        )


def as_toml(found: Tuning) -> str:
    """The settings as a file for AKIN_CONFIG; one without settings where the present ones are as good."""
    lines = [f"# {line}" for line in summary(found).splitlines()]
    if "text_template" in found.found:
        lines += [f"# {line}" for line in _OF_TEMPLATES]
    lines += [f"{name} = {_literal(value)}" for name, value in found.found.items()]
    return "\n".join(lines) + "\n"


def as_json(found: Tuning) -> dict[str, Any]:
    """Plain values for machines."""
    return {
        "settings": dict(found.found),
        "present_ndcg@10": None if found.blend is None else found.blend.present,
        "gain": None if found.blend is None else asdict(found.blend.added),
        "present_interests_ndcg@10": None if found.interests is None else found.interests.present,
        "interests_gain": None if found.interests is None else asdict(found.interests.added),
        "users": found.users,
        "tried": [
            {
                "settings": dict(one.settings),
                "ndcg@10": one.blend,
                "interests_ndcg@10": one.interests,
                "kept": one.kept,
            }
            for one in found.tried
        ],
        "note": found.note,
    }


def summary(found: Tuning) -> str:
    """What was gained, in a sentence, and what is to be known of it."""
    if found.blend is None or found.interests is None:
        return f"Nothing was tuned: {found.note}."
    note = f"\n{found.note[:1].upper()}{found.note[1:]}." if found.note else ""
    if "interests_prior" in found.found:
        note += _OF_CHOSEN
    return (
        f"nDCG@10 of blend {_gain(found.blend)} with the best found,\nof interests {_gain(found.interests)},\n"
        f"on {found.users} users of a validation cut who took no part in the choice.{note}"
    )


def print_tuning(found: Tuning, console: Console) -> None:
    """What was tried, and what came of it."""
    table = Table(title="tried, nDCG@10 on the users that choose; * the best until then", title_justify="left")
    table.add_column("settings", overflow="fold")
    table.add_column("blend", justify="right")
    table.add_column("interests", justify="right")
    best: Mapping[str, Value] = {}
    for one in found.tried:
        new = {name: value for name, value in one.settings.items() if best.get(name) != value}
        mark = " *" if one.kept else ""
        table.add_row(Text((_named(new) or "as they are") + mark), f"{one.blend:.4f}", f"{one.interests:.4f}")
        best = one.settings if one.kept else best
    if found.tried:
        console.print(table)
    console.print(Text(summary(found)))
    for name, value in found.found.items():
        console.print(Text(f"  {name} = {_literal(value)}"))


def _embed(catalogue: Catalogue, template: str, bars: Bars) -> None:
    fingerprint, _ = configured_encoder(catalogue.settings, catalogue.ledger, catalogue.encoders)
    total = catalogue.ledger.items.count()
    with bars("items embedded") as show:
        done = 0
        for page in documents(catalogue, template):
            embedded(catalogue.ledger, catalogue.encoders, fingerprint, page)
            done += len(page)
            show(done, total)


def _vectors(catalogue: Catalogue, item_ids: list[str], template: str) -> Vectors:
    if len(item_ids) > catalogue.settings.taste_dense_items:  # so many are trained without text
        return np.zeros((len(item_ids), 0), dtype=np.float32)
    return text_vectors(catalogue, item_ids, template)


def _named(settings: Mapping[str, Value]) -> str:
    return ", ".join(f"{name} {_literal(value)}" for name, value in settings.items())


def _literal(value: Value) -> str:
    """The value in TOML: a JSON string is one of its basic strings, but for a control character that JSON leaves in."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)


def _gain(gain: Gain) -> str:
    added = gain.added
    return f"{gain.present:.4f} and {added.mean:+.4f} (95 % interval {added.low:+.4f} to {added.high:+.4f})"
