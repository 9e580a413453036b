"""Small graphs for tests of rewrites: made of nodes and constants, run on the CPU."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from ingest.encoder.cpu import needs_reduced_range

WIDTH, HEADS = 16, 2


def model(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> onnx.ModelProto:
    """`x` and `attention_mask` in, `y` out, which is as large as `x`."""
    shape = ["texts", "tokens", WIDTH]
    mask = helper.make_tensor_value_info("attention_mask", TensorProto.INT64, shape[:2])
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape), mask],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def run(graph: onnx.ModelProto, x: np.ndarray, *outputs: str, mask: np.ndarray | None = None) -> list[np.ndarray]:
    """`y` for `x`, and the outputs named besides; without a mask every token is a text's own."""
    return opened(graph, *outputs).run(
        ["y", *outputs], {"x": x, "attention_mask": np.ones(x.shape[:2], np.int64) if mask is None else mask}
    )


def opened(graph: onnx.ModelProto, *outputs: str) -> onnxruntime.InferenceSession:
    """The graph with these outputs besides, ready to run; whole numbers are added up exactly on every processor."""
    shown = onnx.ModelProto()
    shown.CopyFrom(graph)
    shown.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in outputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if needs_reduced_range():
        options.add_session_config_entry("session.x64quantprecision", "1")  # as for artifacts of other processors
    return onnxruntime.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])


def inputs(tokens: int = 200) -> np.ndarray:
    """One text whose first token has one large channel."""
    x = np.random.default_rng(3).normal(size=(1, tokens, WIDTH)).astype(np.float32)
    x[0, 0, 0] = 20.0
    return x
