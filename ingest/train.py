"""Learning item-item weights from everybody's events, and bringing them to the index.

Training writes to the ledger only; whoever holds the index then places what changed there. Neither needs the other to
be told: what is to be placed follows from the ledger.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ingest.chunks import chunks
from ingest.encoder.protocol import Vectors
from ingest.index.protocol import NO_TASTE, Index
from ingest.scoring import all_fixed
from ingest.sentences import count_of
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.store.records import GenerationState
from ingest.weights import usual, votes

if TYPE_CHECKING:
    from ingest.taste.blending import Choice
    from ingest.taste.model import TooFewEvents
    from ingest.taste.texts import Texts

logger = logging.getLogger(__name__)

TextPages = Iterable[list[tuple[str, Vectors | None]]]  # pages of items with their text vectors, not centred


@dataclass(frozen=True, kw_only=True)
class TrainReport:
    """What a training used and changed; `note` says what stood in its way, if anything did."""

    items: int = 0
    users: int = 0
    events: int = 0
    changed: int = 0
    neighbours: int = 0  # weights kept for each item, in the mean where they are shared
    kept: str = ""  # by which rule of `taste_kept`
    taste_fading: float = 0.0
    blend: dict[str, float] | None = None  # what was learned of the blend's weights; None: too few users to tell
    seconds: float = 0.0
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return asdict(self)


def train_live(settings: Settings, ledger: Ledger) -> TrainReport:
    """Train for the items of the live generation; see `train_taste`."""
    live = ledger.generations.live()
    if live is None:
        return TrainReport(note="no generation is live yet")
    return train_taste(settings, ledger, ledger.taste.texts(live.name, live.fingerprint))


def train_taste(settings: Settings, ledger: Ledger, pages: TextPages) -> TrainReport:
    """Learn from all events which items go together, and keep that in the ledger.

    With too few events nothing is learned, and what was learned from events that are gone is dropped. Up to
    `taste_dense_items` items it takes 4 to 6 bytes x items^2 of memory, and seconds to minutes of one process: call
    it where nobody waits.
    """
    # Only where weights are trained should anybody wait for scipy to load.
    from ingest.taste.interactions import collect  # noqa: PLC0415
    from ingest.taste.model import keeps, no_model, train  # noqa: PLC0415
    from ingest.taste.texts import Texts  # noqa: PLC0415

    started = time.monotonic()
    item_ids, text = _read(pages, settings.taste_dense_items)
    texts = Texts(text)
    found = usual(ledger.events.histories(), settings)
    settings = found.under(settings)
    choices = keeps(len(item_ids), settings)
    nothing_to_learn = all_fixed(settings) and len(choices) == 1
    learned = None if nothing_to_learn else _learn(settings, ledger, item_ids, texts)
    keep = choices[0] if learned is None else learned.keep
    if learned is not None:
        settings = settings.model_copy(update={"taste_fading": learned.taste_fading})
    interactions = collect(item_ids, ledger.events.histories(), ledger.events.present(votes(settings)), settings)
    trained = train(interactions, texts, settings, [keep])
    model, note = (trained[keep], "") if isinstance(trained, dict) else (no_model(), _too_few(trained))
    taste_fading = 0.0 if note else settings.taste_fading or 0.0
    changed = ledger.taste.replace(model)
    ledger.learned.keep_usual(found)
    ledger.learned.keep_taste_fading(taste_fading)
    rarities = zip(item_ids, texts.rarity.tolist(), strict=True)
    ledger.learned.keep_rarities({item_id: rarity for item_id, rarity in rarities if rarity != 1})
    if learned is not None:
        ledger.learned.keep_blend(learned.weights)
    report = TrainReport(
        items=len(item_ids),
        users=interactions.users,
        events=interactions.events,
        changed=len(changed),
        neighbours=0 if note else keep.k,
        kept="" if note else keep.rule,
        taste_fading=taste_fading,
        blend=None if learned is None else asdict(learned.weights),
        seconds=round(time.monotonic() - started, 3),
        note=note,
    )
    logger.info("taste trained", extra=report.as_json())
    return report


def what_is_missing(settings: Settings, ledger: Ledger, item_ids: Sequence[str]) -> str:
    """What a training on the events of the ledger says when it learns no weights of these items; "" when it learns."""
    from ingest.taste.interactions import collect  # noqa: PLC0415 - as above
    from ingest.taste.model import too_few_events  # noqa: PLC0415

    interactions = collect(item_ids, ledger.events.histories(), ledger.events.present(votes(settings)), settings)
    found = too_few_events(interactions, settings)
    return "" if found is None else _too_few(found)


def _learn(settings: Settings, ledger: Ledger, item_ids: list[str], texts: "Texts") -> "Choice | None":
    """What is best beside the events' weights; None where too few users can tell."""
    from ingest.taste.blending import learn  # noqa: PLC0415
    from ingest.taste.cuts import SHARE  # noqa: PLC0415

    events = ledger.events
    since = events.moment_of_share(1 - SHARE)
    present = events.present(votes(settings))
    return learn(item_ids, texts, events.histories, settings, present=present, since=since)


def place_taste(ledger: Ledger, index: Index, *, beside_a_build: bool = False) -> int:
    """Bring changed weights to every generation that receives writes; returns how many points that were.

    Waits for a generation that is being built: it brings its own, and the live one will be replaced by it. Where nobody
    may be at work on it that wait has no end: `beside_a_build` says not to.
    """
    until = ledger.taste.latest()
    generations = ledger.generations.list() if until else []
    if not beside_a_build and any(generation.state is GenerationState.BUILDING for generation in generations):
        return 0
    count = 0
    for generation in generations:
        placed = ledger.taste.placed(generation.name)
        if generation.state not in (GenerationState.LIVE, GenerationState.CATCHING_UP) or placed >= until:
            continue
        collection = index.open(generation.name)
        for some in chunks(ledger.taste.changed(placed, until)):
            weights = ledger.taste.weights(some)
            collection.set_taste({item_id: weights.get(item_id, NO_TASTE) for item_id in some})
            count += len(some)
        ledger.taste.note_placed(generation.name, until, known=[g.name for g in generations])
    if count:
        ledger.placements.note_index_changed()
    return count


def _read(pages: TextPages, most: int) -> tuple[list[str], Vectors]:
    """The ids, and `(items, d) float32` with zero rows where there is no vector; no columns above `most` items."""
    item_ids: list[str] = []
    found: dict[int, Vectors] = {}
    for page in pages:
        found |= {len(item_ids) + n: vector for n, (_, vector) in enumerate(page) if vector is not None}
        item_ids += [item_id for item_id, _ in page]
        if len(item_ids) > most:
            found = {}  # so many items are trained without text
    text = np.zeros((len(item_ids), len(next(iter(found.values()))) if found else 0), dtype=np.float32)
    for row, vector in found.items():
        text[row] = vector
    return item_ids, text


def _too_few(found: "TooFewEvents") -> str:
    return (
        f"too few events: {count_of(found.users, 'user')} with events on two or more items, {found.needed:,} are needed"
    )
