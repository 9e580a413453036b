"""What goes into a model's products, seen on ordinary texts: the sizes that scales and ranges are taken from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_SMALLEST = 1e-3  # a channel that was never seen active is scaled as if it had been this large
_EXPONENT = 0.6  # share of a channel's size that moves into the weights; docs/decisions/0010 has the sweep
_WIDE_EXPONENT = 0.45  # the same where the input is wider than the result

_TOKENS = 2_048  # whose products are made together: a sum of large matrices for every text would take minutes

Channels = NDArray[np.float32]


@dataclass(kw_only=True)
class Activation:
    """One input of one or more products, `k` channels wide, over all tokens seen."""

    low: Channels
    high: Channels
    sums: NDArray[np.float64]  # X.T @ X of what is not waiting
    limit: float | None = None  # where values are cut off
    waiting: list[NDArray[np.float32]] = field(default_factory=list)

    @classmethod
    def unseen(cls, k: int, limit: float | None = None) -> "Activation":
        """Nothing seen yet of `k` channels, whose values will be cut off at `limit`."""
        return cls(low=np.zeros(k, np.float32), high=np.zeros(k, np.float32), sums=np.zeros((k, k)), limit=limit)

    def add(self, values: NDArray[np.float32]) -> None:
        """Take in `(tokens, k)` values."""
        if self.limit is not None:
            values = np.minimum(values, np.float32(self.limit))
        self.low = np.minimum(self.low, values.min(axis=0))
        self.high = np.maximum(self.high, values.max(axis=0))
        self.waiting.append(values)
        if sum(map(len, self.waiting)) >= _TOKENS:
            self._sum_up()

    @property
    def gram(self) -> NDArray[np.float64]:
        """`X.T @ X (k, k)` over all tokens seen."""
        self._sum_up()
        return self.sums

    def _sum_up(self) -> None:
        if self.waiting:
            values = np.concatenate(self.waiting)
            self.sums += values.T @ values
            self.waiting.clear()

    def smoothing(self, *, wide: bool) -> Channels:
        """What each channel is divided by, with a geometric mean of 1; `wide` for inputs wider than the result.

        A few channels with large values cost all others their precision; moving part of their size into the weights
        evens them out (the idea is SmoothQuant's, Xiao et al., arXiv 2211.10438; here activations alone decide).
        """
        if self.limit is not None:  # its large channels have been taken apart
            return np.ones_like(self.high)
        sizes = np.maximum(np.maximum(self.high, -self.low), _SMALLEST) ** (_WIDE_EXPONENT if wide else _EXPONENT)
        scale: Channels = (sizes / np.exp(np.log(sizes).mean())).astype(np.float32)
        return scale

    def span(self, divided_by: Channels) -> tuple[float, float]:
        """The range that eight bits must hold once every channel is divided; 0 is in it."""
        return min(0.0, float((self.low / divided_by).min())), max(0.0, float((self.high / divided_by).max()))


Activations = Mapping[str, Activation]
