"""Searching the settings that rank best, on events that an evaluation of the same split and seed would train on.

The test events of the split are put away first. What is left is cut once more: one half of the users drawn from that
cut chooses the settings, the other half says what they gain, so that the gain is not the luck of the choice. Settings
are judged by `blend`; a text template also by `interests`, which answers where nothing is learned.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from ingest.encoder.protocol import Vectors
from ingest.events import Event
from ingest.scoring import BlendWeights, present_rank, present_time
from ingest.settings import Settings
from ingest.taste.blending import SURE, blended, by_interests, learn, learn_blend
from ingest.taste.cuts import SHARE, Cut
from ingest.taste.interactions import collect
from ingest.taste.judge import Judge, Parts
from ingest.taste.model import TasteModel, train
from ingest.taste.texts import Texts
from ingest.weights import liked_types, usual
from serving.evaluate.metrics import Floats, bootstrap
from serving.evaluate.progress import Bars
from serving.evaluate.report import Estimate
from serving.evaluate.split import Split
from serving.evaluate.templates import telling, untold

Value = float | str
Changes = Mapping[str, Value]
VectorsOf = Callable[[str], Vectors]  # by text template, in the order of the items

# One setting after another, the best value of each kept; the present value is always tried first.
SEARCHED: Mapping[str, tuple[float, ...]] = {
    "taste_ridge": (1.0, 2.0, 5.0, 10.0, 20.0),
    "taste_ridge_growth": (0.0, 0.4, 0.7, 1.0),
    "taste_text_share": (0.0, 0.1, 0.5, 2.0),
    "half_life_days": (15.0, 60.0, 180.0, 1000.0),
    "taste_neighbours": (25, 50, 100, 200),
}
TEMPLATE = "text_template"
LEAST_USERS = 40  # of each half; fewer cannot tell settings apart


class Gains(NamedTuple):
    """nDCG@10 of each user by both strategies, `(users,)` each."""

    blend: Floats
    interests: Floats

    @property
    def both(self) -> Floats:
        """What a text template is judged by."""
        return (self.blend + self.interests) / 2


@dataclass(frozen=True, kw_only=True)
class Tried:
    """Some settings, and nDCG@10 of both strategies with them on the half of the users that chooses."""

    settings: Changes
    blend: float
    interests: float


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What the search found. `found` is empty where nothing is better by more than chance; `note` then says why.

    The present figures are nDCG@10 on the half that confirms, by what a training would learn; the gains are what the
    best settings add to that; None: nothing could be measured.
    """

    found: Changes
    present: float = float("nan")  # of `blend`
    gain: Estimate | None = None
    present_interests: float = float("nan")
    interests_gain: Estimate | None = None
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
    """Search on the training events of a split. `vectors` gives `(items, d) float32` in the order of `item_ids`."""
    search = _Search(split, item_ids, vectors, settings, users)
    if (short := search.too_few()) is not None:
        return Tuning(found={}, note=short)
    deadline = time.monotonic() + 60 * minutes
    trials = search.trials()
    with bars("tuning") as show:
        best: dict[str, Value] = {}
        in_time = True
        score = search.try_on({})
        for done, trial in enumerate(trials):
            show(done, len(trials))
            in_time = in_time and time.monotonic() < deadline
            if not in_time or (more := trial(best)) is None:
                continue
            changes = {**best, **more}
            found = search.try_on(changes)
            if _surely_tells_more(found, score) if TEMPLATE in more else found.blend.mean() > score.blend.mean():
                best, score = changes, found
        show(len(trials), len(trials))
    return search.confirmed(best, "" if in_time else "stopped by the time given; ")


def _surely_tells_more(found: Gains, score: Gains) -> bool:
    """By more than chance: a new text costs a reindex."""
    ahead = found.both - score.both
    return bool(ahead.mean() > SURE * ahead.std(ddof=1) / np.sqrt(len(ahead)))


class _Search:
    """The validation cut, and what is kept between trials."""

    def __init__(
        self, split: Split, item_ids: Sequence[str], vectors: VectorsOf, settings: Settings, users: int
    ) -> None:
        self._histories: dict[str, list[Event]] = defaultdict(list)
        for event in split.train:
            self._histories[event.user_id].append(event)
        self._settings = usual(self._histories.values(), settings).under(settings)
        self._item_ids, self._users = item_ids, users
        self._texts = lru_cache(maxsize=2)(lambda template: Texts(vectors(template)))
        self._present = _present(split.train, settings)
        self._since = _since(split.train) if split.kind == "global" else None
        self._kept: dict[tuple[float, int, str], tuple[Cut, Judge]] = {}
        self._learned: dict[tuple[tuple[str, Value], ...], tuple[BlendWeights, TasteModel | None]] = {}
        self.tried: list[Tried] = []

    def too_few(self) -> str | None:
        """Why nothing can be tuned here; None when it can."""
        _, judge = self._cut(self._settings)
        found = len(judge.parts(None))
        if found < 2 * LEAST_USERS:
            return f"only {found} users can be asked on the validation cut, {2 * LEAST_USERS} are needed"
        return None

    def trials(self) -> list[Callable[[Changes], Changes | None]]:
        """What to try, in order: given the best so far, a change to it, or None where it would change nothing."""
        return [
            *(self._with_attribute(name) for name in untold(self._settings)),
            *(self._with_value(name, value) for name, values in SEARCHED.items() for value in values),
        ]

    def _with_attribute(self, name: str) -> Callable[[Changes], Changes | None]:
        def trial(best: Changes) -> Changes | None:
            template = str(best.get(TEMPLATE, self._settings.text_template))
            has_texts = self._texts(template).vectors.any()
            return {TEMPLATE: telling(template, name)} if has_texts else None

        return trial

    def _with_value(self, name: str, value: float) -> Callable[[Changes], Changes | None]:
        def trial(_: Changes) -> Changes | None:
            decays = name != "half_life_days" or self._present is not None
            return {name: value} if decays and value != getattr(self._settings, name) else None

        return trial

    def try_on(self, changes: Changes) -> Gains:
        """NDCG@10 on the half that chooses, with these changes and the weights that are best with them there."""
        settings = self._settings.model_copy(update=dict(changes))
        parts, model = self._parts(settings)
        choosing = parts[::2]
        weights = learn_blend([choosing], settings, with_taste=model is not None) or BlendWeights().under(settings)
        self._learned[_key(changes)] = weights, model
        gains = _gains(choosing, weights, with_taste=model is not None)
        self.tried.append(
            Tried(settings=dict(changes), blend=float(gains.blend.mean()), interests=float(gains.interests.mean()))
        )
        return gains

    def confirmed(self, best: Changes, note: str) -> Tuning:
        """What surely gains in `blend` for the other half; else the template alone that surely does in `interests`."""
        whole = self._measured(best, note)
        if whole.gain is not None and whole.gain.low > 0:
            return replace(whole, found=_as_settings(best, self._learned[_key(best)][0]))
        if TEMPLATE in best:
            template = {TEMPLATE: best[TEMPLATE]}
            told = self._measured(template, note + "no settings beside the template are better by more than chance")
            if told.gain is not None and told.gain.high >= 0 and told.interests_gain and told.interests_gain.low > 0:
                return replace(told, found=template)
        return replace(whole, note=note + "no settings are better than the present ones by more than chance")

    def _measured(self, changes: Changes, note: str) -> Tuning:
        """What the changes gain for the other half, beside what a training by the present settings learns."""
        weights, model = self._learned[_key(changes)]
        settings = self._settings.model_copy(update=dict(changes))
        after = _gains(self._parts(settings, model)[0][1::2], weights, with_taste=model is not None)
        before = self._before
        return Tuning(
            found={},
            present=float(before.blend.mean()),
            gain=_estimate(after.blend - before.blend),
            present_interests=float(before.interests.mean()),
            interests_gain=_estimate(after.interests - before.interests),
            users=len(after.blend),
            tried=tuple(self.tried),
            note=note,
        )

    @cached_property
    def _before(self) -> Gains:
        _, model = self._learned[()]
        learned = self._as_a_training_learns() or BlendWeights().under(self._settings)
        return _gains(self._parts(self._settings, model)[0][1::2], learned, with_taste=model is not None)

    def _as_a_training_learns(self) -> BlendWeights | None:
        """The weights that a training on what the validation cut leaves would learn by itself."""
        cut, _ = self._cut(self._settings)
        left = [history for history in cut.training(self._histories.values()) if history]
        since = _since([event for history in left for event in history])
        texts = self._texts(self._settings.text_template)
        return learn(self._item_ids, texts, lambda: left, self._settings, present=cut.present, since=since)

    def _parts(self, settings: Settings, model: TasteModel | None = None) -> tuple[list[Parts], TasteModel | None]:
        cut, judge = self._cut(settings)
        if model is None:
            left = self._cut_anew(settings).training(self._histories.values())
            interactions = collect(self._item_ids, left, cut.present, settings)
            trained = train(interactions, self._texts(settings.text_template), settings)
            model = trained if isinstance(trained, TasteModel) else None
        return judge.parts(model), model

    def _cut(self, settings: Settings) -> tuple[Cut, Judge]:
        key = (settings.half_life_days, settings.history_limit, settings.text_template)
        if key not in self._kept:
            cut = self._cut_anew(settings)
            for _ in cut.training(self._histories.values()):
                pass
            self._kept = {key: (cut, Judge(cut, self._texts(settings.text_template), settings))}
        return self._kept[key]

    def _cut_anew(self, settings: Settings) -> Cut:
        return Cut(self._item_ids, self._present, settings, since=self._since, sample=self._users)


def _gains(parts: Sequence[Parts], weights: BlendWeights, *, with_taste: bool) -> Gains:
    interests = np.array([one.gains(by_interests(one, weights)[np.newaxis])[0] for one in parts])
    if not with_taste:
        return Gains(interests, interests)
    return Gains(np.array([one.gains(blended(one, weights)[np.newaxis])[0] for one in parts]), interests)


def _estimate(gains: Floats) -> Estimate:
    low, high = bootstrap(gains[:, np.newaxis], seed=1)
    return Estimate(mean=float(gains.mean()), low=float(low[0]), high=float(high[0]))


def _as_settings(changes: Changes, weights: BlendWeights) -> dict[str, Value]:
    found = asdict(weights)
    names = {"text": "blend_text", "prior": "blend_prior", "half_life_days": "prior_half_life_days"}
    return {**changes, **{names.get(name, name): value for name, value in found.items()}}


def _key(changes: Changes) -> tuple[tuple[str, Value], ...]:
    return tuple(sorted(changes.items()))


def _present(events: Sequence[Event], settings: Settings) -> datetime | None:
    """As `EventStore.present` tells it."""
    liked = [event for event in events if event.type in liked_types(settings)]
    times, rank = sorted(_times(liked), reverse=True), present_rank(len(liked))
    if rank > len(times):
        return None
    told = [time.timestamp() for time in (times[0], times[rank - 1], times[min(2 * rank, len(times)) - 1])]
    return datetime.fromtimestamp(present_time(*told), UTC)


def _since(events: Sequence[Event]) -> datetime | None:
    times = sorted(_times(events))
    return times[int((1 - SHARE) * len(times))] if times and len(times) == len(events) else None


def _times(events: Sequence[Event]) -> Iterator[datetime]:
    return (event.timestamp for event in events if event.timestamp is not None)
