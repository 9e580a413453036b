import time
from pathlib import Path

import numpy as np

from ingest.encoder.artifact import Artifact
from ingest.encoder.library import EncoderLibrary
from ingest.encoder.tuning import keep_budget, processor, quickest, read_budget


def test_the_least_budget_that_is_nearly_the_best_wins() -> None:
    seconds_per_token = {128: 4e-5, 256: 2e-5, 512: 1e-5, 1024: 1e-5}

    def run(ids: np.ndarray) -> None:
        until = time.perf_counter() + ids.size * seconds_per_token[ids.size]
        while time.perf_counter() < until:
            pass

    assert quickest((128, 256, 512, 1024), run) in {512, 1024}


def test_what_was_found_counts_on_the_same_kind_of_processor_only(tmp_path: Path) -> None:
    assert read_budget(tmp_path, "one engine") is None

    keep_budget(tmp_path, "one engine", 512)
    assert read_budget(tmp_path, "one engine") == 512
    assert read_budget(tmp_path, "another") is None

    text = (tmp_path / "tuning.json").read_text(encoding="utf-8").replace(processor(), "another one")
    (tmp_path / "tuning.json").write_text(text, encoding="utf-8")
    assert read_budget(tmp_path, "one engine") is None

    (tmp_path / "tuning.json").write_bytes(b"\xff{")
    assert read_budget(tmp_path, "one engine") is None


def test_a_library_finds_out_once_and_keeps_it_beside_its_copy(tiny_artifact: Artifact, tmp_path: Path) -> None:
    with EncoderLibrary(tmp_path) as library:
        kept = library.install(tiny_artifact.folder)
        engine = library.get(kept.fingerprint).provider

    assert read_budget(kept.folder, engine) is not None
    assert read_budget(tiny_artifact.folder, engine) is None
