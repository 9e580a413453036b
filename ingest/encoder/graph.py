"""Puts pooling and normalisation into an exported graph: one call of the model turns ids into unit vectors."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ingest.encoder.artifact import Pooling

POOLED = "akin_pooled"  # what is made of the tokens of a text
OPSET = 18  # ReduceSum and ReduceL2 take their axes as an input from here on


def add_pooling(path: Path, pooling: Pooling, dimensions: int) -> None:
    """Rewrite the graph at `path`: `input_ids` and `attention_mask` in, `vector` (n, dimensions) of unit length out.

    Mean pooling counts the tokens of the attention mask; the token types, where a model wants them, are zeros.
    """
    model = onnx.load(path)
    graph = model.graph
    hidden = graph.output[0].name
    _fix_token_types(graph)
    constants = {
        "akin_tokens_axis": np.array([1], np.int64),
        "akin_last_axis": np.array([2], np.int64),
        "akin_tiny": np.array(1e-12, np.float32),
    }
    if pooling == "cls":
        constants = {"akin_first": np.array(0, np.int64), **constants}
        del constants["akin_last_axis"]
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    graph.node.extend(_mean_nodes(hidden) if pooling == "mean" else _cls_nodes(hidden))
    graph.node.extend(_normalise_nodes())
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["n", dimensions]))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _fix_token_types(graph: onnx.GraphProto) -> None:
    for given in graph.input:
        if given.name == "token_type_ids":
            graph.input.remove(given)
            graph.node.insert(0, helper.make_node("Sub", ["input_ids", "input_ids"], ["token_type_ids"]))
            return


def add_projection(path: Path, directions: NDArray[np.float32]) -> None:
    """Project the graph's unit vectors onto `directions (dimensions, d)` normalised; `vector` becomes (n, d)."""
    model = onnx.load(path)
    graph = model.graph
    for node in graph.node:
        if "vector" in node.output:
            node.name = "akin_whole"
            node.output[:] = ["akin_whole"]
    graph.initializer.append(numpy_helper.from_array(directions.astype(np.float32), "akin_directions"))
    graph.node.extend(
        [
            _node("MatMul", ["akin_whole", "akin_directions"], ["akin_projected"]),
            _node("ReduceL2", ["akin_projected", "akin_tokens_axis"], ["akin_length"], keepdims=1),
            _node("Max", ["akin_length", "akin_tiny"], ["akin_length_safe"]),
            _node("Div", ["akin_projected", "akin_length_safe"], ["vector"]),
        ]
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["n", directions.shape[1]]))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _node(kind: str, inputs: list[str], outputs: list[str], **attributes: int) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, outputs, name=outputs[0], **attributes)


def take_off_pooling(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Take out the nodes that were added here, and leave the hidden states as the graph's output."""
    added = [node for node in graph.node if node.name.startswith("akin_") or node.name == "vector"]
    made = {name for node in added for name in node.output}
    constants = {constant.name for constant in graph.initializer} | {given.name for given in graph.input}
    hidden = next(name for node in added for name in node.input if name not in made | constants)
    for node in added:
        graph.node.remove(node)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(hidden, TensorProto.FLOAT, ["n", "tokens", "width"]))
    return added


def put_pooling_back(graph: onnx.GraphProto, nodes: list[onnx.NodeProto], dimensions: int) -> None:
    """Undo `take_off_pooling` on a graph whose other nodes may have changed."""
    graph.node.extend(nodes)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["n", dimensions]))


def _mean_nodes(hidden: str) -> list[onnx.NodeProto]:
    node = _node
    return [
        node("Cast", ["attention_mask"], ["akin_mask"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["akin_mask", "akin_last_axis"], ["akin_weights"]),
        node("Mul", [hidden, "akin_weights"], ["akin_weighted"]),
        node("ReduceSum", ["akin_weighted", "akin_tokens_axis"], ["akin_sum"], keepdims=0),
        node("ReduceSum", ["akin_mask", "akin_tokens_axis"], ["akin_count"], keepdims=1),
        node("Max", ["akin_count", "akin_tiny"], ["akin_count_safe"]),
        node("Div", ["akin_sum", "akin_count_safe"], [POOLED]),
    ]


def _cls_nodes(hidden: str) -> list[onnx.NodeProto]:
    return [_node("Gather", [hidden, "akin_first"], [POOLED], axis=1)]


def _normalise_nodes() -> list[onnx.NodeProto]:
    node = _node
    return [
        node("ReduceL2", [POOLED, "akin_tokens_axis"], ["akin_norm"], keepdims=1),
        node("Max", ["akin_norm", "akin_tiny"], ["akin_norm_safe"]),
        node("Div", [POOLED, "akin_norm_safe"], ["vector"]),
    ]
