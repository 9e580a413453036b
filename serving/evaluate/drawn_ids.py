"""Items under drawn ids, so that who breaks ties by id, as answers do, favours neither old items nor any others."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from hashlib import blake2b

from msgspec import structs

from ingest.events import Event
from ingest.files import FileSource
from ingest.items import Item
from ingest.readers import Progress, Row, RowError
from ingest.settings import Settings


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
        for row in super().items(settings, progress):
            if isinstance(row, RowError):
                yield row
            else:
                item_id = drawn_id(row.value.item_id, self.seed)
                yield Row(position=row.position, value=replace(row.value, item_id=item_id))

    def events(self, settings: Settings, progress: Progress) -> Iterator[Row[Event] | RowError]:
        """Its rows as events."""
        for row in super().events(settings, progress):
            if isinstance(row, RowError):
                yield row
            else:
                item_id = drawn_id(row.value.item_id, self.seed)
                yield Row(position=row.position, value=structs.replace(row.value, item_id=item_id))


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
