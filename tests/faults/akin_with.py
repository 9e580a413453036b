"""The `akin` program with a fault built in, told by the environment.

FAULT_SKEW_SECONDS: the process's clock is wrong by so much. FAULT_POISON: embedding a text that holds this word kills
the process, as a bug in a native library would; FAULT_EMBEDDED names a file that counts the texts embedded.
"""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ingest.encoder.onnx import OnnxEncoder

right_time, right_embed = time.time, OnnxEncoder.embed


def skewed() -> float:
    return right_time() + float(os.environ["FAULT_SKEW_SECONDS"])


def poisonous(self: OnnxEncoder, texts: Sequence[str]) -> Any:
    healthy = next((n for n, text in enumerate(texts) if os.environ["FAULT_POISON"] in text), len(texts))
    vectors = right_embed(self, texts[:healthy])
    with Path(os.environ["FAULT_EMBEDDED"]).open("a") as count:
        count.write(f"{healthy}\n")
    if healthy < len(texts):
        os.kill(os.getpid(), signal.SIGSEGV)
    return vectors


if "FAULT_SKEW_SECONDS" in os.environ:
    time.time = skewed
if "FAULT_POISON" in os.environ:
    OnnxEncoder.embed = poisonous

if __name__ == "__main__":
    import akin

    akin.main()
