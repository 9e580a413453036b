"""Saying in the log what a program waits for, when it begins to and when it goes on: a silent one looks dead."""

import logging
import threading
from collections.abc import Callable

from ingest.errors import AkinError

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0


def wait_until_ready(look: Callable[[], object], stop: threading.Event, *, every_seconds: float = LOOK_SECONDS) -> None:
    """Look again and again until that raises no AkinError, or `stop` is set. One line each, when it begins and ends."""
    waiting = False
    while True:
        try:
            look()
        except AkinError as error:
            if not waiting:
                logger.warning("not ready; waiting", extra={"reason": str(error), "see": "akin doctor"})
            waiting = True
            if stop.wait(every_seconds):
                return
        else:
            if waiting:
                logger.info("ready")
            return
