"""Which collections of an index belong to this installation: a Qdrant server may hold those of others, too."""

from ingest.index.protocol import Index
from ingest.settings import Settings
from ingest.store.ledger import Ledger


def own_collections(settings: Settings, ledger: Ledger, index: Index) -> set[str]:
    """Names of those that the ledger knows or that bear its id; embedded, all, as the folder has one installation."""
    names = set(index.names())
    return names if settings.embedded else ledger.generations.own(names)
