"""Searching the settings that rank best, on events that an evaluation of the same split and seed would train on.

One half of the users of a validation cut chooses the settings, the other half says what they gain, so that the gain is
not the luck of the choice. Settings are judged by `blend`; a text template also by `interests`, which answers where
nothing is learned from events.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ingest.settings import Settings
from ingest.taste.choosing import SURE
from serving.evaluate.metrics import Floats, bootstrap
from serving.evaluate.progress import Bars
from serving.evaluate.report import Estimate
from serving.evaluate.split import Split
from serving.evaluate.templates import missing_attributes, with_line_for
from serving.evaluate.validation import Changes, Ndcg, Outcome, Validation, Value, VectorsOf

# One setting after another, the best value of each kept; the present value is always tried first.
SEARCHED: Mapping[str, tuple[Value, ...]] = {
    "taste_ridge": (1.0, 2.0, 5.0, 10.0, 20.0),
    "taste_ridge_growth": (0.0, 0.4, 0.7, 1.0),
    "taste_user_damping": (0.0, 0.2, 0.4),
    "taste_text_share": (0.0, 0.1, 0.5, 2.0),
    "half_life_days": (15.0, 60.0, 180.0, 1000.0),
    "taste_neighbours": (25, 50, 100, 200),
    "taste_kept": ("strongest", "most_used", "shared"),
}
TEMPLATE = "text_template"
LEAST_USERS = 40  # of each half; fewer cannot tell settings apart

_Better = Callable[[Ndcg, Ndcg], bool]


@dataclass(frozen=True, kw_only=True)
class Tried:
    """Some settings, nDCG@10 of both strategies with them on the half that chooses; `kept`: the best until then."""

    settings: Changes
    blend: float
    interests: float
    kept: bool


@dataclass(frozen=True, kw_only=True)
class Gain:
    """nDCG@10 of one strategy on the half that confirms, by what a training would learn, and what is added to it."""

    present: float
    added: Estimate


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What the search found. Where `found` is empty nothing is better by more than chance, and `note` says why.

    The gains are those of the best settings; None: nothing could be measured.
    """

    found: Changes
    blend: Gain | None = None
    interests: Gain | None = None
    users: int = 0
    tried: tuple[Tried, ...] = ()
    note: str = ""


def tune(
    split: Split,
    item_ids: Sequence[str],
    vectors: VectorsOf,
    settings: Settings,
    *,
    users: int,
    minutes: float,
    bars: Bars,
) -> Tuning:
    """Search on the training events of a split. `vectors` gives those of the items under a template."""
    validation = Validation(split, item_ids, vectors, settings, users)
    if (found := validation.users) < 2 * LEAST_USERS:
        short = f"only {found} users can be asked on the validation cut, {2 * LEAST_USERS} are needed"
        return Tuning(found={}, note=short)
    started, seconds = time.monotonic(), 60 * minutes
    templates, values = _template_trials(validation), _value_trials(validation)
    with bars("tuning") as show:
        search = _Search(validation, show, len(templates) + len(values))
        # Templates are embedded for every item: they leave half of the time to the rest.
        search.go_through(templates, _surely_better, until=started + seconds / 2)
        template = search.best
        search.go_through(values, _better, until=started + seconds)
    return _confirmed(search, template)


class _Search:
    """The best changes so far, and all that was tried."""

    def __init__(self, validation: Validation, show: Callable[[int, int | None], None], total: int) -> None:
        self.validation = validation
        self._show, self._total, self._done = show, total, 0
        show(0, total)
        self.present = validation.choose({})
        self.best: tuple[Changes, Outcome] = ({}, self.present)
        self.tried = [_tried({}, self.present.ndcg, kept=True)]
        self.in_time = True

    def go_through(self, trials: Sequence[Callable[[Changes], Changes]], better: _Better, *, until: float) -> None:
        """Try one change after another to the best so far, and keep what is better."""
        for trial in trials:
            if time.monotonic() >= until:
                self.in_time = False
                return
            self._try({**self.best[0], **trial(self.best[0])}, better)
            self._done += 1
            self._show(self._done, self._total)

    def _try(self, changes: Changes, better: _Better) -> None:
        outcome = self.validation.choose(changes)
        kept = better(outcome.ndcg, self.best[1].ndcg)
        self.tried.append(_tried(changes, outcome.ndcg, kept=kept))
        if kept:
            self.best = changes, outcome


def _template_trials(validation: Validation) -> list[Callable[[Changes], Changes]]:
    def told(name: str) -> Callable[[Changes], Changes]:
        return lambda best: {TEMPLATE: with_line_for(name, str(best.get(TEMPLATE, validation.settings.text_template)))}

    return [told(name) for name in missing_attributes(validation.settings)] if validation.reads_texts else []


def _value_trials(validation: Validation) -> list[Callable[[Changes], Changes]]:
    def set_to(name: str, value: Value) -> Callable[[Changes], Changes]:
        return lambda _: {name: value}

    return [
        set_to(name, value)
        for name, values in SEARCHED.items()
        if validation.timed or name != "half_life_days"
        for value in values
        if value != getattr(validation.settings, name)
    ]


def _better(found: Ndcg, best: Ndcg) -> bool:
    return bool(found.blend.mean() > best.blend.mean())


def _surely_better(found: Ndcg, best: Ndcg) -> bool:
    """In the mean of both strategies, and by more than chance: a new text costs a reindex."""
    ahead = found.mean - best.mean
    return bool(ahead.mean() > SURE * ahead.std(ddof=1) / np.sqrt(len(ahead)))


def _confirmed(search: _Search, template: tuple[Changes, Outcome]) -> Tuning:
    """What surely gains in `blend` for the other half; else the template alone that surely does in `interests`.

    Neither may surely lose in the other strategy.
    """
    validation, note = search.validation, "" if search.in_time else "stopped by the time given; "
    before = validation.confirm({}, search.present, as_trained=True)

    def said(blend: Gain, interests: Gain, found: Changes, note: str) -> Tuning:
        tried = tuple(search.tried)
        return Tuning(
            found=found, blend=blend, interests=interests, users=len(before.blend), tried=tried, note=note.rstrip("; ")
        )

    changes, outcome = search.best
    blend, interests = _gains(before, validation.confirm(changes, outcome))
    if blend.added.low > 0 and interests.added.high >= 0:
        return said(blend, interests, _as_settings(changes, outcome), note)
    if template[0]:
        # The weights are left to the trainings, so the gain is measured with what they learn.
        blend_alone, interests_alone = _gains(before, validation.confirm(*template, as_trained=True))
        if interests_alone.added.low > 0 and blend_alone.added.high >= 0:
            note += "no settings beside the template are better by more than chance"
            return said(blend_alone, interests_alone, template[0], note)
    return said(blend, interests, {}, note + "no settings are better than the present ones by more than chance")


def _gains(before: Ndcg, after: Ndcg) -> tuple[Gain, Gain]:
    """Of `blend` and of `interests`."""
    pairs = ((before.blend, after.blend), (before.interests, after.interests))
    blend, interests = (Gain(present=float(old.mean()), added=_estimate(new - old)) for old, new in pairs)
    return blend, interests


def _estimate(gains: Floats) -> Estimate:
    low, high = bootstrap(gains[:, np.newaxis], seed=1)
    return Estimate(mean=float(gains.mean()), low=float(low[0]), high=float(high[0]))


def _tried(changes: Changes, ndcg: Ndcg, *, kept: bool) -> Tried:
    means = {"blend": float(ndcg.blend.mean()), "interests": float(ndcg.interests.mean())}
    return Tried(settings=dict(changes), kept=kept, **means)


def _as_settings(changes: Changes, outcome: Outcome) -> dict[str, Value]:
    """The changes, and what was chosen with them; what is of a blend only where there was one to be judged.

    How quickly histories and tastes fade stays with the trainings, which ask more users.
    """
    weights, keep = outcome.choice.weights, outcome.choice.keep
    found: dict[str, Value] = {
        "interests_prior": weights.interests_prior,
        "prior_half_life_days": weights.half_life_days,
    }
    if outcome.models is not None:
        found |= {
            "blend_text": weights.text,
            "blend_prior": weights.prior,
            "taste_neighbours": keep.k,
            "taste_kept": keep.rule,
        }
    return {**changes, **found}
