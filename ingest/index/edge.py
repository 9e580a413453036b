"""Vectors and payload in Qdrant Edge: Qdrant's engine inside this process, one folder per collection.

A folder may be open in one process at a time; a generation is therefore built in a child process, closed there, and
only then opened where queries are served.
"""

import shutil
import threading
from pathlib import Path

import orjson
import qdrant_edge as edge

from ingest.disk import check_free_space
from ingest.durable import flush, write_durably
from ingest.errors import ConflictError, NotFoundError, UnavailableError
from ingest.index.checks import check_name, check_spec
from ingest.index.edge_collection import EdgeCollection
from ingest.index.edge_errors import is_vendor_error, translated
from ingest.index.edge_shard import configuration, create_payload_indexes
from ingest.index.protocol import CollectionSpec, UnreadableCollectionError
from ingest.index.specs import spec_as_json, spec_from_json
from ingest.page_cache import read_into_page_cache


class EdgeIndex:
    """Collections as folders under `folder`."""

    def __init__(self, folder: Path, *, min_free_bytes: int = 0) -> None:
        self._folder = folder
        self._min_free_bytes = min_free_bytes
        self._lock = threading.RLock()
        self._open: dict[str, EdgeCollection] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def create(self, name: str, spec: CollectionSpec, *, loading: bool = False) -> EdgeCollection:
        """Make an empty collection with its payload indexes and open it; what a crash left half made is replaced."""
        del loading  # the graph waits for `optimise` in any case
        check_name(name)
        check_spec(spec)
        folder = self._folder / name
        with self._lock:
            if _spec_path(folder).exists():
                raise ConflictError(f"the collection {name} exists already; drop it first or take another name")
            check_free_space(self._folder, self._min_free_bytes)
            with translated(f"create the collection {name}"):
                shutil.rmtree(folder, ignore_errors=True)
                (folder / "shard").mkdir(parents=True)
                shard = edge.EdgeShard.create(str(folder / "shard"), configuration(spec))
                create_payload_indexes(shard, spec)
                # The spec is written last: a folder without it is no collection yet.
                write_durably(_spec_path(folder), orjson.dumps(spec_as_json(spec)))
                flush(self._folder)
            return self._opened(name, shard, spec)

    def open(self, name: str) -> EdgeCollection:
        """The one shared handle of this process; see the protocol for what it raises."""
        check_name(name)
        already = self._open.get(name)  # without the lock: queries must not wait while another collection loads
        if already is not None:
            return already
        with self._lock:
            if name in self._open:
                return self._open[name]
            spec = _read_spec(name, self._folder / name)
            return self._opened(name, self._load(name, spec), spec)

    def close(self, name: str) -> None:
        """Wait for the calls that run on the handle, then let go of it; the collection stays."""
        with self._lock:
            collection = self._open.pop(name, None)
            if collection is not None:
                collection.shut()

    def drop(self, name: str) -> None:
        """Delete the folder; no error when it is not there."""
        check_name(name)
        folder = self._folder / name
        with self._lock:
            self.close(name)
            with translated(f"delete the collection {name}"):
                # Without its spec it is a leftover, whatever of the rest a crash leaves.
                _spec_path(folder).unlink(missing_ok=True)
                if folder.exists():
                    flush(folder)
                    shutil.rmtree(folder)

    def shut(self) -> None:
        """Close every handle."""
        for name in list(self._open):
            self.close(name)

    def names(self) -> list[str]:
        """Every complete collection; leftovers and those set aside are not listed."""
        return sorted(path.parent.name for path in self._folder.glob("*/spec.json") if "." not in path.parent.name)

    def quarantine(self, name: str) -> None:
        """Set an unreadable collection aside under `name.unreadable-<n>`, so that `name` can be built again."""
        check_name(name)
        folder = self._folder / name
        with self._lock:
            if not folder.exists():
                raise NotFoundError(f"there is no collection {name}")
            self.close(name)
            n = 1
            while (aside := self._folder / f"{name}.unreadable-{n}").exists():
                n += 1
            with translated(f"set the collection {name} aside"):
                folder.rename(aside)
                flush(self._folder)

    def _load(self, name: str, spec: CollectionSpec) -> edge.EdgeShard:
        config = configuration(spec)
        read_into_page_cache(self._folder / name / "shard")
        try:
            return edge.EdgeShard.load(str(self._folder / name / "shard"), config)
        except BaseException as error:
            if not is_vendor_error(error):
                raise
            if "WouldBlock" in str(error):
                raise UnavailableError(f"another process holds the collection {name}; stop it, then retry") from error
            raise UnreadableCollectionError(
                f"the collection {name} is damaged; set it aside and rebuild it from the ledger"
            ) from error

    def _opened(self, name: str, shard: edge.EdgeShard, spec: CollectionSpec) -> EdgeCollection:
        collection = EdgeCollection(self._folder / name, shard, spec, self._min_free_bytes)
        self._open[name] = collection
        return collection


def _spec_path(folder: Path) -> Path:
    return folder / "spec.json"


def _read_spec(name: str, folder: Path) -> CollectionSpec:
    try:
        return spec_from_json(orjson.loads(_spec_path(folder).read_bytes()))
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no collection {name}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableCollectionError(
            f"the spec of the collection {name} is damaged; set it aside and rebuild it"
        ) from error
