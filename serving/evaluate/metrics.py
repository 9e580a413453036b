"""Measures of ranked lists, in numpy alone. `hits` is `(users, k) bool`: whether the item at each place is relevant."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

RESAMPLES = 1_000
EMPTY = -1  # a place of a list that holds no item


def ndcg(hits: Bools, relevant: Integers) -> Floats:
    """Normalised discounted gain (nDCG) of each list with gains of 0 and 1: `(users,)`, 0 where nothing is relevant.

    `sum(hit / log2(place + 1))` over the same of a list that begins with everything relevant, places from 1
    (Järvelin and Kekäläinen 2002). `relevant` counts each user's relevant items.
    """
    discounts = 1 / np.log2(np.arange(hits.shape[1]) + 2)
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(relevant, hits.shape[1])]
    return _ratio(hits @ discounts, ideal)


def recall(hits: Bools, relevant: Integers) -> Floats:
    """The share of each user's relevant items that is in the list: `(users,)`, 0 where nothing is relevant."""
    return _ratio(hits.sum(axis=1), relevant)


def reciprocal_rank(hits: Bools) -> Floats:
    """One over the place of the first relevant item, places from 1; 0 where there is none: `(users,)`."""
    if hits.shape[1] == 0:
        return np.zeros(len(hits))
    return np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0.0)


def coverage(lists: Integers, items: int) -> float:
    """The share of `items` items that stands in at least one list; `lists` holds places in the catalogue."""
    return len(np.unique(lists[lists != EMPTY])) / items if items else 0.0


def novelty(lists: Integers, share: Floats) -> Floats:
    """The mean of `-log2(share)` over each list, in bits: `(users,)`, NaN for an empty list (Zhou et al. 2010).

    `share`: by item, the share of users who had an event with it in training, above 0.
    """
    filled = lists != EMPTY
    surprise = np.where(filled, -np.log2(share)[lists], 0.0)
    return _ratio(surprise.sum(axis=1), filled.sum(axis=1), empty=np.nan)


def diversity(vectors: Sequence[NDArray[np.float32]]) -> float:
    """One less the mean cosine of all pairs of unit vectors; NaN for fewer than two (Ziegler et al. 2005)."""
    n = len(vectors)
    if n < 2:  # noqa: PLR2004 - a pair
        return float("nan")
    length = float(np.linalg.norm(np.sum(np.stack(vectors), axis=0, dtype=np.float64)))
    return 1 - (length**2 - n) / (n * (n - 1))


def bootstrap(values: Floats, *, seed: int, resamples: int = RESAMPLES) -> tuple[Floats, Floats]:
    """Percentile bootstrap over users (Efron 1979): the bounds of the 95 % interval of each column's mean.

    `values` is `(users, measures)`; NaN takes no part. Equal seeds and user counts draw the same users, so the
    intervals of two strategies are about the same samples.
    """
    users = len(values)
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, values.shape[1]))
    for row in means:
        times = rng.multinomial(users, np.full(users, 1 / users)).astype(np.float64)
        row[:] = _ratio(times @ filled, times @ known, empty=np.nan)
    low, high = np.nanpercentile(means, [2.5, 97.5], axis=0)
    return low, high


def _ratio(over: NDArray[np.float64], under: NDArray[np.generic], *, empty: float = 0.0) -> Floats:
    result = np.full(np.shape(over), empty, dtype=np.float64)
    divisor = np.asarray(under, dtype=np.float64)
    np.divide(over, divisor, out=result, where=divisor > 0)
    return result
