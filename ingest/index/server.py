"""Vectors and payload in a Qdrant server or cluster, over its REST API, writes over gRPC where it is set.

Needs Qdrant 1.16 or later, which keeps metadata with a collection. The client's local mode (`:memory:`) stands in for
a server in tests: it scans, payload indexes and `optimise` do nothing there, and it warns about both.
"""

import threading
from collections.abc import Mapping
from functools import partial
from math import ceil
from typing import Any

from qdrant_client import QdrantClient, models

from ingest.errors import ConflictError, NotFoundError
from ingest.index.checks import check_name, check_spec
from ingest.index.graph import BUILD_EF, LINKS
from ingest.index.protocol import CollectionSpec, Index, UnreadableCollectionError
from ingest.index.server_calls import Calls, Patience
from ingest.index.server_collection import Server, ServerCollection
from ingest.index.server_requests import SCHEMA, ServerOptions, quantization, sparse_vectors, strict_mode
from ingest.index.specs import spec_as_json, spec_from_json
from ingest.settings import Settings

_METADATA = "akin"
READ_ATTEMPTS = 2
WRITE_ATTEMPTS = 6


def connect(settings: Settings) -> Index:
    """An index on the server that the settings name; nothing is sent before the first call."""
    key = settings.qdrant_api_key
    there: dict[str, Any] = {
        "url": settings.qdrant_url,
        "api_key": key.get_secret_value() if key else None,
        "check_compatibility": False,
    }
    options = ServerOptions(
        shards=settings.qdrant_shards,
        replicas=settings.qdrant_replicas,
        write_consistency=settings.qdrant_write_consistency,
        quantization=settings.qdrant_quantization,
        strict=settings.qdrant_strict,
        read_seconds=settings.qdrant_timeout_seconds,
        write_seconds=settings.qdrant_write_seconds,
    )
    reader = QdrantClient(**there, timeout=ceil(options.read_seconds))
    writer = QdrantClient(**there, timeout=ceil(options.write_seconds), prefer_grpc=settings.qdrant_grpc)
    return ServerIndex(reader, writer=writer, options=options)


class ServerIndex:
    """Collections named `prefix` + name. Closes the clients when it is shut."""

    def __init__(
        self,
        client: QdrantClient,
        *,
        writer: QdrantClient | None = None,
        prefix: str = "akin-",
        options: ServerOptions | None = None,
    ) -> None:
        options = options or ServerOptions()
        self._server = Server(
            reader=client,
            writer=writer or client,
            reads=Calls(Patience(attempts=READ_ATTEMPTS, seconds=options.read_seconds)),
            writes=Calls(Patience(attempts=WRITE_ATTEMPTS, seconds=options.write_seconds)),
            options=options,
        )
        self._prefix = prefix
        self._lock = threading.Lock()
        self._open: dict[str, ServerCollection] = {}

    def create(self, name: str, spec: CollectionSpec, *, loading: bool = False) -> ServerCollection:
        """Make an empty collection with its payload indexes and open it; what a crash left half made is replaced."""
        check_name(name)
        check_spec(spec)
        full_name = self._prefix + name
        if self._server.reads.make(f"look for the collection {name}", lambda: self._stored_spec(full_name)) is not None:
            raise ConflictError(f"the collection {name} exists already; drop it first or take another name")
        # Repeated whole: an attempt whose answer was lost is begun again.
        self._server.writes.make(f"create the collection {name}", lambda: self._create(name, spec, loading=loading))
        return self.open(name)

    def open(self, name: str) -> ServerCollection:
        """The one shared handle of this process; see the protocol for what it raises."""
        check_name(name)
        already = self._open.get(name)
        if already is not None:
            return already
        full_name = self._prefix + name
        stored = self._server.reads.make(f"open the collection {name}", lambda: self._stored_spec(full_name))
        if stored is None:
            raise NotFoundError(f"there is no collection {name}")
        try:
            spec = spec_from_json(stored)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnreadableCollectionError(
                f"the spec of the collection {name} is damaged; drop and rebuild it"
            ) from error
        with self._lock:
            return self._open.setdefault(name, ServerCollection(self._server, full_name, spec))

    def close(self, name: str) -> None:
        """Forget the handle; the collection stays and so does the client."""
        with self._lock:
            collection = self._open.pop(name, None)
        if collection is not None:
            collection.shut()

    def drop(self, name: str) -> None:
        """Delete the collection; no error when it is not there."""
        check_name(name)
        self.close(name)
        delete = partial(self._server.writer.delete_collection, self._prefix + name)
        self._server.writes.make(f"delete the collection {name}", delete)

    def quarantine(self, name: str) -> None:
        """Delete the collection: a server has nowhere to keep what it cannot read, and everything is in the ledger."""
        self.drop(name)

    def names(self) -> list[str]:
        """Every complete collection under the prefix."""
        return self._server.reads.make("list the collections", self._names)

    def shut(self) -> None:
        """Close every handle and the connections."""
        for name in list(self._open):
            self.close(name)
        self._server.reader.close()
        self._server.writer.close()

    def _names(self) -> list[str]:
        listed = self._server.reader.get_collections().collections
        found = [c.name for c in listed if c.name.startswith(self._prefix)]
        return sorted(name.removeprefix(self._prefix) for name in found if self._stored_spec(name) is not None)

    def _stored_spec(self, full_name: str) -> Mapping[str, Any] | None:
        reader = self._server.reader
        if not reader.collection_exists(full_name):
            return None
        return (reader.get_collection(full_name).config.metadata or {}).get(_METADATA)

    def _create(self, name: str, spec: CollectionSpec, *, loading: bool) -> None:
        full_name, writer, options = self._prefix + name, self._server.writer, self._server.options
        if writer.collection_exists(full_name):
            writer.delete_collection(full_name)
        writer.create_collection(
            full_name,
            # Text vectors have unit length: the dot product is the cosine, and is not normalised a second time.
            vectors_config={"text": models.VectorParams(size=spec.dimensions, distance=models.Distance.DOT)},
            sparse_vectors_config=sparse_vectors(spec),
            hnsw_config=models.HnswConfigDiff(m=0 if loading else LINKS, ef_construct=BUILD_EF),
            shard_number=options.shards,
            replication_factor=options.replicas,
            write_consistency_factor=options.write_consistency,
            quantization_config=quantization(options),
            strict_mode_config=strict_mode(options),
        )
        # Before any point is loaded: the graph gets its links for filtered search only then.
        for attribute, type_ in spec.attributes.items():
            writer.create_payload_index(full_name, attribute, field_schema=SCHEMA[type_], wait=True)
        # The spec is written last: a collection without it is a leftover.
        writer.update_collection(full_name, metadata={_METADATA: spec_as_json(spec)})
