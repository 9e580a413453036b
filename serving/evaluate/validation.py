"""The cut that settings are tried on: one half of its users chooses, the other half confirms.

It is made of the training events of a split, whose test events are put away before.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ingest.encoder.protocol import Vectors
from ingest.events import Event
from ingest.scoring import BlendWeights, present_among
from ingest.settings import Settings
from ingest.taste.blending import Choice, blended, by_interests, learn, learn_blend, left_by, told, trained_on
from ingest.taste.cuts import SHARE, Cut
from ingest.taste.judge import Judge, Parts
from ingest.taste.keeping import Keep
from ingest.taste.model import TasteModel, keeps
from ingest.taste.texts import Texts
from ingest.weights import usual, votes
from serving.evaluate.metrics import Floats
from serving.evaluate.split import Split

Value = float | str
Changes = Mapping[str, Value]  # of settings, by name
VectorsOf = Callable[[str], Vectors]  # by text template: `(items, d) float32` in the order of the items


class Ndcg(NamedTuple):
    """nDCG@10 of each user by both strategies, `(users,)` each; the same twice where nothing is learned of items."""

    blend: Floats
    interests: Floats

    @property
    def mean(self) -> Floats:
        """Of both strategies."""
        return (self.blend + self.interests) / 2


Models = Mapping[Keep, TasteModel]  # by which weights are kept


class Outcome(NamedTuple):
    """What some settings give on the half that chooses, what is best beside them there, and all that may be kept."""

    ndcg: Ndcg
    choice: Choice
    models: Models | None


class Validation:
    """Asks the users of the cut by exact scores in memory, without an index."""

    def __init__(
        self, split: Split, item_ids: Sequence[str], vectors: VectorsOf, settings: Settings, users: int
    ) -> None:
        self.histories: dict[str, list[Event]] = defaultdict(list)
        for event in split.train:
            self.histories[event.user_id].append(event)
        self.settings = usual(self.histories.values(), settings).under(settings)
        self._item_ids, self._users = item_ids, users
        self._texts = lru_cache(maxsize=2)(lambda template: Texts(vectors(template)))
        self._present = _present(split.train, settings)
        self._since = _since(split.train) if split.kind == "global" else None
        self._learned: Choice | None = None
        self._kept: dict[tuple[float, int, float, str], tuple[Cut, Judge]] = {}

    @property
    def users(self) -> int:
        """How many can be asked."""
        _, judge = self._cut(self.settings)
        return len(judge.parts(None))

    @property
    def timed(self) -> bool:
        """Whether events have times, so that they can decay."""
        return self._present is not None

    @property
    def reads_texts(self) -> bool:
        """Whether trainings read texts: on catalogues above `taste_dense_items` they do not."""
        return bool(self._texts(self.settings.text_template).vectors.shape[1])

    def choose(self, changes: Changes) -> Outcome:
        """What the half that chooses says to these changes, with the weights that are best with them there."""
        # Fadings are a training's own to find: with all users it can tell what half of them cannot.
        learned = self._as_a_training_learns({})
        fadings = {"history_fading": learned.weights.fading, "taste_fading": learned.taste_fading}
        settings = self._changed({**changes, **fadings})
        models = self._trained(settings)
        _, judge = self._cut(settings)
        choosing = {keep: parts[::2] for keep, parts in told(judge, models, settings).items()}
        choice = learn_blend([choosing], settings, with_taste=models is not None) or self._unlearned(settings)
        ndcg = _ndcg(choosing[choice.keep], choice.weights, with_taste=models is not None)
        return Outcome(ndcg, choice, models)

    def confirm(self, changes: Changes, outcome: Outcome, *, as_trained: bool = False) -> Ndcg:
        """What the other half says to the chosen weights, or to those that a training with these changes learns."""
        settings = self._changed(changes)
        choice, models = outcome.choice, outcome.models
        if as_trained:
            choice = self._as_a_training_learns(changes)
            if choice.taste_fading != outcome.choice.taste_fading:
                models = self._trained(settings.model_copy(update={"taste_fading": choice.taste_fading}))
        _, judge = self._cut(settings.model_copy(update={"history_fading": choice.weights.fading}))
        model = models[choice.keep] if models else None
        return _ndcg(judge.parts(model)[1::2], choice.weights, with_taste=model is not None)

    def _changed(self, changes: Changes) -> Settings:
        return self.settings.model_copy(update=dict(changes))

    def _trained(self, settings: Settings) -> Models | None:
        interactions = left_by(self._cut_anew(settings), self.histories.values(), settings)
        return trained_on(interactions, self._texts(settings.text_template), settings)

    def _as_a_training_learns(self, changes: Changes) -> Choice:
        """What a training on what the cut leaves would learn by itself; without changes it is asked often."""
        if changes:
            return self._learned_anew(self._changed(changes))
        if self._learned is None:
            self._learned = self._learned_anew(self.settings)
        return self._learned

    def _learned_anew(self, settings: Settings) -> Choice:
        cut = self._cut_anew(settings)
        left = [history for history in cut.training(self.histories.values()) if history]
        since = _since([event for history in left for event in history])
        texts = self._texts(settings.text_template)
        found = learn(self._item_ids, texts, lambda: left, settings, present=cut.present, since=since)
        return found or self._unlearned(settings)

    def _unlearned(self, settings: Settings) -> Choice:
        weights, keep = BlendWeights().under(settings), keeps(len(self._item_ids), settings)[0]
        return Choice(weights, keep, settings.taste_fading or 0.0)

    def _cut(self, settings: Settings) -> tuple[Cut, Judge]:
        key = (settings.half_life_days, settings.history_limit, settings.history_fading or 0.0, settings.text_template)
        if key not in self._kept:
            cut = self._cut_anew(settings)
            for _ in cut.training(self.histories.values()):
                pass
            self._kept = {key: (cut, Judge(cut, self._texts(settings.text_template), settings))}
        return self._kept[key]

    def _cut_anew(self, settings: Settings) -> Cut:
        return Cut(self._item_ids, self._present, settings, since=self._since, sample=self._users)


def _ndcg(parts: Sequence[Parts], weights: BlendWeights, *, with_taste: bool) -> Ndcg:
    interests = np.array([one.gains(by_interests(one, weights)[np.newaxis])[0] for one in parts])
    if not with_taste:
        return Ndcg(interests, interests)
    return Ndcg(np.array([one.gains(blended(one, weights)[np.newaxis])[0] for one in parts]), interests)


def _present(events: Sequence[Event], settings: Settings) -> datetime | None:
    """As `EventStore.present` tells it."""
    counted = votes(settings)
    liked = [event.timestamp for event in events if event in counted]
    times = np.array([-np.inf if time is None else time.timestamp() for time in liked])
    found = present_among(np.sort(times)[::-1])
    return datetime.fromtimestamp(found, UTC) if np.isfinite(found) else None


def _since(events: Sequence[Event]) -> datetime | None:
    times = sorted(_times(events))
    return times[int((1 - SHARE) * len(times))] if times and len(times) == len(events) else None


def _times(events: Sequence[Event]) -> Iterator[datetime]:
    return (event.timestamp for event in events if event.timestamp is not None)
