"""Training beside a serving process: asked for at any time, run in a process of its own, placed when it is done."""

import logging
import threading
from multiprocessing.connection import Connection

from ingest.child import Child, Failed, be_a_child_of
from ingest.errors import AkinError
from ingest.index.protocol import Index
from ingest.settings import Settings
from ingest.store.ledger import Ledger, open_ledger
from ingest.train import TrainReport, place_taste, train_live

logger = logging.getLogger(__name__)


class Trainer:
    """Trains in a process of its own, because reading events and sorting weights would hold the interpreter."""

    def __init__(self, settings: Settings, ledger: Ledger, index: Index) -> None:
        self._settings = settings
        self._ledger = ledger
        self._index = index
        self._wanted = threading.Event()
        self._lock = threading.Lock()
        self._child: Child[TrainReport] | None = None

    def request(self) -> None:
        """Ask for a training; one that is running is followed by another, as it may have missed what came since."""
        self._wanted.set()

    def advance(self) -> TrainReport | None:
        """Take the training one step further without waiting, and place what changed; the report when it is done."""
        with self._lock:
            report = self._step()
        place_taste(self._ledger, self._index)
        return report

    def close(self) -> None:
        """Stop a training that is under way; nothing of it is kept."""
        with self._lock:
            if self._child is not None:
                self._child.stop()
                self._child = None

    def _step(self) -> TrainReport | None:
        if self._child is None:
            if self._wanted.is_set():
                self._wanted.clear()
                self._child = Child("training", TrainReport, train_in_child, self._settings)
            return None
        outcome = self._child.poll()
        if outcome is None:
            return None
        self._child = None
        if isinstance(outcome, Failed):
            logger.error("taste not trained", extra={"reason": outcome.reason})
            return None
        return outcome


def train_in_child(settings: Settings, parent: int, pipe: Connection) -> None:
    """The child's main function: sends a TrainReport or Failed."""
    be_a_child_of(parent)
    try:
        with open_ledger(settings.ledger_url) as ledger:
            pipe.send(train_live(settings, ledger))
    except AkinError as error:
        pipe.send(Failed(reason=str(error)))
