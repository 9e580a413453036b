"""Items under drawn ids, so that who breaks ties by id, as answers do, favours neither old items nor any others."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from typing import TypeVar

from msgspec import structs

from ingest.events import Event
from ingest.files import FileSource
from ingest.items import Item
from ingest.readers import Progress, Row, RowError
from ingest.settings import Settings

T = TypeVar("T", Item, Event)


def drawn_id(item_id: str, seed: int) -> str:
    """The id that stands for an item; equal seeds draw alike."""
    return blake2b(f"{seed}\0{item_id}".encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


@dataclass(frozen=True, kw_only=True)
class DrawnSource(FileSource):
    """A file whose items have drawn ids."""

    seed: int

    @classmethod
    def of(cls, source: FileSource, seed: int) -> "DrawnSource":
        """The same file."""
        return cls(**{field.name: getattr(source, field.name) for field in fields(source)}, seed=seed)

    def items(self, settings: Settings, progress: Progress) -> Iterator[Row[Item] | RowError]:
        """Its rows as items."""
        return _renamed(super().items(settings, progress), lambda item: replace(item, item_id=self._id(item)))

    def events(self, settings: Settings, progress: Progress) -> Iterator[Row[Event] | RowError]:
        """Its rows as events."""
        rows = super().events(settings, progress)
        return _renamed(rows, lambda event: structs.replace(event, item_id=self._id(event)))

    def _id(self, named: Item | Event) -> str:
        return drawn_id(named.item_id, self.seed)


def _renamed(rows: Iterable[Row[T] | RowError], rename: Callable[[T], T]) -> Iterator[Row[T] | RowError]:
    return (row if isinstance(row, RowError) else replace(row, value=rename(row.value)) for row in rows)


def with_drawn_ids(settings: Settings, seed: int) -> Settings:
    """The settings with drawn ids for those items that scenarios name."""

    def drawn(item_ids: list[str]) -> list[str]:
        return [drawn_id(item_id, seed) for item_id in item_ids]

    scenarios = {
        name: scenario.model_copy(
            update={
                "pinned": drawn(scenario.pinned),
                "boosts": [boost.model_copy(update={"item_ids": drawn(boost.item_ids)}) for boost in scenario.boosts],
            }
        )
        for name, scenario in settings.scenarios.items()
    }
    return settings.model_copy(update={"scenarios": scenarios})
