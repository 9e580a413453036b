"""A BERT's constants in the memory layout that the kernels read."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.encoder.kernels.bert import Bert, Floats, Layer, Norm, Product, UnknownModelError
from ingest.encoder.kernels.library import CLayer, CModel, CNorm, CProduct

_INPUTS, _OUTPUTS = 64, 32  # products are filled up to multiples of these
_ALIGNMENT = 64  # bytes
_ROOM = 2**24  # bytes taken at a time: numpy asks for huge pages where it takes many
_HEAD = 32  # a head's dimensions come in as many


def aligned(n: int) -> NDArray[np.uint8]:
    """At least `n` bytes of new memory that start where the kernels want memory to start."""
    memory = np.empty(n + _ALIGNMENT, np.uint8)
    return memory[-memory.ctypes.data % _ALIGNMENT :]


class PackedBert:
    """Owns the memory that its `model` points to."""

    def __init__(self, bert: Bert) -> None:
        hidden = bert.words.shape[1]
        if hidden % _INPUTS or hidden % bert.heads or hidden // bert.heads % _HEAD:
            raise UnknownModelError(f"{bert.heads} heads share {hidden} dimensions")
        self.vocabulary, self.hidden, self.most_tokens = *bert.words.shape, len(bert.positions)
        self._kept: list[NDArray[Any]] = []
        self._room = np.empty(0, np.uint8)
        layers = (CLayer * len(bert.layers))()
        following = [*bert.layers[1:], None]
        for place, (layer, after) in enumerate(zip(bert.layers, following, strict=True)):
            layers[place] = self._layer(layer, after)
        self.model = CModel(
            words=self._pointer(bert.words),
            positions=self._pointer(bert.positions),
            embedded=self._norm(bert.embedded, bert.layers[0].attention[0]),
            layers=layers,
            n_layers=len(layers),
            hidden=hidden,
            heads=bert.heads,
            first_token=bert.first_token,
        )

    def _layer(self, layer: Layer, after: Layer | None) -> CLayer:
        query, key, value = layer.attention
        # The kernels take powers of two, and divide nothing.
        scores = np.float32(layer.scale * np.log2(np.e))
        return CLayer(
            attention=self._product(query, key, value, factors=(scores, np.float32(1), np.float32(1))),
            mix=self._product(layer.mix),
            widen=self._product(layer.widen),
            narrow=self._product(layer.narrow),
            mixed=self._norm(layer.mixed, layer.widen),
            narrowed=self._norm(layer.narrowed, after.attention[0] if after else None),
            mix_factor=_number(layer.mix.read.factor),
            mix_zero=layer.mix.read.zero,
            narrow_factor=_number(layer.narrow.read.factor),
            narrow_zero=layer.narrow.read.zero,
        )

    def _product(self, *parts: Product, factors: tuple[np.float32, ...] = (np.float32(1),)) -> CProduct:
        """Products of one input, side by side."""
        weights = np.concatenate([part.weights for part in parts], axis=1)
        scale = np.concatenate([part.scale * part.read.step * by for part, by in zip(parts, factors, strict=True)])
        bias = np.concatenate([part.bias * by for part, by in zip(parts, factors, strict=True)])
        # Bytes are read with their zero: what it adds to every sum is the same for all tokens.
        offset = bias - np.float64(parts[0].read.zero) * weights.sum(axis=0, dtype=np.int64) * scale
        inputs, outputs = (-(-n // step) * step for n, step in zip(weights.shape, (_INPUTS, _OUTPUTS), strict=True))
        more = (0, outputs - weights.shape[1])
        filled = np.pad(weights, ((0, inputs - weights.shape[0]), more))
        # As model.h describes it: panels, steps, halves, lines, columns, four inputs.
        panels = filled.reshape(inputs // 64, 16, 4, outputs // 32, 2, 16).transpose(3, 0, 4, 1, 5, 2)
        return CProduct(
            weights=self._pointer(panels),
            scale=self._pointer(np.pad(scale, more).astype(np.float32)),
            offset=self._pointer(np.pad(offset, more).astype(np.float32)),
            inputs=inputs,
            outputs=outputs,
        )

    def _norm(self, norm: Norm, reader: Product | None) -> CNorm:
        factor = np.broadcast_to(reader.read.factor, norm.weight.shape) if reader else None
        return CNorm(
            weight=self._pointer(norm.weight),
            bias=self._pointer(norm.bias),
            factor=None if factor is None else self._pointer(factor),
            zero=reader.read.zero if reader else 0,
            epsilon=norm.epsilon,
        )

    def _pointer(self, array: NDArray[Any]) -> int:
        """The address of an aligned copy, which is kept."""
        if array.nbytes > self._room.nbytes:
            self._room = aligned(max(_ROOM, array.nbytes))
            self._kept.append(self._room)
        copy = self._room[: array.nbytes].view(array.dtype).reshape(array.shape)
        copy[...] = array
        self._room = self._room[-(-array.nbytes // _ALIGNMENT) * _ALIGNMENT :]
        return int(copy.ctypes.data)


def _number(factor: Floats) -> float:
    """A factor that all channels share: these bytes are made where no other is known."""
    if factor.ndim:
        raise UnknownModelError("channels have factors of their own where the kernels have one")
    return float(factor)
