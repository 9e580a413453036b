"""What a process that runs tasks has open."""

from dataclasses import dataclass

from ingest.reconcile import Reconciler
from ingest.reindex import Reindexer
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.trainer import Trainer


@dataclass(frozen=True, kw_only=True)
class Intake:
    """What taking in needs: no index and no encoder, so that it goes on where those are missing."""

    settings: Settings
    ledger: Ledger


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Built by the composition root, which also closes them."""

    settings: Settings
    ledger: Ledger
    reconciler: Reconciler
    reindexer: Reindexer
    trainer: Trainer
