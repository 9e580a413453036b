"""Makes a fused graph one for a GPU: in fp16, and of the operators that are quickest there. Decision 0046."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from ingest.encoder.graph import put_pooling_back, take_off_pooling
from ingest.encoder.nodes import (
    CONTRIB,
    add_constant,
    attributes_of,
    constants_of,
    find_biases,
    make_node,
    makers_of,
    prune,
    readers_of,
    use_operators,
)
from ingest.encoder.rewrites import settle_attention_biases

Half = NDArray[np.float16]

_ATTENTION_OPSET = 24  # from here on ONNX's attention takes how many tokens of each text are its own
_MASK = "attention_mask"
_MASK_PLACE = 3  # among an attention's inputs
_KNOWN = frozenset({"num_heads", "scale", "unidirectional", "mask_filter_value"})  # attributes
_LENGTHS = "akin_lengths"
_WITH_BIAS = 3  # inputs of a normalisation that has a bias


def to_half_precision(fused: Any, tell: Callable[[str], None]) -> onnx.ModelProto:
    """The graph that onnxruntime's optimizer holds, in fp16; ids, mask and vectors stay as they are."""
    graph = fused.model.graph
    settle_attention_biases(graph)
    # A sum over many tokens needs more than sixteen bits, so pooling stays as it is.
    (dimensions,) = (one.dim_value for one in graph.output[0].type.tensor_type.shape.dim[1:])
    pooling = take_off_pooling(graph)
    constants = [one for one in graph.initializer if one.name.startswith("akin_")]
    for one in constants:
        graph.initializer.remove(one)
    fused.convert_float_to_float16(keep_io_types=True)
    model: onnx.ModelProto = fused.model
    model.graph.initializer.extend(constants)
    put_pooling_back(model.graph, pooling, dimensions)
    if not attend_by_length(model):
        tell("onnxruntime's optimizer does not know this model's attention, which is left as it is")
    join_residuals(model)
    return model


def attend_by_length(model: onnx.ModelProto) -> bool:
    """Make every attention three products and ONNX's own operator, which is told the texts' lengths, in place.

    onnxruntime's own operator, which the optimizer makes, prepares itself anew for each shape it is given. False where
    the optimizer has made none of the model's nodes.
    """
    graph, constants = model.graph, constants_of(model.graph)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "Attention" and {node.input[1], node.input[2]} <= constants.keys() and _plain(node):
            weights, bias = (numpy_helper.to_array(constants[name]) for name in node.input[1:3])
            nodes.extend(_attention(graph, node, weights, bias))
        else:
            nodes.append(node)
    if len(nodes) == len(graph.node):
        return False
    axis = add_constant(graph, f"{_LENGTHS}_axis", np.array([1], np.int64))
    lengths = make_node("ReduceSum", [_MASK, axis], _LENGTHS, keepdims=0)
    del graph.node[:]
    graph.node.extend([lengths, *nodes])
    prune(graph)
    use_operators(model, "", _ATTENTION_OPSET)
    return True


def _plain(node: onnx.NodeProto) -> bool:
    """Whether the attention has input, weights, bias and mask, and nothing that its replacement does not know of."""
    has_mask = len(node.input) > _MASK_PLACE and node.input[_MASK_PLACE] != ""
    return has_mask and not any(node.input[_MASK_PLACE + 1 :]) and attributes_of(node).keys() <= _KNOWN


def _attention(graph: onnx.GraphProto, node: onnx.NodeProto, weights: Half, bias: Half) -> Iterator[onnx.NodeProto]:
    attributes, output = attributes_of(node), node.output[0]
    names = []
    for part, columns, added in zip(
        ("queries", "keys", "values"), np.split(weights, 3, axis=1), np.split(bias, 3), strict=True
    ):
        name = f"{output}_{part}"
        own = add_constant(graph, f"{name}_weights", np.ascontiguousarray(columns))
        yield make_node("MatMul", [node.input[0], own], name)
        if added.any():
            total = f"{name}_sum"
            yield make_node("Add", [name, add_constant(graph, f"{name}_bias", added)], total)
            name = total
        names.append(name)
    heads = attributes["num_heads"]
    settings = {"scale": attributes["scale"]} if attributes.get("scale") else {}
    yield make_node(
        "Attention", [*names, "", "", "", _LENGTHS], output, q_num_heads=heads, kv_num_heads=heads,
        is_causal=attributes.get("unidirectional", 0), **settings,
    )  # fmt: skip


def join_residuals(model: onnx.ModelProto) -> None:
    """Make one node of a product's bias, the sum with what the layer was given and the normalisation, in place.

    The values are then read and written once and not three times.
    """
    graph = model.graph
    makers, readers = makers_of(graph), readers_of(graph)
    products = {total: (product, bias) for product, (bias, total) in find_biases(graph).items()}
    for position, node in enumerate(graph.node):
        if node.op_type != "LayerNormalization" or len(node.input) != _WITH_BIAS:
            continue
        added, attributes = makers.get(node.input[0]), attributes_of(node)
        if added is None or added.op_type != "Add" or len(readers[added.output[0]]) > 1:
            continue
        total = next((name for name in added.input if name in products and len(readers[name]) == 1), None)
        if total is None or attributes.get("axis", -1) != -1:
            continue
        product, bias = products[total]
        if product not in makers or makers[product].op_type != "MatMul":
            continue
        given = next(name for name in added.input if name != total)
        inputs, epsilon = [product, given, *node.input[1:], bias], attributes.get("epsilon", 1e-5)
        joined = make_node("SkipLayerNormalization", inputs, node.output[0], CONTRIB, epsilon=epsilon)
        graph.node[position].CopyFrom(joined)
    prune(graph)
    use_operators(model, CONTRIB, 1)
