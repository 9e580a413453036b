import logging
import os
from multiprocessing import get_context
from pathlib import Path

import pytest

from ingest.encoder.cpu import available_cores, keep_to_own_cores, needs_reduced_range, own_cores


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


@pytest.mark.parametrize(
    ("processes", "shares"),
    [
        (1, [{0, 2, 3, 5}]),
        (2, [{0, 3}, {2, 5}]),
        (4, [{0}, {2}, {3}, {5}]),
        (6, [{0}, {2}, {3}, {5}, {0}, {2}]),
    ],
)
def test_cores_are_shared_out_evenly_among_the_processes(processes: int, shares: list[set[int]]) -> None:
    assert [own_cores({5, 0, 3, 2}, process, processes) for process in range(processes)] == shares


def kept_to(process: int) -> set[int]:
    assert keep_to_own_cores(process, 2)
    return os.sched_getaffinity(0)


def test_processes_that_are_pinned_run_on_different_cores() -> None:
    allowed = os.sched_getaffinity(0)
    with get_context("spawn").Pool(2, maxtasksperchild=1) as pool:
        kept = pool.map(kept_to, range(2), chunksize=1)

    assert kept[0] | kept[1] == allowed
    assert len(allowed) == 1 or not kept[0] & kept[1]


def test_a_system_without_affinity_says_so_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    before = os.sched_getaffinity(0)
    with caplog.at_level(logging.WARNING):
        assert not keep_to_own_cores(0, 2, set_affinity=None)

    assert "pins no process" in caplog.text
    assert os.sched_getaffinity(0) == before


def test_a_system_that_refuses_says_so_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(_: int, __: object) -> None:
        raise PermissionError

    with caplog.at_level(logging.WARNING):
        assert not keep_to_own_cores(0, 2, set_affinity=refuse)

    assert "refused" in caplog.text
