"""A quantized BERT, as the kernels run it: what its constants are, and that they fit together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class UnknownModelError(ValueError):
    """The graph is not one that the kernels know; the sentence names what they stumbled over."""


@dataclass(frozen=True, kw_only=True)
class Bytes:
    """Floats as bytes: `round(x * factor) + zero`, cut off at 0 and 255; a step is what a byte stands for."""

    made_by: str  # a name in the graph
    factor: Floats  # () or (n,)
    step: float
    zero: int


@dataclass(frozen=True, kw_only=True)
class Product:
    """`(bytes - zero) @ weights * step * scale + bias`."""

    weights: NDArray[np.int8]  # (inputs, outputs)
    scale: Floats  # (outputs,)
    bias: Floats
    read: Bytes


@dataclass(frozen=True, kw_only=True)
class Norm:
    """Layer normalisation."""

    weight: Floats
    bias: Floats
    epsilon: float


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Products and normalisations in the order in which a token goes through them."""

    attention: tuple[Product, Product, Product]  # queries, keys, values
    scale: float  # what scores are multiplied by
    mix: Product
    mixed: Norm
    widen: Product
    narrow: Product
    narrowed: Norm


@dataclass(frozen=True, kw_only=True)
class Bert:
    """A whole model."""

    words: Floats  # (vocabulary, hidden)
    positions: Floats  # (tokens, hidden), the first token type added
    embedded: Norm
    layers: Sequence[Layer]
    heads: int
    first_token: bool  # whether that token's row is the vector; otherwise it is the mean of all
    directions: Floats | None  # (hidden, d): unit vectors are projected onto them, and normalised anew


def check_sizes(bert: Bert) -> None:
    """Raise UnknownModelError unless every constant is as large as its neighbours want it, as C does not look."""
    hidden, inner = bert.words.shape[1], bert.layers[0].widen.weights.shape[1]
    wanted: list[tuple[NDArray[Any], tuple[int, ...]]] = [(bert.positions, (len(bert.positions), hidden))]
    norms = [bert.embedded]
    for layer in bert.layers:
        square = [*layer.attention, layer.mix]
        sizes = [*((product, hidden, hidden) for product in square), (layer.widen, hidden, inner)]
        for product, inputs, outputs in [*sizes, (layer.narrow, inner, hidden)]:
            wanted += [(product.weights, (inputs, outputs)), (product.scale, (outputs,)), (product.bias, (outputs,))]
            factor = product.read.factor
            if factor.ndim:
                wanted.append((factor, (inputs,)))
        norms += [layer.mixed, layer.narrowed]
        if len({product.read.made_by for product in layer.attention}) > 1:
            raise UnknownModelError("queries, keys and values read different bytes")
    wanted += [(array, (hidden,)) for norm in norms for array in (norm.weight, norm.bias)]
    if bert.directions is not None:
        wanted.append((bert.directions, (hidden, bert.directions.shape[1])))
    for array, shape in wanted:
        if array.shape != shape:
            raise UnknownModelError(f"a constant of the shape {array.shape}, not {shape}")
