"""The texts of a catalogue as a training reads them."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ingest.encoder.protocol import Vectors
from ingest.taste.rarity import rarities

LEAST_TEXTS = 50


class Texts:
    """Made of `(items, d) float32` vectors as the encoder gave them, zero rows where there are none."""

    def __init__(self, text: Vectors) -> None:
        self.vectors = centred_rows(text)

    def of(self, columns: NDArray[np.integer]) -> "Texts":
        """Those of some of the items, centred as they are among all."""
        part = Texts(np.zeros((0, self.vectors.shape[1]), np.float32))
        part.vectors = self.vectors[columns]
        return part

    @cached_property
    def rarity(self) -> NDArray[np.float32]:
        """How far each text stands apart from others, `(items,)`; computed when it is first asked for."""
        return rarities(self.vectors).astype(np.float32)


def centred_rows(text: Vectors) -> Vectors:
    """Each row less the mean of the rows that are not zero, at length one; zero rows stay zero.

    With too few rows all are zero: they would say more about their mean than about each other.
    """
    known = np.any(text != 0, axis=1)
    if np.count_nonzero(known) < LEAST_TEXTS:
        return np.zeros_like(text)
    shifted = np.where(known[:, np.newaxis], text - text[known].mean(axis=0), 0.0)
    lengths = np.linalg.norm(shifted, axis=1, keepdims=True)
    return np.asarray(shifted / np.where(lengths > 1e-6, lengths, np.inf), dtype=np.float32)  # noqa: PLR2004 - rounding noise
