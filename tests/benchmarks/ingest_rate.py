"""How near file-to-searchable ingest comes to the encoder's own rate, and what ingesting the same file again costs.

Run with `python -m tests.benchmarks.ingest_rate [--repeat N] [--json FILE]`. Each repetition takes a new data folder;
encoder and ingest alternate, so that a machine that slows down slows both.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.artifacts import default_artifact
from tests.benchmarks.program import REPOSITORY, command, running
from tests.reference import reference_data

MAPPING = REPOSITORY / "tests" / "movies.toml"

# A process of its own, as an ingesting akin is one: the same texts, the same threads, nothing else.
_BARE = """
import json, sys, time
from pathlib import Path
from ingest.encoder.artifact import read_artifact
from ingest.encoder.onnx import OnnxEncoder
from ingest.files import file_source
from ingest.readers import Progress, Row
from ingest.settings import load_settings
from ingest.text import render
encoder, items, mapping, attributes = sys.argv[1:]
settings = load_settings(attributes=json.loads(attributes))
rows = file_source(items, mapping=Path(mapping)).items(settings, Progress())
texts = [render(settings.text_template, row.value) for row in rows if isinstance(row, Row)]
with OnnxEncoder(read_artifact(Path(encoder))) as encoder:
    encoder.embed(texts[:64])
    started = time.perf_counter()
    encoder.embed(texts)
    print(len(texts), time.perf_counter() - started)
"""


def bare_encoder(encoder: Path, items: Path, attributes: str) -> tuple[int, float]:
    """Texts, and seconds the encoder alone takes for them."""
    arguments = [sys.executable, "-c", _BARE, str(encoder), str(items), str(MAPPING), attributes]
    out = subprocess.run(arguments, check=True, capture_output=True, text=True, cwd=REPOSITORY).stdout.split()
    return int(out[0]), float(out[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    encoder, items = default_artifact(), reference_data("movies") / "items.parquet"
    runs = []
    for _ in range(options.repeat):
        with tempfile.TemporaryDirectory() as home, running(Path(home), encoder) as akin:
            texts, bare = bare_encoder(encoder, items, akin.variables["AKIN_ATTRIBUTES"])
            first = command(akin, "ingest", "items", str(items), "--mapping", str(MAPPING))
            again = command(akin, "ingest", "items", str(items), "--mapping", str(MAPPING))
            runs.append({"bare_s": bare, "ingest_s": first, "again_s": again, "share": bare / first})
            print(
                f"encoder alone {texts / bare:.0f} items/s, file to searchable {texts / first:.0f} items/s "
                f"({bare / first:.0%}); the same file again {again:.2f} s ({again / first:.1%} of the first time)",
                flush=True,
            )
    medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    print(
        f"median of {len(runs)}: file to searchable at {medians['share']:.0%} of the encoder's rate; "
        f"again {medians['again_s'] / medians['ingest_s']:.1%}"
    )
    if options.json:
        options.json.write_text(json.dumps({"items": texts, "runs": runs, "medians": medians}, indent=1))


if __name__ == "__main__":
    main()
