"""What a training learned beside the weights of items, in the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import orjson
from sqlalchemy import Connection, delete, select

from ingest.chunks import chunks
from ingest.scoring import BlendWeights
from ingest.store.database import ROWS_PER_COMMIT, Database, now
from ingest.store.tables import meta, rarities
from ingest.store.taste import alive_among
from ingest.weights import Usual

_BLEND = "taste_blend"
_FADING = "history_fading"
_TASTE_FADING = "taste_fading"
_USUAL = "taste_usual"
_DISLIKED = "disliked_ratings"
_RARITIES = "taste_rarities"  # when they were written
_TOLERANCE = 1e-3


class LearnedStore:
    """The rarities table, and what else is learned as rows of the meta table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep_blend(self, weights: BlendWeights) -> None:
        """Write down what a training found best beside the taste."""
        values = asdict(weights)
        # In a row of its own: an akin that does not know of it reads the other.
        rows = [{"key": _FADING, "value": str(values.pop("fading"))}]
        rows.append({"key": _BLEND, "value": orjson.dumps(values).decode()})
        with self._database.write() as connection:
            self._database.upsert(connection, meta, rows)

    def blend(self) -> BlendWeights:
        """What the last training found; the defaults where none did."""
        with self._database.read() as connection:
            query = select(meta.c.key, meta.c.value).where(meta.c.key.in_([_BLEND, _FADING]))
            stored = {row.key: row.value for row in connection.execute(query)}
        fading = {"fading": float(stored[_FADING])} if _FADING in stored else {}
        return BlendWeights(**orjson.loads(stored.get(_BLEND, "{}")), **fading)

    def keep_taste_fading(self, fading: float) -> None:
        """Write down the `taste_fading` that a training went by."""
        with self._database.write() as connection:
            self._database.upsert(connection, meta, [{"key": _TASTE_FADING, "value": str(fading)}])

    def taste_fading(self) -> float:
        """What the last training went by; 0 where there was none."""
        with self._database.read() as connection:
            return float(connection.execute(select(meta.c.value).where(meta.c.key == _TASTE_FADING)).scalar() or 0)

    def keep_usual(self, found: Usual) -> None:
        """Write down what a training found usual in the catalogue."""
        values = asdict(found)
        # In a row of its own: an akin that does not know of it reads the other.
        rows = [{"key": _DISLIKED, "value": orjson.dumps(values.pop("disliked")).decode()}]
        rows.append({"key": _USUAL, "value": orjson.dumps(values).decode()})
        with self._database.write() as connection:
            self._database.upsert(connection, meta, rows)

    def usual(self) -> Usual:
        """What the last training found usual; nothing where none did."""
        with self._database.read() as connection:
            query = select(meta.c.key, meta.c.value).where(meta.c.key.in_([_USUAL, _DISLIKED]))
            stored = {row.key: orjson.loads(row.value) for row in connection.execute(query)}
        return Usual(**stored.get(_USUAL, {}), disliked=stored.get(_DISLIKED, {}))

    def keep_rarities(self, found: Mapping[str, float]) -> None:
        """Write down how far the texts of items stand apart, and drop what is not in it: an item without one has 1.

        What differs by less than a thousandth counts as the same; items that were deleted meanwhile get none.
        """
        with self._database.read() as connection:
            standing = _rarities(connection)
        changed = {item_id: value for item_id, value in found.items() if not _near(value, standing.get(item_id))}
        others = sorted(standing.keys() - found.keys())
        if not changed and not others:
            return
        for some in chunks(changed, ROWS_PER_COMMIT):
            with self._database.write() as connection:
                alive = alive_among(connection, some)
                rows = [{"item_id": item_id, "rarity": changed[item_id]} for item_id in some if item_id in alive]
                self._database.upsert(connection, rarities, rows)
        for some in chunks(others, ROWS_PER_COMMIT):
            with self._database.write() as connection:
                forget_rarities(connection, some)
        with self._database.write() as connection:
            stamp = str(connection.execute(select(now())).scalar_one())
            self._database.upsert(connection, meta, [{"key": _RARITIES, "value": stamp}])

    def rarities_since(self, stamp: str) -> tuple[str, dict[str, float]] | None:
        """Their stamp and all of them, by item; None when they are still those of `stamp`."""
        with self._database.read() as connection:
            found = connection.execute(select(meta.c.value).where(meta.c.key == _RARITIES)).scalar() or ""
            if found == stamp:
                return None
            return found, _rarities(connection)


def forget_rarities(connection: Connection, item_ids: Sequence[str]) -> None:
    """Drop the rarities of items inside the transaction that deletes them."""
    for some in chunks(item_ids):
        connection.execute(delete(rarities).where(rarities.c.item_id.in_(some)))


def _rarities(connection: Connection) -> dict[str, float]:
    return dict(map(tuple, connection.execute(select(rarities.c.item_id, rarities.c.rarity))))


def _near(value: float, standing: float | None) -> bool:
    return standing is not None and abs(value - standing) <= _TOLERANCE * standing
