"""What processes that work beside the serving one have in common: they are polite, and they do not outlive it."""

import os
import threading
import time

NICENESS = 10


def be_a_child_of(parent: int) -> None:
    """Let the serving process go first, and end with it: an orphan would hold for minutes what the next start wants."""
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    os.nice(NICENESS)


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)
