"""The offline evaluation: every strategy is asked for the same users from the same training events, and judged."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ingest.catalogue import Catalogue
from ingest.errors import InvalidInputError
from ingest.events import Event
from ingest.files import FileSource
from ingest.readers import Progress, RowError
from ingest.settings import Settings
from serving.evaluate.baselines import Scorer, available, missing_libraries
from serving.evaluate.judge import LONGEST, judge, slice_descriptions
from serving.evaluate.metrics import EMPTY, Integers
from serving.evaluate.progress import Bars, silent
from serving.evaluate.report import Report, StrategyResult, best_first
from serving.evaluate.split import split_events
from serving.evaluate.trial import Trial, best, make_trial
from serving.evaluate.workspace import (
    build_generation,
    documents,
    shared_embeddings,
    take_in_events,
    take_in_items,
    workspace,
)
from serving.live import LiveIndex
from serving.recommend import STRATEGIES, Recommender, RecommendRequest

Lists = Mapping[str, Integers]  # by strategy, (users, LONGEST) places, filled up with EMPTY

SHOWN_EVERY = 10_000  # rows between two looks at the bar


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to evaluate. `strategies`: those named, None for all; `home`: where embeddings are reused and kept."""

    strategies: Collection[str] | None = None
    split: str = "auto"
    users: int | None = None
    seed: int = 1
    home: Path | None = None


def evaluate(
    settings: Settings,
    items: FileSource,
    events: FileSource,
    options: Options,
    *,
    bars: Bars = silent,
) -> Report:
    """Split the events, take the training part in, ask every strategy for 20 items per user, and measure the lists.

    All events are held in memory. Raises
    InvalidInputError for a strategy or split that does not exist or fit.
    """
    with workspace(settings) as catalogue:
        refused_items = take_in_items(catalogue, items, bars)
        given, refused_events = _read_events(catalogue.settings, events, bars)
        texts = {one.item.item_id: one.text for page in documents(catalogue) for one in page}
        split = split_events(given, texts.keys(), catalogue.settings, kind=options.split, seed=options.seed)
        trial = make_trial(split, list(texts), users=options.users, seed=options.seed)
        fits = available(trial, [texts[item_id] for item_id in trial.items], catalogue.settings)
        chosen = _chosen(options.strategies, (*STRATEGIES, *fits))
        take_in_events(catalogue, split.train, bars)
        with shared_embeddings(catalogue, options.home):
            build_generation(catalogue, bars)
        lists = _ask_akin(catalogue, trial, [name for name in STRATEGIES if name in chosen], bars)
        lists |= {name: _ask_baseline(name, fits[name], trial, bars) for name in fits if name in chosen}
        results = _judged(catalogue, trial, lists, bars)
    return Report(
        split=split.kind,
        split_description=split.description,
        users=len(trial.users),
        items=len(trial.items),
        train_events=len(split.train),
        held_out=sum(map(len, trial.relevant)),
        seed=trial.seed,
        slices=slice_descriptions(trial),
        notes=_notes(refused_items, refused_events),
        strategies=best_first(results),
    )


def _read_events(settings: Settings, source: FileSource, bars: Bars) -> tuple[list[Event], int]:
    given: list[Event] = []
    refused = 0
    with bars("events") as show:
        for row in source.events(settings, Progress()):
            if isinstance(row, RowError):
                refused += 1
                continue
            given.append(row.value)
            if len(given) % SHOWN_EVERY == 0:
                show(len(given), None)
        show(len(given), len(given))
    return given, refused


def _chosen(named: Collection[str] | None, known: Sequence[str]) -> frozenset[str]:
    for name in named or ():
        if name not in known:
            raise InvalidInputError("unknown_strategy", f"strategies here are {', '.join(known)}", "strategies")
    return frozenset(known if named is None else named)


def _ask_akin(catalogue: Catalogue, trial: Trial, strategies: Sequence[str], bars: Bars) -> dict[str, Integers]:
    """What the API would answer; nothing is logged."""
    live = LiveIndex(catalogue.ledger, catalogue.index, catalogue.encoders)
    recommender = Recommender(catalogue.ledger, live, catalogue.settings)
    place = trial.place
    lists = {}
    for strategy in strategies:
        found = np.full((len(trial.users), LONGEST), EMPTY, dtype=np.int64)
        with bars(strategy) as show:
            for row, user in enumerate(trial.users):
                request = RecommendRequest(user_id=user, strategy=strategy, limit=LONGEST, exclude_seen=True)
                answer = recommender.recommend(request)
                found[row, : len(answer.items)] = [place[item.item_id] for item in answer.items]
                show(row + 1, len(trial.users))
        lists[strategy] = found
    return lists


def _ask_baseline(name: str, fit: Callable[[], Scorer], trial: Trial, bars: Bars) -> Integers:
    with bars(f"{name} (training)") as show:
        scores = fit()
        show(1, 1)
    found = np.full((len(trial.users), LONGEST), EMPTY, dtype=np.int64)
    with bars(name) as show:
        for row in range(len(trial.users)):
            found[row] = best(scores(row), trial.seen[row], LONGEST)
            show(row + 1, len(trial.users))
    return found


def _judged(catalogue: Catalogue, trial: Trial, lists: Lists, bars: Bars) -> list[StrategyResult]:
    view = LiveIndex(catalogue.ledger, catalogue.index, catalogue.encoders).current()
    shown = np.unique(np.concatenate([found.ravel() for found in lists.values()]))
    ids = [trial.items[place] for place in shown.tolist() if place != EMPTY]
    place = trial.place
    vectors = {place[item_id]: vector for item_id, vector in view.collection.vectors(ids).items()}
    results: list[StrategyResult] = []
    with bars("intervals") as show:
        for name, found in lists.items():
            results.append(judge(name, found, trial, vectors, is_akin=name in STRATEGIES))
            show(len(results), len(lists))
    return results


def _notes(refused_items: int, refused_events: int) -> tuple[str, ...]:
    notes = []
    if refused_items or refused_events:
        notes.append(
            f"{refused_items} rows of items and {refused_events} of events were refused; `akin validate` lists them"
        )
    if missing := missing_libraries():
        notes.append(f"without the baselines of {', '.join(missing)}: pip install 'akin[evaluate]' adds them")
    return tuple(notes)
