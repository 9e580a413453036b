"""Whether the order of histories without times can be that in which things happened, or is only that of a file."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

HISTORIES = 10_000  # are enough to tell
_COMMON = 200  # items: of these alone two are met by many
_ALWAYS = 0.9  # in true orders it was 0.55 to 0.75


def agreement(histories: Iterable[NDArray[np.integer]], items: int) -> float:
    """How often two users who met the same two items met them in the same order, among the commonest items.

    `histories` are columns below `items` in their order, for each user. 0.5 is what chance gives, 1 what a file gives
    that is sorted by item; 0 where no two users have two items in common.
    """
    distinct = [np.array(list(dict.fromkeys(history.tolist())), np.int64) for history in histories]
    counts = np.bincount(np.concatenate([*distinct, np.empty(0, np.int64)]), minlength=items)
    common = np.argsort(-counts, kind="stable")[:_COMMON]
    place = np.full(items, -1)
    place[common] = np.arange(len(common))
    before = np.zeros((len(common), len(common)))
    for history in distinct:
        known = place[history]
        known = known[known >= 0]
        for n, first in enumerate(known[:-1]):
            before[first, known[n + 1 :]] += 1
    one, other = before[np.triu_indices(len(common), 1)], before.T[np.triu_indices(len(common), 1)]
    both = one + other
    pairs = float(np.sum(both * (both - 1)))
    return float(np.sum(one * (one - 1) + other * (other - 1))) / pairs if pairs else 0.0


def is_of_the_file(histories: Iterable[NDArray[np.integer]], items: int) -> bool:
    """Whether all histories are in one order of the items, as in a file that is sorted by them."""
    return agreement(histories, items) > _ALWAYS
