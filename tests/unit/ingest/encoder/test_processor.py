import os
from pathlib import Path

import pytest

from ingest.encoder.processor import available_cores, needs_reduced_range


@pytest.mark.parametrize(
    ("flags", "reduced"),
    [
        ("flags\t: fpu sse2 avx2 avx512f", True),
        ("flags\t: fpu avx2 avx512_vnni", False),
        ("flags\t: fpu avx2 avx_vnni", False),
        ("Features\t: fp asimd asimddp", False),
    ],
)
def test_weights_keep_seven_bits_only_where_products_saturate(tmp_path: Path, flags: str, reduced: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{flags}\n")

    assert needs_reduced_range(tmp_path / "cpuinfo") is reduced


def test_an_unknown_processor_gets_the_weights_that_are_right_everywhere(tmp_path: Path) -> None:
    assert needs_reduced_range(tmp_path / "nothing")


def test_cores_are_those_this_process_may_use() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
