"""The offline evaluation: every strategy is asked for the same users from the same training events, and judged."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ingest.catalogue import Catalogue
from ingest.errors import InvalidInputError
from ingest.events import Event
from ingest.extras import to_install
from ingest.files import FileSource
from ingest.index.checks import MAX_EXCLUDED
from ingest.readers import Progress, RowError
from ingest.sentences import count_of
from ingest.settings import Settings
from ingest.train import what_is_missing
from serving.evaluate.baselines import EASE, available, missing_libraries, possible, too_large_for_ease
from serving.evaluate.drawn_ids import DrawnSource, with_drawn_ids
from serving.evaluate.judge import LONGEST, Lists, asked_for_cold, judge, slice_descriptions
from serving.evaluate.metrics import EMPTY, Integers
from serving.evaluate.progress import Bars, silent
from serving.evaluate.questions import Question, questions
from serving.evaluate.report import Report, StrategyResult, best_first
from serving.evaluate.split import check_kind, split_events
from serving.evaluate.trial import Scorer, Trial, best, make_trial
from serving.evaluate.workspace import (
    build_generation,
    documents,
    nothing_in,
    shared_embeddings,
    take_in_events,
    take_in_items,
    text_vectors,
    workspace,
)
from serving.live import LiveIndex
from serving.recommend import Recommender
from serving.scenarios import check_scenarios

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

    The scenarios of the settings are asked as well. All events are held in memory. Raises InvalidInputError for a
    strategy or split that does not exist or fit (for `ease` of too many items, before the events are read), and
    SettingsError for a scenario that nothing could be asked by.
    """
    check_scenarios(settings)
    check_kind(options.split)
    _chosen(options.strategies, (*questions(settings), *possible()))  # before the files are read
    settings = with_drawn_ids(settings, options.seed)
    items, events = (DrawnSource.of(source, options.seed) for source in (items, events))
    with workspace(settings) as catalogue:
        refused_items = take_in_items(catalogue, items, bars)
        texts = {one.item.item_id: one.text for page in documents(catalogue) for one in page}
        without_ease = _without_ease(options.strategies, len(texts), catalogue.settings)
        given, refused_events = read_events(catalogue.settings, events, bars)
        strangers = count_strangers(given, texts.keys())
        split = split_events(given, texts.keys(), catalogue.settings, kind=options.split, seed=options.seed)
        trial = make_trial(split, list(texts), users=options.users, seed=options.seed)
        ordered = [texts[item_id] for item_id in trial.items]
        fits = available(trial, ordered, lambda: text_vectors(catalogue, trial.items), catalogue.settings)
        asked = questions(catalogue.settings)
        chosen = _chosen(options.strategies, (*asked, *fits))
        take_in_events(catalogue, split.train, bars)
        with shared_embeddings(catalogue, options.home):
            build_generation(catalogue, bars)
        untrained = what_is_missing(catalogue.settings, catalogue.ledger, list(texts))
        lists = {name: _ask_akin(catalogue, trial, name, asked[name], bars) for name in asked if name in chosen}
        beside = {name: _ask_baseline(name, fits[name], trial, bars) for name in fits if name in chosen}
        lists |= {name: found for name, (found, _) in beside.items()}
        results = _judged(catalogue, trial, lists, {name: note for name, (_, note) in beside.items()}, bars)
        learned = _learned(catalogue)
    return Report(
        split=split.kind,
        split_description=split.description,
        users=len(trial.users),
        items=len(trial.items),
        train_events=len(split.train),
        held_out=sum(map(len, trial.relevant)),
        seed=trial.seed,
        slices=slice_descriptions(trial),
        notes=(
            *_notes(refused_items, refused_events),
            *without_ease,
            *_unmatched(strangers, len(given)),
            *_untrained(untrained),
            learned,
        ),
        strategies=best_first(results),
    )


def read_events(settings: Settings, source: FileSource, bars: Bars) -> tuple[list[Event], int]:
    """All events of a file, and how many rows were refused. Raises InvalidInputError when it has no good row."""
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
    if not given:
        raise InvalidInputError(
            "no_events", nothing_in(str(source.source), refused, "akin validate --events"), "events"
        )
    return given, refused


def count_strangers(given: Sequence[Event], item_ids: Collection[str]) -> int:
    """How many events name none of these items. Raises InvalidInputError when all do."""
    strangers = sum(event.item_id not in item_ids for event in given)
    if strangers == len(given):
        raise InvalidInputError(
            "unknown_items",
            f"none of {count_of(len(given), 'event')} names an item of the items file; are ids spelt alike in both?",
            "events",
        )
    return strangers


def _chosen(named: Collection[str] | None, known: Sequence[str]) -> frozenset[str]:
    for name in named or ():
        if name not in known:
            raise InvalidInputError("unknown_strategy", f"strategies here are {', '.join(known)}", "strategies")
    return frozenset(known if named is None else named)


def _without_ease(named: Collection[str] | None, items: int, settings: Settings) -> tuple[str, ...]:
    """What is said where EASE is left out. Raises InvalidInputError where it was asked for."""
    if not (why := too_large_for_ease(items, settings)):
        return ()
    if named is None:
        return (f"without the baseline ease: {why}",)
    if EASE in named:
        raise InvalidInputError(
            "too_many_items", f"{why}; leave it out, or raise that where there is room", "strategies"
        )
    return ()


def _ask_akin(catalogue: Catalogue, trial: Trial, name: str, question: Question, bars: Bars) -> Lists:
    """What the API would answer; nothing is logged."""
    live = LiveIndex(catalogue.ledger, catalogue.index, catalogue.encoders)
    recommender = Recommender(catalogue.ledger, live, catalogue.settings.model_copy(update=dict(question.changed)))
    place = trial.place

    def ask(row: int, excluded: tuple[str, ...] = ()) -> list[int]:
        # By the row: what is explored differs between users, and is the same when the evaluation is run again.
        request = replace(question.request, user_id=trial.users[row], exclude_ids=excluded, seed=row)
        return [place[item.item_id] for item in recommender.recommend(request).items]

    warm = tuple(trial.items[place] for place in np.flatnonzero(trial.audience).tolist())
    whole = _asked(name, range(len(trial.users)), ask, trial, bars)
    # The index takes so many exclusions in one question; beyond them this would be a scan for every user.
    if len(warm) > MAX_EXCLUDED or not len(asked_for_cold(trial)):
        return Lists(whole=whole)
    return Lists(whole=whole, cold=_asked(name, asked_for_cold(trial), lambda row: ask(row, warm), trial, bars))


def _ask_baseline(name: str, fit: Callable[[], Scorer], trial: Trial, bars: Bars) -> tuple[Lists, str]:
    with bars(f"{name} (training)") as show:
        scorer = fit()
        show(1, 1)
    warm = np.flatnonzero(trial.audience)

    def ask(row: int, *excluded: Integers) -> Integers:
        return best(scorer.scores(row), np.concatenate([trial.seen[row], *excluded]), LONGEST)

    whole = _asked(name, range(len(trial.users)), ask, trial, bars)
    cold = _asked(name, asked_for_cold(trial), lambda row: ask(row, warm), trial, bars)
    return Lists(whole=whole, cold=cold), scorer.note


def _asked(
    name: str, rows: Sequence[int] | Integers, ask: Callable[[int], Sequence[int] | Integers], trial: Trial, bars: Bars
) -> Integers:
    """The lists of those users; the rows of the others stay EMPTY."""
    found = np.full((len(trial.users), LONGEST), EMPTY, dtype=np.int64)
    with bars(name) as show:
        for done, row in enumerate(rows, start=1):
            places = ask(int(row))
            found[row, : len(places)] = places
            show(done, len(rows))
    return found


def _judged(
    catalogue: Catalogue, trial: Trial, lists: Mapping[str, Lists], notes: Mapping[str, str], bars: Bars
) -> list[StrategyResult]:
    view = LiveIndex(catalogue.ledger, catalogue.index, catalogue.encoders).current()
    shown = np.unique(np.concatenate([found.whole.ravel() for found in lists.values()]))
    ids = [trial.items[place] for place in shown.tolist() if place != EMPTY]
    place = trial.place
    vectors = {place[item_id]: vector for item_id, vector in view.collection.vectors(ids).items()}
    results: list[StrategyResult] = []
    with bars("intervals") as show:
        for name, found in lists.items():
            results.append(judge(name, found, trial, vectors, is_akin=name not in notes, note=notes.get(name, "")))
            show(len(results), len(lists))
    return results


def _notes(refused_items: int, refused_events: int) -> tuple[str, ...]:
    notes = []
    if refused_items or refused_events:
        notes.append(
            f"{count_of(refused_items, 'row')} of items and {refused_events:,} of events were refused; "
            "`akin validate` lists them"
        )
    if missing := missing_libraries():
        notes.append(f"without the baselines of {', '.join(missing)}; to have them, {to_install('evaluate')}")
    return tuple(notes)


def _unmatched(strangers: int, events: int) -> tuple[str, ...]:
    if not strangers:
        return ()
    return (f"{strangers:,} of {count_of(events, 'event')} name items that are not there, and do not count",)


def _untrained(missing: str) -> tuple[str, ...]:
    return (
        (f"no item-item weights were learned, so taste and blend show what stands in for them: {missing}",)
        if missing
        else ()
    )


def _learned(catalogue: Catalogue) -> str:
    found = catalogue.ledger.learned
    values = {**asdict(found.blend().under(catalogue.settings)), "taste_fading": found.taste_fading()}
    return "weights in force: " + ", ".join(f"{name} {value:g}" for name, value in values.items())
