import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ingest.encoder.artifact import read_artifact
from ingest.encoder.quantize import find_recipe
from ingest.encoder.smoothing import smooth, weighted_inputs
from ingest.errors import ArtifactError
from tests.artifacts import default_artifact


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(ArtifactError, match="int8"):
        find_recipe("int9")


def test_embedding_tables_stay_fp32_and_every_layer_is_quantized() -> None:
    graph = onnx.load(read_artifact(default_artifact()).model).graph

    tables = [constant for constant in graph.initializer if "word_embeddings" in constant.name]
    assert [constant.data_type for constant in tables] == [TensorProto.FLOAT]
    assert sum(node.op_type == "MatMulInteger" for node in graph.node) == 36
    assert not weighted_inputs(graph)


def two_products_of_shared_weights() -> onnx.ModelProto:
    weights = np.random.default_rng(3).normal(size=(4, 4)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"], name="first"),
        helper.make_node("MatMul", ["y", "w"], ["z"], name="second"),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])
    wanted = helper.make_tensor_value_info("z", TensorProto.FLOAT, [2, 4])
    graph = helper.make_graph(nodes, "g", [given], [wanted], [numpy_helper.from_array(weights, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def test_smoothing_changes_no_result_even_where_layers_share_weights() -> None:
    model = two_products_of_shared_weights()
    x = np.random.default_rng(4).normal(size=(2, 4)).astype(np.float32)
    (before,) = ReferenceEvaluator(model).run(None, {"x": x})

    smooth(model, {"x": np.array([9, 1, 0.1, 1], np.float32), "y": np.array([1, 2, 30, 4], np.float32)})

    (after,) = ReferenceEvaluator(model).run(None, {"x": x})
    assert np.allclose(before, after, atol=1e-4)
    assert [node.op_type for node in model.graph.node] == ["Mul", "MatMul", "Mul", "MatMul"]
