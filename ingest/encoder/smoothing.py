"""Moves size from activations into weights before quantization; the graph computes the same as before.

Activations are quantized while the model runs, over one range per tensor, so a few channels with large values cost all
others their precision. Dividing each channel by a scale and multiplying the weights' rows by it evens them out. The
idea is SmoothQuant's (Xiao et al., arXiv 2211.10438, equation 3); here the activations alone decide the scale.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_EXPONENT = 0.5  # share of a channel's size that moves; docs/decisions/0003 has the sweep


def weighted_inputs(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """MatMul nodes with constant weights, by the activation they read."""
    constants = {constant.name for constant in graph.initializer}
    nodes: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in constants:
            nodes.setdefault(node.input[0], []).append(node)
    return nodes


def smooth(model: onnx.ModelProto, sizes: Mapping[str, NDArray[np.float32]]) -> None:
    """Even out the channels of every MatMul input, in place; `sizes` are their largest magnitudes by input name."""
    graph = model.graph
    for name, nodes in weighted_inputs(graph).items():
        scale = sizes[name] ** _EXPONENT
        scale /= np.exp(np.log(scale).mean())
        _unscale_input(graph, name, nodes, scale)
        _scale_weights(graph, name, nodes, scale)
    _drop_unused_constants(graph)


def _unscale_input(graph: onnx.GraphProto, name: str, nodes: list[onnx.NodeProto], scale: NDArray[np.float32]) -> None:
    graph.initializer.append(numpy_helper.from_array(1 / scale, f"{name}_factor"))
    names = {node.name for node in nodes}
    position = min(row for row, node in enumerate(graph.node) if node.name in names)
    divide = helper.make_node("Mul", [name, f"{name}_factor"], [f"{name}_smooth"], name=f"{name}_smooth")
    graph.node.insert(position, divide)


def _scale_weights(graph: onnx.GraphProto, name: str, nodes: list[onnx.NodeProto], scale: NDArray[np.float32]) -> None:
    weights = {constant.name: constant for constant in graph.initializer}
    for number, node in enumerate(nodes):
        # A copy of its own for every node: layers may share their weights, which must not be scaled twice.
        own = f"{name}_weights_{number}"
        rows = numpy_helper.to_array(weights[node.input[1]]) * scale[:, None]
        graph.initializer.append(numpy_helper.from_array(rows, own))
        node.input[0], node.input[1] = f"{name}_smooth", own


def _drop_unused_constants(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [constant for constant in graph.initializer if constant.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
