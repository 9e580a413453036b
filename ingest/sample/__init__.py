"""The sample catalogue: invented books and films, invented readers, and what those readers did.

Everything here is fiction made for this project. It only names files; whoever needs the rows reads the files.
"""

from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent

ITEMS: Final = _FOLDER / "items.jsonl"
"""240 items, one per line. The first of an item's `categories` is its kind; twenty items share each of twelve kinds."""

READERS: Final = _FOLDER / "readers.json"
"""Sixty readers: the kinds each likes (with weights), those each dislikes, and how many events each makes."""

EVENTS: Final = _FOLDER / "events.jsonl"
"""The stored output of `ingest.sample.draw`, one event per line, oldest first."""

ATTRIBUTES: Final[dict[str, str]] = {"kind": "keyword", "year": "integer", "language": "keyword", "price": "float"}
"""The attributes that the sample items carry, as `AKIN_ATTRIBUTES` declares them (name -> type)."""
