"""Finds the products with constant weights in a fused graph, and puts products of whole numbers in their place.

Ranges of inputs are constants of the graph, taken from calibration texts: a vector then does not depend on the texts
beside it, and no pass over the data looks for them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from ingest.encoder.activations import Activation, Activations, Channels
from ingest.encoder.rounding import column_scales, round_weights

_CONTRIB = "com.microsoft"
_ATTENTION = ("num_heads", "mask_filter_value", "scale", "unidirectional")  # attributes that QAttention has too


@dataclass(frozen=True, kw_only=True)
class Product:
    """A MatMul, or the merged query, key and value product inside an Attention, with weights `(k, n)`."""

    node: onnx.NodeProto
    weights: NDArray[np.float32]

    @property
    def input(self) -> str:
        """The activation it reads."""
        return str(self.node.input[0])


def find_products(graph: onnx.GraphProto) -> list[Product]:
    """All products of the graph that have constant weights, in order."""
    constants = {constant.name: constant for constant in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type in {"MatMul", "Attention"} and node.input[1] in constants:
            weights = numpy_helper.to_array(constants[node.input[1]])
            # The projection of the finished vector is one row a text: nothing to win there, and much to lose.
            if weights.ndim == 2 and node.name != "akin_projected":  # noqa: PLR2004 - rows and columns
                found.append(Product(node=node, weights=weights.astype(np.float32)))
    return found


def to_whole_numbers(
    model: onnx.ModelProto, seen: Activations, *, most: int, token_ranges: bool, tell: Callable[[str], None]
) -> None:
    """Rewrite every product, in place: inputs as uint8, weights as int8 of -most to most, results in fp32.

    With `token_ranges`, inputs wider than the result get a range for each token, which costs passes over them: there,
    a few tokens are far larger than the others.
    """
    graph = model.graph
    products = {product.node.output[0]: product for product in find_products(graph)}
    biases = _biases(graph)
    quantized: dict[str, _Quantized] = {}
    nodes: list[onnx.NodeProto] = []
    dropped = {biases[output][1] for output in products if output in biases}
    for node in graph.node:
        product = products.get(node.output[0])
        if product is None:
            if node.output[0] not in dropped:
                nodes.append(node)
            continue
        tell(f"rounding the weights of product {len(quantized) + 1}")
        if product.input not in quantized:
            k, n = product.weights.shape
            divided_by = seen[product.input].smoothing(wide=k > n)
            make = _token_by_token if token_ranges and k > n else _quantized
            quantized[product.input] = make(graph, product.input, seen[product.input], divided_by)
            nodes.extend(quantized[product.input].nodes)
        nodes.extend(_whole(graph, product, quantized[product.input], biases.get(node.output[0]), most))
    del graph.node[:]
    graph.node.extend(nodes)
    _prune(graph)
    _add_contrib(model)


def to_blocks(model: onnx.ModelProto, size: int) -> None:
    """Store the weights of every product, in place, as uint8 with a scale and a zero for each `size` of a column.

    Inputs and results stay fp32. Weights whose rows do not fill blocks stay as they are.
    """
    graph = model.graph
    for product in find_products(graph):
        k, n = product.weights.shape
        if k % size:
            continue
        blocks = product.weights.T.reshape(n, k // size, size)
        low, high = np.minimum(blocks.min(axis=2), 0), np.maximum(blocks.max(axis=2), 0)
        scales = np.maximum((high - low) / 255, 1e-12).astype(np.float32)
        zeros = np.clip(np.round(-low / scales), 0, 255).astype(np.uint8)
        whole = np.clip(np.round(blocks / scales[..., None]) + zeros[..., None], 0, 255).astype(np.uint8)
        own = f"{product.node.output[0]}_blocks"
        names = [
            _constant(graph, own, whole),
            _constant(graph, f"{own}_scale", scales.reshape(n, -1)),
            _constant(graph, f"{own}_zero", zeros.reshape(n, -1)),
        ]
        attributes = {"K": k, "N": n, "bits": 8, "block_size": size, "accuracy_level": 0}
        product.node.CopyFrom(
            helper.make_node(
                "MatMulNBits", [product.input, *names], list(product.node.output), own, domain=_CONTRIB, **attributes
            )
        )
    _prune(graph)
    _add_contrib(model)


@dataclass(frozen=True, kw_only=True)
class _Quantized:
    """An activation as uint8: the names of its value, scale and zero, and what weights make up for."""

    value: str
    scale: str
    zero: str
    divided_by: Channels
    seen: Activation
    nodes: Sequence[onnx.NodeProto]
    moved_by: float = 0.0  # what was taken off every value before
    token_scale: str = ""  # where each token has a range of its own: what its results are multiplied by


def _quantized(graph: onnx.GraphProto, name: str, seen: Activation, divided_by: Channels) -> _Quantized:
    low, high = seen.span(divided_by)
    step = max((high - low) / 255, 1e-9)
    scale = _constant(graph, f"{name}_scale", np.float32(step))
    zero = _constant(graph, f"{name}_zero", np.uint8(np.clip(round(-low / step), 0, 255)))
    even, value = f"{name}_even", f"{name}_uint8"
    nodes = [
        _node("Mul", [name, _constant(graph, f"{name}_factor", 1 / divided_by)], even),
        _node("QuantizeLinear", [even, scale, zero], value),
    ]
    return _Quantized(value=value, scale=scale, zero=zero, divided_by=divided_by, seen=seen, nodes=nodes)


def _token_by_token(graph: onnx.GraphProto, name: str, seen: Activation, divided_by: Channels) -> _Quantized:
    low, _ = seen.span(divided_by)
    scale = _constant(graph, f"{name}_scale", np.float32(1 / 255))
    zero = _constant(graph, f"{name}_zero", np.uint8(0))
    even, moved, largest, share = (f"{name}_{part}" for part in ("even", "moved", "largest", "share"))
    size, value = f"{name}_size", f"{name}_uint8"
    nodes = [
        _node("Mul", [name, _constant(graph, f"{name}_factor", 1 / divided_by)], even),
        _node("Sub", [even, _constant(graph, f"{name}_low", np.float32(low))], moved),
        _node("ReduceMax", [moved, _constant(graph, f"{name}_axis", np.array([-1], np.int64))], largest, keepdims=1),
        _node("Max", [largest, _constant(graph, f"{name}_least", np.float32(1e-9))], size),
        _node("Div", [moved, size], share),
        _node("QuantizeLinear", [share, scale, zero], value),
    ]
    return _Quantized(
        value=value,
        scale=scale,
        zero=zero,
        divided_by=divided_by,
        seen=seen,
        nodes=nodes,
        moved_by=low,
        token_scale=size,
    )


def _whole(
    graph: onnx.GraphProto, product: Product, given: _Quantized, bias: tuple[str, str] | None, most: int
) -> list[onnx.NodeProto]:
    node = product.node
    weights = product.weights * given.divided_by[:, None]
    gram = given.seen.gram / np.outer(given.divided_by, given.divided_by)
    scales = column_scales(weights, most)
    rounded = round_weights(weights, scales, gram, most)
    own = f"{node.output[0]}_weights"
    names = [
        _constant(graph, own, rounded),
        _constant(graph, f"{own}_scale", scales),
        _constant(graph, f"{own}_zero", np.zeros(len(scales), np.int8)),
    ]
    if node.op_type == "Attention":
        # No mask: texts of one call have one length.
        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute if one.name in _ATTENTION}
        inputs = [given.value, names[0], node.input[2], given.scale, names[1], "", given.zero, names[2]]
        return [_node("QAttention", inputs, str(node.output[0]), _CONTRIB, **attributes)]
    inputs = [given.value, names[0], given.scale, names[1], given.zero, names[2]]
    constant, output = bias or ("", str(node.output[0]))
    if not given.token_scale:
        return [_node("MatMulIntegerToFloat", [*inputs, *([constant] if constant else [])], output, _CONTRIB)]
    # What was taken off every input comes back as a constant of every column.
    back = given.moved_by * (rounded * scales).sum(axis=0, dtype=np.float64)
    if constant:
        back = back + numpy_helper.to_array(next(one for one in graph.initializer if one.name == constant))
    raw, sized = f"{own}_raw", f"{own}_sized"
    return [
        _node("MatMulIntegerToFloat", inputs, raw, _CONTRIB),
        _node("Mul", [raw, given.token_scale], sized),
        _node("Add", [sized, _constant(graph, f"{own}_bias", back.astype(np.float32))], output),
    ]


def _node(kind: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes)


def _constant(graph: onnx.GraphProto, name: str, value: NDArray[np.generic] | np.generic) -> str:
    graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name


def _biases(graph: onnx.GraphProto) -> dict[str, tuple[str, str]]:
    """By the output of a node that is read by one Add of a constant vector and nothing else: that constant and sum."""
    vectors = {constant.name for constant in graph.initializer if len(constant.dims) == 1}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = {}
    for name, nodes in readers.items():
        if len(nodes) == 1 and nodes[0].op_type == "Add":
            other = next((one for one in nodes[0].input if one != name), "")
            if other in vectors:
                found[name] = (other, str(nodes[0].output[0]))
    return found


def _add_contrib(model: onnx.ModelProto) -> None:
    if all(one.domain != _CONTRIB for one in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_CONTRIB, 1))


def _prune(graph: onnx.GraphProto) -> None:
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
