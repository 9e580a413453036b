"""Item-item cosine with shrinkage, for catalogues too large to invert a matrix over: sparse algebra only."""

from collections.abc import Iterator, Sequence

import numpy as np

from ingest.taste.in_common import InCommon
from ingest.taste.interactions import Matrix, popularity
from ingest.taste.keeping import Incoming, Keep, kept

SHRINKAGE = 10.0  # so much shared weight is distrusted: two users in common are chance, two hundred are not


def cosine_neighbours(common: InCommon, *, keeps: Sequence[Keep], shrinkage: float = SHRINKAGE) -> list[Incoming]:
    """What each of the keeps leaves of `x_i . x_j / (|x_i| |x_j| + shrinkage)` over the other items j.

    x_i is column i of everybody's histories, and `x_i . x_j` what two have in common, faded as `common` says. Time
    grows with the pairs of items that users met. Memory: two copies of its matrix, blocks of some 100 MB, and what
    `kept` takes.
    """
    return kept(_cosines(common, shrinkage), keeps, popularity(common.matrix))


def _cosines(common: InCommon, shrinkage: float) -> Iterator[Matrix]:
    lengths = np.sqrt(np.asarray(common.matrix.power(2).sum(axis=0), dtype=np.float32).ravel())
    for block in common.blocks():
        rows = common.sparse_rows(block)
        own = np.repeat(np.arange(block.start, block.stop), np.diff(rows.indptr))
        rows.data /= lengths[own] * lengths[rows.indices] + np.float32(shrinkage)
        rows.data[own == rows.indices] = 0
        yield rows
