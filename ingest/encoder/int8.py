"""Puts products of whole numbers (int8) in the place of products with constant weights.

Ranges of inputs are constants of the graph, taken from calibration texts: a vector then does not depend on the texts
beside it, and no pass over the data looks for them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from ingest.encoder.activations import Activation, Activations, Channels
from ingest.encoder.gptq import column_scales, round_weights
from ingest.encoder.matmuls import Product, find_products
from ingest.encoder.nodes import (
    CONTRIB,
    add_constant,
    attributes_of,
    constants_of,
    find_biases,
    make_node,
    prune,
    readers_of,
    use_operators,
)

_ATTENTION_OPSET = 23  # from here on attention is an operator of ONNX itself

Weights = NDArray[np.float32]


def to_int8(
    model: onnx.ModelProto, seen: Activations, *, most: int, even_attention: bool = True, tell: Callable[[str], None]
) -> None:
    """Rewrite every product, in place: inputs as uint8, weights as int8 of -most to most, results in fp32.

    Without `even_attention` the channels of what an attention reads are not evened out, which saves a pass over them.
    """
    graph = model.graph
    products = {product.node.output[0]: product for product in find_products(graph)}
    biases = find_biases(graph)
    divided = _divided_by_attention(graph, seen)
    added = {biases[output][1] for output in products if output in biases}
    quantized: dict[str, _Quantized] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        product = products.get(node.output[0])
        if product is None:
            if node.output[0] not in added:
                nodes.append(node)
            continue
        tell(f"rounding the weights of product {len(quantized) + 1}")
        if product.input not in quantized:
            already = divided.get(product.input)
            if node.op_type == "Attention" and not even_attention:
                already = np.ones(len(product.weights), np.float32)
            quantized[product.input] = _quantized(graph, product, seen[product.input], already)
            nodes.extend(quantized[product.input].nodes)
        given = quantized[product.input]
        if node.op_type == "Attention":
            nodes.extend(_attention(graph, product, given, divided.get(node.output[0]), most))
            use_operators(model, "", _ATTENTION_OPSET)
        else:
            constant, output = biases.get(node.output[0], ("", str(node.output[0])))
            nodes.append(_whole(graph, _rounded(product.weights, given, most), given, constant, output))
    del graph.node[:]
    graph.node.extend(nodes)
    prune(graph)
    use_operators(model, CONTRIB, 1)


def _divided_by_attention(graph: onnx.GraphProto, seen: Activations) -> Mapping[str, Channels]:
    """By name: what an attention's result is divided by, where one product reads it; its values' weights do that."""
    readers = readers_of(graph)
    found = (str(node.output[0]) for node in graph.node if node.op_type == "Attention")
    return {name: seen[name].smoothing(wide=False) for name in found if name in seen and len(readers[name]) == 1}


@dataclass(frozen=True, kw_only=True)
class _Quantized:
    """An activation as uint8: the names of its value, scale and zero, and what weights make up for."""

    value: str
    scale: str
    zero: str
    divided_by: Channels
    seen: Activation
    nodes: Sequence[onnx.NodeProto]


def _quantized(graph: onnx.GraphProto, product: Product, seen: Activation, already: Channels | None) -> _Quantized:
    """The nodes that make it; `already` is what its channels come divided by, None where that is still to do."""
    name, (k, n) = product.input, product.weights.shape
    divided_by = seen.smoothing(wide=k > n) if already is None else already
    low, high = seen.span(divided_by)
    step = max((high - low) / 255, 1e-9)
    scale = add_constant(graph, f"{name}_scale", np.float32(step))
    zero = add_constant(graph, f"{name}_zero", np.uint8(np.clip(round(-low / step), 0, 255)))
    even, value = f"{name}_even", f"{name}_uint8"
    nodes = []
    if already is None and (divided_by != 1).any():
        nodes.append(make_node("Mul", [name, add_constant(graph, f"{name}_factor", 1 / divided_by)], even))
    nodes.append(make_node("QuantizeLinear", [even if nodes else name, scale, zero], value))
    return _Quantized(value=value, scale=scale, zero=zero, divided_by=divided_by, seen=seen, nodes=nodes)


@dataclass(frozen=True, kw_only=True)
class _Rounded:
    """Weights `(k, n)` as whole numbers, and a scale for each column."""

    whole: NDArray[np.int8]
    scales: NDArray[np.float32]

    def part(self, first: int, end: int) -> "_Rounded":
        """Some of the columns."""
        return _Rounded(whole=np.ascontiguousarray(self.whole[:, first:end]), scales=self.scales[first:end])


def _rounded(weights: Weights, given: _Quantized, most: int) -> _Rounded:
    made_up = weights * given.divided_by[:, None]
    gram = given.seen.gram / np.outer(given.divided_by, given.divided_by)
    scales = column_scales(made_up, most)
    return _Rounded(whole=round_weights(made_up, scales, gram, most), scales=scales)


def _whole(graph: onnx.GraphProto, rounded: _Rounded, given: _Quantized, bias: str, output: str) -> onnx.NodeProto:
    """The product as one node; `bias` names a constant, or nothing."""
    own = f"{output}_weights"
    names = [add_constant(graph, own, rounded.whole), add_constant(graph, f"{own}_scale", rounded.scales)]
    inputs = [given.value, names[0], given.scale, names[1], given.zero]
    return make_node("MatMulIntegerToFloat", [*inputs, *(["", bias] if bias else [])], output, CONTRIB)


def _attention(
    graph: onnx.GraphProto, product: Product, given: _Quantized, divided_by: Channels | None, most: int
) -> list[onnx.NodeProto]:
    """Queries, keys and values as a product each, and the attention over them in fp32.

    Not QAttention: it reads its input anew for each head. No mask: texts of one call have one length.
    """
    output, attributes = str(product.node.output[0]), attributes_of(product.node)
    bias = numpy_helper.to_array(constants_of(graph)[product.node.input[2]])
    width = product.weights.shape[1] // 3
    divisors = np.ones_like(bias)
    if divided_by is not None:
        divisors[2 * width :] = divided_by
    rounded, bias = _rounded(product.weights / divisors, given, most), bias / divisors
    nodes, names = [], []
    for part, first in zip(("query", "key", "value"), range(0, 3 * width, width), strict=True):
        name, own = f"{output}_{part}", bias[first : first + width]
        constant = add_constant(graph, f"{name}_bias", own) if own.any() else ""
        nodes.append(_whole(graph, rounded.part(first, first + width), given, constant, name))
        names.append(name)
    settings = {"q_num_heads": attributes["num_heads"], "kv_num_heads": attributes["num_heads"]}
    if attributes.get("scale"):
        settings["scale"] = attributes["scale"]
    return [*nodes, make_node("Attention", names, output, is_causal=attributes.get("unidirectional", 0), **settings)]
