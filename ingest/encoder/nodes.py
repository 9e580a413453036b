"""Building blocks for rewriting a graph: nodes, constants, who reads what, and taking out what nothing reads."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

CONTRIB = "com.microsoft"

Vector = NDArray[np.float32]


def make_node(kind: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> onnx.NodeProto:
    """A node of one output, which names it."""
    return helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes)


def add_constant(graph: onnx.GraphProto, name: str, value: NDArray[np.generic] | np.generic) -> str:
    """Put a constant into the graph; returns its name."""
    graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name


def constants_of(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """The graph's constants by name."""
    return {constant.name: constant for constant in graph.initializer}


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """The node's attributes by name."""
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def makers_of(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """By name: the node that gives it."""
    return {name: node for node in graph.node for name in node.output}


def readers_of(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """By name: the nodes that read it."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return readers


def find_biases(graph: onnx.GraphProto) -> dict[str, tuple[str, str]]:
    """By the output of a node that is read by one Add of a constant vector and nothing else: that constant and sum."""
    vectors = {constant.name for constant in graph.initializer if len(constant.dims) == 1}
    found = {}
    for name, nodes in readers_of(graph).items():
        if len(nodes) == 1 and nodes[0].op_type == "Add":
            other = next((one for one in nodes[0].input if one != name), "")
            if other in vectors:
                found[name] = (other, str(nodes[0].output[0]))
    return found


def use_operators(model: onnx.ModelProto, domain: str, version: int) -> None:
    """Let the model use this domain's operators as they are from that version on."""
    known = next((one for one in model.opset_import if one.domain == domain), None)
    if known is None:
        model.opset_import.append(helper.make_opsetid(domain, version))
    else:
        known.version = max(known.version, version)


def prune(graph: onnx.GraphProto) -> None:
    """Take out nodes and constants that nothing reads any more."""
    kept = list(_needed(graph))
    del graph.node[:]
    graph.node.extend(kept)
    used = {name for node in graph.node for name in node.input}
    constants = [constant for constant in graph.initializer if constant.name in used]
    del graph.initializer[:]
    graph.initializer.extend(constants)


def _needed(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    wanted = {output.name for output in graph.output}
    rows = []
    for row in range(len(graph.node) - 1, -1, -1):
        if wanted.intersection(graph.node[row].output):
            wanted.update(graph.node[row].input)
            rows.append(row)
    return (graph.node[row] for row in reversed(rows))
