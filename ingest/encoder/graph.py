"""Puts pooling and normalisation into an exported graph: one call of the model turns ids into unit vectors."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ingest.encoder.artifact import Pooling

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


def _mean_nodes(hidden: str) -> list[onnx.NodeProto]:
    node = helper.make_node
    return [
        node("Cast", ["attention_mask"], ["akin_mask"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["akin_mask", "akin_last_axis"], ["akin_weights"]),
        node("Mul", [hidden, "akin_weights"], ["akin_weighted"]),
        node("ReduceSum", ["akin_weighted", "akin_tokens_axis"], ["akin_sum"], keepdims=0),
        node("ReduceSum", ["akin_mask", "akin_tokens_axis"], ["akin_count"], keepdims=1),
        node("Max", ["akin_count", "akin_tiny"], ["akin_count_safe"]),
        node("Div", ["akin_sum", "akin_count_safe"], ["akin_pooled"]),
    ]


def _cls_nodes(hidden: str) -> list[onnx.NodeProto]:
    return [helper.make_node("Gather", [hidden, "akin_first"], ["akin_pooled"], axis=1)]


def _normalise_nodes() -> list[onnx.NodeProto]:
    node = helper.make_node
    return [
        node("ReduceL2", ["akin_pooled", "akin_tokens_axis"], ["akin_norm"], keepdims=1),
        node("Max", ["akin_norm", "akin_tiny"], ["akin_norm_safe"]),
        node("Div", ["akin_pooled", "akin_norm_safe"], ["vector"]),
    ]
