"""Item-item cosine with shrinkage, for catalogues too large to invert a matrix over: sparse algebra only."""

from collections.abc import Iterator, Sequence

import numpy as np

from ingest.encoder.protocol import Vectors
from ingest.taste.in_common import InCommon
from ingest.taste.interactions import popularity
from ingest.taste.keeping import Incoming, Keep, kept

SHRINKAGE = 10.0  # so much shared weight is distrusted: two users in common are chance, two hundred are not
_BLOCK_CELLS = 20_000_000  # of a block of rows: 80 MB dense, and at most 240 MB sparse before


def cosine_neighbours(common: InCommon, *, keeps: Sequence[Keep], shrinkage: float = SHRINKAGE) -> list[Incoming]:
    """What each of the keeps leaves of `x_i . x_j / (|x_i| |x_j| + shrinkage)` over the other items j.

    x_i is column i of everybody's histories, and `x_i . x_j` what two have in common, faded as `common` says. Memory:
    two copies of its matrix, blocks of at most 400 MB, and what `kept` takes.
    """
    return kept(_cosines(common, shrinkage), keeps, popularity(common.matrix))


def _cosines(common: InCommon, shrinkage: float) -> Iterator[Vectors]:
    n = common.matrix.shape[1]
    lengths = np.sqrt(np.asarray(common.matrix.power(2).sum(axis=0), dtype=np.float32).ravel())
    size = max(1, _BLOCK_CELLS // max(1, n))
    for start in range(0, n, size):
        block = slice(start, min(start + size, n))
        rows = common.rows(block)
        rows /= np.outer(lengths[block], lengths) + np.float32(shrinkage)
        rows[np.arange(rows.shape[0]), np.arange(block.start, block.stop)] = 0
        yield rows
