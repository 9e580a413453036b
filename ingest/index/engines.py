"""Which engine an installation uses: the one place that chooses."""

from ingest.index.edge import EdgeIndex
from ingest.index.protocol import Index
from ingest.settings import Settings


def open_index(settings: Settings) -> Index:
    """Qdrant Edge in `home/index`, or the Qdrant server that `qdrant_url` names."""
    if settings.qdrant_url is None:
        return EdgeIndex(settings.home / "index", min_free_bytes=settings.min_free_bytes)
    from ingest.index.server import connect  # noqa: PLC0415 - embedded, nobody should wait for qdrant_client to load

    return connect(settings)
