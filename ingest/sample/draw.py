"""Draws the sample events from the readers' stated interests. The same items, readers and seed give the same events.

`python -m ingest.sample.draw` rewrites `events.jsonl`. A row is one visit's step: a reader meets an item, then perhaps
clicks, reads, rates or buys it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

from ingest.sample import EVENTS, ITEMS, READERS

SEED: Final = 20261110  # chosen: with some others, a reader of six events has none that is positive
FIRST: Final = datetime(2026, 5, 1, tzinfo=UTC)
LAST: Final = datetime(2026, 11, 15, tzinfo=UTC)
LONGEST_VISIT: Final = timedelta(days=1)

LIKED_SHARE: Final = 0.85  # of visits; the rest are curiosity, chance and disappointment
DISLIKED_SHARE: Final = 0.5  # of those, where the reader dislikes anything
ZIPF_EXPONENT: Final = 0.8  # below 1, or twenty items are too few for anything but the first three to be met

Row = Mapping[str, Any]
Shelves = Mapping[str, Sequence[str]]  # kind -> item ids, the most popular first
Steps = tuple[str, ...]

# What may happen in one visit, and how often, by how the reader stands to the kind.
LIKED: Final[Mapping[Steps, float]] = {
    ("view",): 18,
    ("click",): 12,
    ("read",): 22,
    ("like",): 8,
    ("view", "click"): 8,
    ("click", "read"): 10,
    ("read", "like"): 6,
    ("read", "rating"): 8,
    ("click", "purchase"): 5,
    ("click", "purchase", "read", "rating"): 3,
}
DISLIKED: Final[Mapping[Steps, float]] = {("view",): 3, ("dislike",): 4, ("view", "dislike"): 2, ("click", "rating"): 3}
INDIFFERENT: Final[Mapping[Steps, float]] = {("view",): 6, ("click",): 2, ("view", "click"): 2, ("read",): 1}

PAUSE_SECONDS: Final[Mapping[str, tuple[int, int]]] = {
    "click": (5, 90),
    "dislike": (5, 60),
    "like": (10, 600),
    "purchase": (60, 900),
    "rating": (30, 900),
    "read": (600, 14_400),
}
"""The shortest and longest time, in seconds, between a step and the one before it."""


def draw_events(items: Sequence[Row], readers: Sequence[Row], seed: int = SEED) -> list[dict[str, Any]]:
    """The events of all readers, oldest first, each reader's `activity` many, with ids `sample-00001` onwards.

    Every reader has a generator of their own, so adding one leaves the others' events as they were (but not their ids).
    """
    shelves = _shelves(items, Random(seed))  # noqa: S311 - a repeatable draw, not a secret
    drawn = [event for reader in readers for event in _events_of(reader, shelves, seed)]
    drawn.sort(key=lambda event: (event["timestamp"], event["user_id"]))
    return [{"event_id": f"sample-{number:05d}", **event} for number, event in enumerate(drawn, start=1)]


def read_items(path: Path = ITEMS) -> list[dict[str, Any]]:
    """The sample items as they stand in the file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_readers(path: Path = READERS) -> list[dict[str, Any]]:
    """The sample readers as they stand in the file."""
    readers: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return readers


def write_events(path: Path = EVENTS) -> int:
    """Draw the events of the stored items and readers, replace the file with them, and say how many there are."""
    events = draw_events(read_items(), read_readers())
    path.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    return len(events)


def _shelves(items: Sequence[Row], random: Random) -> Shelves:
    """The item ids of every kind, in an order of popularity that all readers share."""
    shelves: dict[str, list[str]] = {}
    for item in items:
        shelves.setdefault(item["categories"][0], []).append(item["item_id"])
    for shelf in shelves.values():
        random.shuffle(shelf)
    return shelves


def _events_of(reader: Row, shelves: Shelves, seed: int) -> list[dict[str, Any]]:
    """One reader's events, without ids, in no particular order."""
    random = Random(f"{seed}:{reader['user_id']}")  # noqa: S311 - a repeatable draw, not a secret
    events: list[dict[str, Any]] = []
    met: set[str] = set()
    while len(events) < reader["activity"]:
        kind = _kind(reader, shelves, random)
        item_id = _item(shelves[kind], met, random)
        met.add(item_id)
        events.extend(_visit(reader, kind, item_id, random))
    return events[: reader["activity"]]


def _kind(reader: Row, shelves: Shelves, random: Random) -> str:
    """A liked kind by its weight; otherwise a disliked one (where there is one) or any of the rest."""
    likes, dislikes = reader["likes"], reader.get("dislikes", [])
    if random.random() < LIKED_SHARE:
        return str(random.choices(list(likes), weights=list(likes.values()))[0])
    if dislikes and random.random() < DISLIKED_SHARE:
        return str(random.choice(dislikes))
    return random.choice([kind for kind in shelves if kind not in likes and kind not in dislikes])


def _item(shelf: Sequence[str], met: set[str], random: Random) -> str:
    """An item that the reader has not met yet, by Zipf's law over the whole shelf; any once all have been met."""
    weights = {item_id: rank**-ZIPF_EXPONENT for rank, item_id in enumerate(shelf, start=1)}
    unmet = {item_id: weight for item_id, weight in weights.items() if item_id not in met} or weights
    return random.choices(list(unmet), weights=list(unmet.values()))[0]


def _visit(reader: Row, kind: str, item_id: str, random: Random) -> Iterator[dict[str, Any]]:
    """The steps of one visit to one item, in order of time."""
    when = _start(random)
    for number, step in enumerate(_steps(reader, kind, random)):
        if number:
            when += timedelta(seconds=random.randint(*PAUSE_SECONDS[step]))
        event: dict[str, Any] = {"user_id": reader["user_id"], "item_id": item_id, "type": step}
        if step == "rating":
            event["value"] = _stars(liked=kind in reader["likes"], random=random)
        yield {**event, "timestamp": when.strftime("%Y-%m-%dT%H:%M:%SZ")}


def _start(random: Random) -> datetime:
    """When a visit begins: the root of an even draw, so that the number of visits per day grows steadily."""
    span = (LAST - FIRST - LONGEST_VISIT).total_seconds()
    return FIRST + timedelta(seconds=int(span * random.random() ** 0.5))


def _steps(reader: Row, kind: str, random: Random) -> Steps:
    """What the reader does with an item of this kind."""
    if kind in reader["likes"]:
        outcomes = LIKED
    elif kind in reader.get("dislikes", []):
        outcomes = DISLIKED
    else:
        outcomes = INDIFFERENT
    return random.choices(list(outcomes), weights=list(outcomes.values()))[0]


def _stars(*, liked: bool, random: Random) -> int:
    """A rating from 1 to 5: three to five stars for a liked kind, one or two for another."""
    return random.choice((3, 4, 4, 5, 5) if liked else (1, 1, 2))


if __name__ == "__main__":
    print(f"{write_events()} events written to {EVENTS}")  # noqa: T201 - a command says what it did
