"""Rounds weights to whole numbers so that what the product gives changes least, not so that each weight does.

The method is GPTQ's (Frantar et al. 2022, arXiv 2210.17323, algorithm 1): row after row is rounded, and the rows that
are left take up the error in the directions in which real inputs lie.
"""

import numpy as np
from numpy.typing import NDArray

_DAMPING = 0.01  # of the gram matrix' mean diagonal: directions that the calibration texts hardly show count a little
_ROWS = 128  # rounded before the rows behind them are updated, in one product

Weights = NDArray[np.float32]
Gram = NDArray[np.float64]


def column_scales(weights: Weights, most: int) -> NDArray[np.float32]:
    """One scale per column of `(k, n)` weights, so that the largest becomes `most`."""
    scales = np.abs(weights).max(axis=0) / most
    return np.where(scales == 0, 1.0, scales).astype(np.float32)


def round_weights(weights: Weights, scales: NDArray[np.float32], gram: Gram, most: int) -> NDArray[np.int8]:
    """`(k, n)` weights as whole numbers of their column's scale, -most to most.

    `gram` is `X.T @ X (k, k)` over inputs `X` of the product.
    """
    order = np.argsort(-np.diag(gram), kind="stable")
    factor = _inverse_factor(gram[np.ix_(order, order)])
    left = weights[order].astype(np.float32)
    rounded = np.empty(weights.shape, np.int8)
    for first in range(0, len(order), _ROWS):
        end = min(first + _ROWS, len(order))
        errors = np.empty((end - first, weights.shape[1]), np.float32)
        for row in range(first, end):
            whole = np.clip(np.round(left[row] / scales), -most, most)
            rounded[order[row]] = whole
            error = (left[row] - whole * scales) / factor[row, row]
            left[row + 1 : end] -= np.outer(factor[row, row + 1 : end], error)
            errors[row - first] = error
        left[end:] -= factor[first:end, end:].T @ errors
    return rounded


def _inverse_factor(gram: Gram) -> NDArray[np.float32]:
    """The upper Cholesky factor of the inverse, damped."""
    k = len(gram)
    damped = gram + np.eye(k) * max(_DAMPING * float(np.trace(gram)) / k, 1e-12)
    return np.linalg.cholesky(np.linalg.inv(damped)).T.astype(np.float32)
