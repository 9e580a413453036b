"""What one process of an installation does again and again: find pending work, take generations and trainings further.

Embedded, that is the one process there is. In a cluster any number of `akin beat` may run: one holds the lease and
works, the others stand by and take over when it is gone. About once an hour what is old is forgotten.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from ingest.errors import AkinError, SupersededError
from ingest.retention import forget_old
from ingest.store.leases import TRAINING, UPKEEP, Fence, LeaseStore
from ingest.sweep import sweep
from workers.app import CeleryQueue
from workers.resources import Resources

logger = logging.getLogger(__name__)

UPKEEP_SECONDS = 1.0
ORDER_SECONDS = 10.0
FORGET_SECONDS = 3_600.0
LEASE_SECONDS = 15.0


class Tenure(Protocol):
    """Who says whether this process is the one."""

    def holds(self) -> bool:
        """Whether it is, now."""
        ...

    def renewing(self) -> AbstractContextManager[None]:
        """It stays the one while the block runs, however long that takes."""
        ...

    @property
    def fence(self) -> Fence | None:
        """What its writes are fenced with."""
        ...

    def end(self) -> None:
        """Let another one be it."""
        ...


class Alone:
    """There is no other process: the data folder is locked."""

    fence = None

    def holds(self) -> bool:
        """Always."""
        return True

    def renewing(self) -> AbstractContextManager[None]:
        """There is nothing to renew."""
        return nullcontext()

    def end(self) -> None:
        """There is nobody to take over."""


class Leased:
    """One of several processes, by a lease in the ledger that is renewed three times in its length.

    While it works, a thread renews it: what another process would begin instead would take as long, and be taken over.
    """

    def __init__(self, leases: LeaseStore, *, seconds: float = LEASE_SECONDS) -> None:
        self._leases = leases
        self._seconds = seconds
        self._holder = str(uuid.uuid4())
        self._ask_at = 0.0
        self.fence: Fence | None = None

    def holds(self) -> bool:
        """Whether this process has the lease; asks the ledger when it is time to."""
        if time.monotonic() >= self._ask_at:
            self.fence = None  # should the ledger not answer, nobody knows
            self.fence = self._leases.acquire(UPKEEP, holder=self._holder, seconds=self._seconds)
            self._ask_at = time.monotonic() + (self._seconds / 3 if self.fence else 1.0)
        return self.fence is not None

    @contextmanager
    def renewing(self) -> Iterator[None]:
        """Renew the lease in a thread while the block runs. A process that is stopped altogether still loses it."""
        done = threading.Event()
        thread = threading.Thread(target=self._renew, args=(done,), name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _renew(self, done: threading.Event) -> None:
        wait = self._seconds / 3
        while not done.wait(wait):
            try:
                renewed = self._leases.acquire(UPKEEP, holder=self._holder, seconds=self._seconds)
            except AkinError:
                wait = min(1.0, self._seconds / 6)  # there is time left for asking again
                continue
            wait = self._seconds / 3
            if renewed != self.fence:
                # Somebody else had it. The work under way keeps its old fence, so that what it writes is refused.
                self._ask_at = 0.0
                return

    def end(self) -> None:
        """Give the lease back, so that another process need not wait for its end."""
        self.fence, self._ask_at = None, 0.0
        self._leases.release(UPKEEP, holder=self._holder)


class Upkeep:
    """The loop; see the module."""

    def __init__(
        self,
        resources: Resources,
        queue: CeleryQueue,
        tenure: Tenure,
        put_in_order: Callable[[], None] = lambda: None,
        *,
        rebuilds: bool = True,
    ) -> None:
        """`rebuilds`: whether an index that its catalogue has outgrown is built anew; a command ends before it is."""
        self._resources = resources
        self._rebuilds = rebuilds and resources.settings.embedded
        self._queue = queue
        self._tenure = tenure
        self._put_in_order = put_in_order
        self._upkeep_at = 0.0
        self._order_at = 0.0
        self._forget_at = 0.0
        self._held = False
        self._in_the_way = ""

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop. Whatever goes wrong is logged, and the loop goes on."""
        while not stop.wait(self._resources.settings.sweep_seconds):
            try:
                self.step()
            except SupersededError as error:
                logger.warning("stood back", extra={"reason": str(error)})
                self._stand_back()
            except AkinError as error:
                self._say_once(str(error))
            except Exception:
                logger.exception("maintenance failed; it goes on")
            else:
                self._say_once("")
        self._stand_back()
        try:
            self._tenure.end()
        except AkinError as error:
            logger.warning("the lease runs out by itself", extra={"reason": str(error)})

    def step(self) -> None:
        """Do what is due, once."""
        if not self._tenure.holds():
            if self._held:
                self._stand_back()
            return
        if not self._held:
            logger.info("upkeep is ours", extra={"token": self._tenure.fence.token if self._tenure.fence else 0})
            self._held, self._order_at = True, 0.0
        with self._tenure.renewing():  # a gate takes longer than the lease
            self._work()

    def _work(self) -> None:
        if time.monotonic() >= self._order_at:
            self._put_in_order()
            self._order_at = time.monotonic() + ORDER_SECONDS
        resources = self._resources
        sweep(resources.settings, resources.ledger, self._queue)
        if time.monotonic() >= self._upkeep_at:
            self._advance()
            self._upkeep_at = time.monotonic() + UPKEEP_SECONDS
        if time.monotonic() >= self._forget_at:
            forget_old(resources.settings, resources.ledger)
            self._forget_at = time.monotonic() + FORGET_SECONDS

    def _say_once(self, reason: str) -> None:
        """Log what is in the way when it begins and when it is over, not five times a second meanwhile."""
        if reason and reason != self._in_the_way:
            logger.warning("maintenance put off", extra={"reason": reason})
        elif self._in_the_way and not reason:
            logger.info("maintenance goes on")
        self._in_the_way = reason

    def _advance(self) -> None:
        resources = self._resources
        if resources.ledger.leases.take_request(TRAINING):
            resources.trainer.request()
        resources.trainer.advance()
        under_way = resources.reindexer.advance(self._tenure.fence)
        if under_way is None and self._rebuilds and resources.reindexer.rebuild_is_due():
            resources.reindexer.request()

    def _stand_back(self) -> None:
        self._held = False
        self._resources.reindexer.close()
        self._resources.trainer.close()
