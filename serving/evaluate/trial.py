"""A split as numbers: items by their place in a drawn order of the catalogue, users by their place among the asked."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ingest.events import Event
from serving.evaluate.metrics import EMPTY, Floats, Integers
from serving.evaluate.split import Split


@dataclass(frozen=True)
class Scorer:
    """A fitted baseline: `scores` leads from an asked user's place to a score for every item; NaN: it cannot tell."""

    scores: Callable[[int], Floats]
    note: str = ""  # what has to be known of how it was fitted


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What strategies are asked and judged by. Lists over users follow `users`; items are places in `items`."""

    items: tuple[str, ...]  # in a drawn order, so that ties, which go to the earlier place, favour nobody
    users: tuple[str, ...]
    relevant: tuple[Integers, ...]
    seen: tuple[Integers, ...]  # items with any training event of the user: none of them is ranked
    liked: tuple[Integers, ...]  # items of positive training events, oldest first
    events: Integers  # how many training events each user has
    pairs: Integers  # (n, 2): person and item of every positive training event, persons numbered over all users
    asked_as: Integers  # which person each asked user is
    audience: Integers  # by item, how many users had a training event with it
    share: Floats  # by item, that audience plus one over all users plus one: above 0 for items nobody saw
    positives: tuple[Event, ...]
    seed: int

    @property
    def place(self) -> Mapping[str, int]:
        """Places by item id."""
        return {item_id: place for place, item_id in enumerate(self.items)}


def make_trial(split: Split, item_ids: Sequence[str], *, users: int | None, seed: int) -> Trial:
    """Draw the order of the items and, where `users` are fewer than there are, whom to ask; equal seeds draw alike."""
    rng = np.random.default_rng(seed)
    items = tuple(rng.permutation(np.array(sorted(item_ids), dtype=object)))
    place = {item_id: number for number, item_id in enumerate(items)}
    asked = sorted(split.relevant)
    if users is not None and users < len(asked):
        asked = sorted(rng.choice(np.array(asked, dtype=object), size=users, replace=False))
    events = Counter(event.user_id for event in split.train)
    person = {user: number for number, user in enumerate(sorted(events))}
    seen, liked = _items_of(split.train, place), _items_of(split.positives, place)
    met = [place_ for places in seen.values() for place_ in places]
    audience = np.bincount(np.array(met, dtype=np.int64), minlength=len(items))
    return Trial(
        items=items,
        users=tuple(asked),
        relevant=tuple(_array(sorted(place[i] for i in split.relevant[user])) for user in asked),
        seen=tuple(_array(seen.get(user, {})) for user in asked),
        liked=tuple(_array(liked.get(user, {})) for user in asked),
        events=_array([events[user] for user in asked]),
        pairs=_array([(person[user], item) for user, places in liked.items() for item in places]).reshape(-1, 2),
        asked_as=_array([person[user] for user in asked]),
        audience=audience,
        share=(audience + 1) / (len(person) + 1),
        positives=split.positives,
        seed=seed,
    )


def best(scores: Floats, seen: Integers, k: int) -> Integers:
    """The `k` places of highest score that are not in `seen`, best first, ties to the earlier; NaN is not ranked.

    `(k,)`, filled up with EMPTY where fewer items can be ranked.
    """
    allowed = np.where(np.isnan(scores), -np.inf, scores)
    allowed[seen] = -np.inf
    floor = np.partition(allowed, -k)[-k] if k < len(allowed) else -np.inf
    candidates = np.flatnonzero((allowed >= floor) & (allowed > -np.inf))
    found = candidates[np.argsort(-allowed[candidates], kind="stable")][:k]
    return np.concatenate([found, np.full(k - len(found), EMPTY)]).astype(np.int64)


def _items_of(events: Sequence[Event], place: Mapping[str, int]) -> dict[str, dict[int, None]]:
    """By user, the places of the items of those events, each once, in the order of the first event."""
    found: dict[str, dict[int, None]] = {}
    for event in events:
        if event.item_id in place:
            found.setdefault(event.user_id, {})[place[event.item_id]] = None
    return found


def _array(values: Iterable[int | tuple[int, int]]) -> Integers:
    return np.array(list(values), dtype=np.int64)
