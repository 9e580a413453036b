"""EASE, the linear item-item model in closed form, with text joined to what users have in common.

`B = I - P / diag(P)`, `P = (G + L)^-1`, L diagonal (Steck, Embarrassingly Shallow Autoencoders, WWW 2019). Here
`G = X'X + gamma T T'` with unit text vectors T, centred on their mean, so that an item with few or no events gets the
weights of items that read alike. The ridge grows with an item's popularity, as it does where training leaves entries
out at random (Steck, Autoencoders that don't overfit towards the identity, NeurIPS 2020), but more slowly: see
docs/decisions/0028.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from ingest.encoder.protocol import Vectors
from ingest.taste.in_common import InCommon
from ingest.taste.interactions import Matrix, popularity
from ingest.taste.keeping import Incoming, Keep, kept

_BLOCK = 512  # rows at a time: 41 MB of float32 at 20,000 items


def ease(
    common: InCommon, text: Vectors, *, ridge: float, ridge_growth: float, text_share: float, keeps: Sequence[Keep]
) -> list[Incoming]:
    """What each of the keeps leaves of the weights that point at an item, itself left out.

    `common` are n items of m users, `text` `(n, d) float32` with zero rows where there is no vector. The ridge of an
    item is `ridge * m * (1 + c / m) ^ ridge_growth` with c the squared length of its column, and gamma is
    `text_share * m`; m is the mean c of the columns that have entries, so that the same settings fit sparse and dense
    catalogues. Memory: `4 n^2` bytes, or, where users are few and nothing fades, three times `4 (m + d) n`.
    """
    matrix = common.matrix
    popular = popularity(matrix)
    ridges = ridge * popular.mean * (1.0 + popular.relative) ** ridge_growth
    gamma = text_share * popular.mean
    rows = matrix.shape[0] + text.shape[1]
    few = 2 * rows <= matrix.shape[1] and not common.fading
    weights = _by_users(matrix, text, ridges, gamma) if few else _by_items(common, text, ridges, gamma)
    return kept(weights, keeps, popular)


def _by_users(matrix: Matrix, text: Vectors, ridges: NDArray[np.float64], gamma: float) -> Iterator[Vectors]:
    """The same by Woodbury's identity: what is inverted is as large as users and text dimensions, not as items.

    With `A = [X; sqrt(gamma) T'] L^-1/2`: `P = L^-1/2 (I - A' W) L^-1/2`, `W = (A A' + I)^-1 A`.
    """
    roots = np.sqrt(ridges).astype(np.float32)
    a = np.vstack([matrix.toarray(), np.float32(np.sqrt(gamma)) * text.T])
    a /= roots
    gram = (a @ a.T).astype(np.float64)
    gram[np.diag_indices_from(gram)] += 1.0
    factor = linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    w = np.empty_like(a)
    for block in _blocks(a.shape[1]):
        w[:, block] = linalg.cho_solve(factor, a[:, block].astype(np.float64), check_finite=False)
    diagonal = 1.0 - np.einsum("mi,mi->i", a, w)
    for block in _blocks(a.shape[1]):
        weights = (a[:, block].T @ w) * (roots[block] / diagonal[block])[:, np.newaxis] / roots
        yield _without_itself(weights, block.start)


def _by_items(common: InCommon, text: Vectors, ridges: NDArray[np.float64], gamma: float) -> Iterator[Vectors]:
    inverse = _inverse(_gram(common, text, gamma), ridges)
    diagonal = np.diag(inverse).copy()
    for block in _blocks(inverse.shape[0]):
        yield _without_itself(-inverse[block] / diagonal[block, np.newaxis], block.start)


def _gram(common: InCommon, text: Vectors, gamma: float) -> Vectors:
    n = common.matrix.shape[1]
    gram = np.empty((n, n), dtype=np.float32, order="F")
    for block in _blocks(n):
        # Symmetric, so a block of rows is written as columns, which is how LAPACK wants them to lie.
        gram[:, block] = common.rows(block).T + gamma * (text @ text[block].T)
    return gram


def _inverse(gram: Vectors, ridges: NDArray[np.float64]) -> Vectors:
    """`(gram + L)^-1` with the ridges on the diagonal of L, in the memory of `gram`."""
    gram[np.diag_indices_from(gram)] += ridges.astype(np.float32)
    factor, _ = linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    inverse, _ = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    for block in _blocks(inverse.shape[0]):  # LAPACK fills one triangle only
        square = np.tril(inverse[block, block])
        inverse[block, block] = square + np.tril(square, -1).T
        inverse[block, block.stop :] = inverse[block.stop :, block].T
    result: Vectors = inverse
    return result


def _without_itself(weights: NDArray[np.float32], first: int) -> Vectors:
    rows = np.arange(weights.shape[0])
    weights[rows, first + rows] = 0
    return weights


def _blocks(n: int) -> list[slice]:
    return [slice(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK)]
