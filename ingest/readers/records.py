"""What reading a file yields."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

_MOST_IGNORED, _MOST_NAME_CHARS = 20, 64

T_co = TypeVar("T_co", covariant=True)

Source = Path | Literal["-"]  # "-" is standard input


@dataclass(frozen=True, kw_only=True)
class Row(Generic[T_co]):
    """A good row. `position` is its first line in a text file, its number in a Parquet file, both from 1."""

    position: int
    value: T_co


@dataclass(frozen=True, kw_only=True)
class RowError:
    """A row that was refused, and why; holds nothing of the row but the id of what it is about."""

    position: int
    subject_id: str | None  # the item's or the event's id where it can be read, never the user's
    code: str
    detail: str


@dataclass(kw_only=True)
class Progress:
    """How far a reader has come, in the unit of `file_size_hint`: rows of Parquet, else bytes as the file has them.

    `ignored` are columns that no field is made of, as far as a person would read the list; `unseen` those that a
    mapping names and no row has had so far.
    """

    done: int = 0
    ignored: set[str] = field(default_factory=set)
    unseen: set[str] = field(default_factory=set)

    def ignore(self, columns: Iterable[str]) -> None:
        """Remember columns of which nothing was taken."""
        for column in columns:
            if len(self.ignored) < _MOST_IGNORED and column.isprintable():
                self.ignored.add(column[:_MOST_NAME_CHARS])


OnColumns = Callable[[Collection[str]], None]  # told the names of all columns, before the first row
RawRow = tuple[int, Mapping[str, Any] | RowError]
