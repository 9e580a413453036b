"""Rewrites a fused graph so that its form in few bits has less to do: what it computes stays the same, or nearly."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from ingest.encoder.activations import Activations
from ingest.encoder.nodes import add_constant, constants_of, find_biases, makers_of, prune, readers_of

_CARRIED = 16  # columns that a product is widened by: products come in steps of 16

Array = NDArray[np.float32]


def settle_attention_biases(graph: onnx.GraphProto) -> None:
    """Take the biases of keys and values out of every attention, in place; the results stay the same.

    A key's bias adds the same to all scores of a query, which softmax takes off again. A value's bias comes out of the
    attention as it went in, as the shares add up to 1, so it goes into the bias of the product behind.
    """
    constants, biases, readers = constants_of(graph), find_biases(graph), readers_of(graph)
    for node in list(graph.node):
        if node.op_type != "Attention" or not {node.input[1], node.input[2]} <= constants.keys():
            continue
        query, _, value = np.split(numpy_helper.to_array(constants[node.input[2]]), 3)
        behind = readers[node.output[0]]
        if len(behind) != 1 or behind[0].op_type != "MatMul" or behind[0].output[0] not in biases:
            continue
        if behind[0].input[1] not in constants:
            continue
        bias, total = biases[behind[0].output[0]]
        weights = numpy_helper.to_array(constants[behind[0].input[1]])
        moved = numpy_helper.to_array(constants[bias]) + value @ weights
        _replace(next(one for one in graph.node if total in one.output), bias, add_constant(graph, f"{total}_b", moved))
        none = np.zeros_like(query)
        node.input[2] = add_constant(graph, f"{node.output[0]}_b", np.concatenate([query, none, none]))
    prune(graph)


@dataclass(frozen=True, kw_only=True)
class _Wide:
    """Two products with a Gelu between them, the second one's input wider than its result."""

    first: onnx.NodeProto
    bias: onnx.NodeProto
    second: onnx.NodeProto


def carry_over(graph: onnx.GraphProto, seen: Activations) -> Mapping[str, float]:
    """Give the few channels that are far larger than the others extra columns, for what is above a limit, in place.

    Returns the limit by the name of each input that was changed: once such an input is cut off there, its channels add
    up to what they were. `Gelu(h)` is `min(Gelu(h), limit) + Gelu(h - limit)` but for at most 0.17 within a few units
    of the limit, and few values lie there.
    """
    constants = constants_of(graph)
    limits = {}
    for wide in _wide(graph):
        name = str(wide.second.input[0])
        limit, rows, lowered = _columns(seen[name].high)
        limits[name] = limit
        first, second = (numpy_helper.to_array(constants[one.input[1]]) for one in (wide.first, wide.second))
        bias = next(one for one in wide.bias.input if one in constants)
        carried = numpy_helper.to_array(constants[bias])[rows] - lowered
        own = {
            "first": np.concatenate([first, first[:, rows]], axis=1),
            "bias": np.concatenate([numpy_helper.to_array(constants[bias]), carried]).astype(np.float32),
            "second": np.concatenate([second, second[rows]]),
        }
        names = {part: add_constant(graph, f"{name}_{part}", value) for part, value in own.items()}
        wide.first.input[1], wide.second.input[1] = names["first"], names["second"]
        _replace(wide.bias, bias, names["bias"])
    prune(graph)
    return limits


def _wide(graph: onnx.GraphProto) -> Iterator[_Wide]:
    constants, readers, made_by = constants_of(graph), readers_of(graph), makers_of(graph)
    for second in graph.node:
        if second.op_type != "MatMul" or second.input[1] not in constants or len(readers[second.input[0]]) > 1:
            continue
        k, n = constants[second.input[1]].dims
        gelu = made_by.get(second.input[0])
        if k <= n or gelu is None or gelu.op_type != "Gelu":
            continue
        bias = made_by.get(gelu.input[0])
        if bias is None or bias.op_type != "Add":
            continue
        first = next((made_by[one] for one in bias.input if one in made_by), None)
        if first is not None and first.op_type == "MatMul" and first.input[1] in constants:
            yield _Wide(first=first, bias=bias, second=second)


def _columns(high: Array) -> tuple[float, NDArray[np.int64], Array]:
    """The least limit that needs no more columns than there are: it, their channels, and what each is lowered by."""
    low, limit = 0.0, max(float(high.max()), 1e-3)
    for _ in range(40):
        middle = (low + limit) / 2
        if _needed(high, middle).sum() <= _CARRIED:
            limit = middle
        else:
            low = middle
    needed = _needed(high, limit)
    rows = np.repeat(np.arange(len(high)), needed)
    steps = np.concatenate([np.arange(1, n + 1) for n in needed[needed > 0]] or [np.zeros(0)])
    # What is not needed is filled up with columns that are never above 0.
    unused = _CARRIED - len(rows)
    return (
        limit,
        np.concatenate([rows, np.full(unused, int(high.argmin()))]),
        np.concatenate([steps * limit, np.full(unused, 100 * limit)]).astype(np.float32),
    )


def _needed(high: Array, limit: float) -> NDArray[np.int64]:
    """How many columns each channel needs for what is above the limit."""
    needed: NDArray[np.int64] = np.maximum(np.ceil(high / limit - 1e-6).astype(np.int64) - 1, 0)
    return needed


def _replace(node: onnx.NodeProto, old: str, new: str) -> None:
    node.input[list(node.input).index(old)] = new
