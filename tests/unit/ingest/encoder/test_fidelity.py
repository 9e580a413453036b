import numpy as np
import pytest

from ingest.encoder.fidelity import compare_vectors
from ingest.encoder.fidelity_texts import CALIBRATION_TEXTS, FIDELITY_TEXTS


def unit(rows: list[list[float]]) -> np.ndarray:
    array = np.array(rows, np.float32)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def test_an_encoder_is_identical_to_itself() -> None:
    vectors = unit(np.random.default_rng(1).normal(size=(30, 8)).tolist())

    found = compare_vectors(vectors, vectors)

    assert (found.mean_cosine, found.p1_cosine, found.worst_cosine, found.neighbour_overlap) == (1, 1, 1, 1)
    assert found.texts == 30


def test_the_worst_text_shows_in_the_worst_figure() -> None:
    found = compare_vectors(unit([[1, 0], [0, 1], [1, 1]]), unit([[1, 0], [0, 1], [1, -1]]))

    assert found.worst_cosine == 0
    assert found.mean_cosine == pytest.approx(2 / 3, abs=1e-5)


def test_overlap_counts_neighbours_that_are_the_same() -> None:
    line = unit([[1, place / 20] for place in range(20)])
    shuffled = line[np.random.default_rng(2).permutation(20)]

    assert compare_vectors(line, shuffled).neighbour_overlap < 0.9


def test_one_text_has_no_neighbours_to_compare() -> None:
    with pytest.raises(ValueError, match="two texts"):
        compare_vectors(unit([[1, 0]]), unit([[1, 0]]))


def test_quantization_is_set_up_on_other_texts_than_it_is_measured_on() -> None:
    assert len(set(FIDELITY_TEXTS)) == len(FIDELITY_TEXTS) >= 60
    assert not set(FIDELITY_TEXTS) & set(CALIBRATION_TEXTS)
