"""Proving that something is gone: a search for its bytes in every file of an installation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest.documents import centred
from ingest.errors import NotFoundError
from ingest.items import Item
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.store.residue import places_in_file

LEAST_BYTES = 6  # fewer stand everywhere by chance
_LEAST_TEXT = 12
_TEXT_BYTES = 48
_VECTOR_BYTES = 64


@dataclass(frozen=True, kw_only=True)
class Needle:
    """Bytes that must be nowhere, and what they are. `ledger` is False where the ledger keeps them on purpose."""

    what: str
    content: bytes
    ledger: bool = True


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Bytes that are still there."""

    what: str
    where: str
    times: int


@dataclass(frozen=True, kw_only=True)
class SearchReport:
    """What a search looked through and found; `not_searched` says in words what it could not look into.

    `looked` is False where neither the ledger nor the index keeps its files here.
    """

    files: int
    bytes: int
    searched_for: tuple[str, ...]
    traces: tuple[Trace, ...]
    not_searched: tuple[str, ...]
    looked: bool = True

    @property
    def clean(self) -> bool | None:
        """Whether nothing is left; None where nothing could be searched, which proves nothing."""
        if self.traces:
            return False
        return True if self.looked and self.searched_for else None

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "clean": self.clean,
            "files": self.files,
            "bytes": self.bytes,
            "searched_for": list(self.searched_for),
            "traces": [{"what": t.what, "where": t.where, "times": t.times} for t in self.traces],
            "not_searched": list(self.not_searched),
        }


def needles_of_user(user_id: str) -> list[Needle]:
    """What would show a user: the id, which is all that akin knows of who they are."""
    return [Needle(what="user id", content=user_id.encode("utf-8", "surrogatepass"))]


def needles_of_item(ledger: Ledger, item_id: str) -> list[Needle]:
    """What would show an item; to be asked before it is erased. Raises NotFoundError when there never was one.

    Its id is looked for in the index only: in the ledger it stays, as the tombstone that keeps it from coming back.
    Of an item that was deleted before, the text is not known any more; its vector is, while a generation holds it.
    """
    stored = ledger.items.get(item_id)
    if stored is None:
        raise NotFoundError("there is no such item, and never was")
    found = [Needle(what="item id", content=item_id.encode("utf-8", "surrogatepass"), ledger=False)]
    found += _text_needles(stored.item)
    for generation in ledger.generations.list():
        placed = ledger.placements.of(generation.name, [item_id]).get(item_id)
        if placed is None or placed.content_hash is None:
            continue
        vectors = ledger.placements.vectors(generation.fingerprint, [placed.content_hash])
        for vector in vectors.values():
            found.append(Needle(what="text vector", content=vector.astype("<f4").tobytes()[:_VECTOR_BYTES]))
            inside = centred(vector, generation.mean).astype("<f4").tobytes()[:_VECTOR_BYTES]
            found.append(Needle(what=f"vector in {generation.name}", content=inside))
    return list({needle.content: needle for needle in found}.values())


def search(settings: Settings, ledger: Ledger, needles: Sequence[Needle]) -> SearchReport:
    """Look for every needle in every file of the data folder but encoders; what stands rightly there is no trace."""
    long_enough = [needle for needle in needles if len(needle.content) >= LEAST_BYTES]
    not_searched = [
        f"{needle.what}: has fewer than {LEAST_BYTES} bytes, which stand in any file by chance"
        for needle in needles
        if needle not in long_enough
    ]
    traces: list[Trace] = []
    ledger_file = ledger.file
    if ledger_file is None:
        not_searched.append(
            "PostgreSQL's own files: rows are gone, `VACUUM` runs within the hour, the log by its own rules"
        )
    else:
        in_ledger = [needle for needle in long_enough if needle.ledger]
        left = ledger.residue([needle.content for needle in in_ledger])
        traces += [
            Trace(what=needle.what, where=ledger_file.name, times=times)
            for needle, times in zip(in_ledger, left, strict=True)
            if times
        ]
    if not settings.embedded:
        not_searched.append("the Qdrant server's files: points are deleted there, and gone with their collection")
    files = [path for path in _files(settings.home) if ledger_file is None or path.name != ledger_file.name]
    for needle in long_enough:
        rightly = _right_places(ledger, needle.content)
        for path in files:
            if times := sum(not _is_right(place, rightly) for place in _places(path, needle.content)):
                traces.append(Trace(what=needle.what, where=str(path.relative_to(settings.home)), times=times))
    size = sum(map(_size, [*files, *([ledger_file] if ledger_file else [])]))
    return SearchReport(
        files=len(files) + (ledger_file is not None),
        bytes=size,
        searched_for=tuple(needle.what for needle in long_enough),
        traces=tuple(traces),
        not_searched=tuple(not_searched),
        looked=ledger_file is not None or settings.embedded,
    )


def _text_needles(item: Item) -> Iterator[Needle]:
    for what, text in (("title", item.title), ("text", item.text)):
        content = text.encode("utf-8", "surrogatepass")
        if len(content) >= _LEAST_TEXT:
            # As the ledger writes it, in JSON: what would be escaped there is cut away.
            plain = max(text.replace("\\", '"').replace("\n", '"').split('"'), key=len)
            yield Needle(what=what, content=plain.encode("utf-8", "surrogatepass")[:_TEXT_BYTES])


def _files(home: Path) -> list[Path]:
    skipped = {"encoders", "encoder"}  # models hold nothing of a catalogue
    return sorted(
        path
        for path in home.rglob("*")
        if path.is_file()
        and path.relative_to(home).parts[0] not in skipped
        and not path.name.endswith(("-wal", "-shm", ".lock"))  # the log was emptied, and its index holds no content
        and path.name != "server.json"
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # it went away after it was listed
        return 0


def _places(path: Path, content: bytes) -> Iterator[tuple[int, bytes]]:
    try:
        yield from places_in_file(path, content)
    except FileNotFoundError:  # a file that went away holds nothing
        return


def _right_places(ledger: Ledger, content: bytes) -> Mapping[tuple[int, int], set[bytes]]:
    """Ids and attribute values of standing items that hold the content, by where in them it stands and their length."""
    found: dict[tuple[int, int], set[bytes]] = {}
    for page in ledger.items.pages():
        for stored in page:
            for value in _indexed_strings(stored.item):
                at = value.find(content)
                while at >= 0:
                    found.setdefault((at, len(value)), set()).add(value)
                    at = value.find(content, at + 1)
    return found


def _indexed_strings(item: Item) -> Iterator[bytes]:
    yield item.item_id.encode("utf-8", "surrogatepass")
    for value in (*item.categories, *item.attributes.values()):
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, str):
                yield one.encode("utf-8", "surrogatepass")


def _is_right(place: tuple[int, bytes], rightly: Mapping[tuple[int, int], set[bytes]]) -> bool:
    at, around = place
    return any(around[at - before : at - before + length] in values for (before, length), values in rightly.items())
