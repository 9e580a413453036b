"""Searching the settings that rank best, on events that an evaluation of the same split and seed would train on.

The test events of the split are put away first. What is left is cut once more: one half of the users drawn from that
cut chooses the settings, the other half says what they gain, so that the gain is not the luck of the choice.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import numpy as np

from ingest.encoder.protocol import Vectors
from ingest.events import Event
from ingest.scoring import BlendWeights, present_rank, present_time
from ingest.settings import Settings
from ingest.taste.blending import blended, by_interests, learn, learn_blend
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

# One setting after another, the best value of each kept; the present value is always tried first.
SEARCHED: Mapping[str, tuple[float, ...]] = {
    "taste_ridge": (1.0, 2.0, 5.0, 10.0, 20.0),
    "taste_ridge_growth": (0.0, 0.4, 0.7, 1.0),
    "taste_text_share": (0.0, 0.1, 0.5, 2.0),
    "half_life_days": (15.0, 60.0, 180.0, 1000.0),
    "taste_neighbours": (25, 50, 100, 200),
}
LEAST_USERS = 40  # of each half; fewer cannot tell settings apart


@dataclass(frozen=True, kw_only=True)
class Tried:
    """Some settings, and nDCG@10 of `blend` with them on the half of the users that chooses."""

    settings: Mapping[str, float]
    ndcg: float


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What the search found. `found` is empty where nothing is better by more than chance; `note` then says why."""

    found: Mapping[str, float]
    present: float = float("nan")  # nDCG@10 of `blend` on the half that confirms, by what a training would learn
    gain: Estimate | None = None  # what the best settings add to that; None: nothing could be measured
    users: int = 0
    tried: tuple[Tried, ...] = ()
    note: str = ""


def tune(
    split: Split, item_ids: Sequence[str], text: Vectors, settings: Settings, *, users: int, minutes: float, bars: Bars
) -> Tuning:
    """Search on the training events of a split. `text` is `(items, d) float32` in the order of `item_ids`."""
    search = _Search(split, item_ids, text, settings, users)
    if (short := search.too_few()) is not None:
        return Tuning(found={}, note=short)
    deadline = time.monotonic() + 60 * minutes
    total = sum(map(len, SEARCHED.values()))
    with bars("tuning") as show:
        best: dict[str, float] = {}
        in_time = True
        score = search.try_on({})
        for name, values in SEARCHED.items():
            for value in values:
                show(len(search.tried), total)
                in_time = in_time and time.monotonic() < deadline
                if not in_time or value == getattr(settings, name) or not search.matters(name):
                    continue
                if (found := search.try_on(best | {name: value})) > score:
                    best, score = best | {name: value}, found
        show(total, total)
    return search.confirmed(best, "" if in_time else "stopped by the time given; ")


class _Search:
    """The validation cut, and what is kept between trials."""

    def __init__(self, split: Split, item_ids: Sequence[str], text: Vectors, settings: Settings, users: int) -> None:
        self._histories: dict[str, list[Event]] = defaultdict(list)
        for event in split.train:
            self._histories[event.user_id].append(event)
        self._settings = usual(self._histories.values(), settings).under(settings)
        self._item_ids, self._texts, self._users = item_ids, Texts(text), users
        self._present = _present(split.train, settings)
        self._since = _since(split.train) if split.kind == "global" else None
        self._kept: dict[tuple[float, int], tuple[Cut, Judge]] = {}
        self._learned: dict[tuple[tuple[str, float], ...], tuple[BlendWeights, TasteModel | None]] = {}
        self.tried: list[Tried] = []

    def too_few(self) -> str | None:
        """Why nothing can be tuned here; None when it can."""
        _, judge = self._cut(self._settings)
        found = len(judge.parts(None))
        if found < 2 * LEAST_USERS:
            return f"only {found} users can be asked on the validation cut, {2 * LEAST_USERS} are needed"
        return None

    def matters(self, name: str) -> bool:
        """Whether a setting can change anything here."""
        return name != "half_life_days" or self._present is not None

    def try_on(self, changes: Mapping[str, float]) -> float:
        """NDCG@10 on the half that chooses, with these changes and the weights that are best with them there."""
        settings = self._settings.model_copy(update=dict(changes))
        parts, model = self._parts(settings)
        choosing = parts[::2]
        weights = learn_blend([choosing], settings, with_taste=model is not None) or BlendWeights().under(settings)
        self._learned[_key(changes)] = weights, model
        ndcg = float(np.mean(_gains(choosing, weights, with_taste=model is not None)))
        self.tried.append(Tried(settings=dict(changes), ndcg=ndcg))
        return ndcg

    def confirmed(self, changes: Mapping[str, float], note: str) -> Tuning:
        """What the changes gain for the other half, beside what a training by the present settings learns."""
        weights, model = self._learned[_key(changes)]
        settings = self._settings.model_copy(update=dict(changes))
        after = _gains(self._parts(settings, model)[0][1::2], weights, with_taste=model is not None)
        _, usual = self._learned[()]
        learned = self._as_a_training_learns() or BlendWeights().under(self._settings)
        before = _gains(self._parts(self._settings, usual)[0][1::2], learned, with_taste=usual is not None)
        gain = after - before
        low, high = bootstrap(gain[:, np.newaxis], seed=1)
        estimate = Estimate(mean=float(gain.mean()), low=float(low[0]), high=float(high[0]))
        found = _as_settings(changes, weights) if estimate.low > 0 else {}
        return Tuning(
            found=found,
            present=float(before.mean()),
            gain=estimate,
            users=len(gain),
            tried=tuple(self.tried),
            note=note if found else note + "no settings are better than the present ones by more than chance",
        )

    def _as_a_training_learns(self) -> BlendWeights | None:
        """The weights that a training on what the validation cut leaves would learn by itself."""
        cut, _ = self._cut(self._settings)
        left = [history for history in cut.training(self._histories.values()) if history]
        since = _since([event for history in left for event in history])
        return learn(self._item_ids, self._texts, lambda: left, self._settings, present=cut.present, since=since)

    def _parts(self, settings: Settings, model: TasteModel | None = None) -> tuple[list[Parts], TasteModel | None]:
        cut, judge = self._cut(settings)
        if model is None:
            left = self._cut_anew(settings).training(self._histories.values())
            trained = train(collect(self._item_ids, left, cut.present, settings), self._texts, settings)
            model = trained if isinstance(trained, TasteModel) else None
        return judge.parts(model), model

    def _cut(self, settings: Settings) -> tuple[Cut, Judge]:
        key = (settings.half_life_days, settings.history_limit)
        if key not in self._kept:
            cut = self._cut_anew(settings)
            for _ in cut.training(self._histories.values()):
                pass
            self._kept = {key: (cut, Judge(cut, self._texts, settings))}
        return self._kept[key]

    def _cut_anew(self, settings: Settings) -> Cut:
        return Cut(self._item_ids, self._present, settings, since=self._since, sample=self._users)


def _gains(parts: Sequence[Parts], weights: BlendWeights, *, with_taste: bool) -> Floats:
    score = blended if with_taste else by_interests
    return np.array([one.gains(score(one, weights)[np.newaxis])[0] for one in parts])


def _as_settings(changes: Mapping[str, float], weights: BlendWeights) -> dict[str, float]:
    found = asdict(weights)
    names = {"text": "blend_text", "prior": "blend_prior", "half_life_days": "prior_half_life_days"}
    return {**changes, **{names.get(name, name): value for name, value in found.items()}}


def _key(changes: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
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
