"""How the interpreter is set up in a process that answers requests."""

import gc
import sys

SWITCH_SECONDS = 0.0005


def favour_latency() -> None:
    """Keep an answer from waiting for what else its process does. Call it once, when all that stays has been made."""
    # What lives as long as the process need not be looked at again by every collection, nor what one request made.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    # A thread that writes or embeds would keep an answer waiting for ten times as long as the answer takes.
    sys.setswitchinterval(SWITCH_SECONDS)
