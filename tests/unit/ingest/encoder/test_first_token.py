"""What only other tokens would need is not computed, and the vectors stay the same."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from ingest.encoder.artifact import MODEL
from ingest.encoder.first_token import keep_first_token
from ingest.encoder.nodes import makers_of
from tests.artifacts import export_tiny, write_tiny_bert
from tests.unit.ingest.encoder.graphs import opened

IDS = np.array([[2, 7, 8, 9, 5, 3], [2, 6, 6, 4, 8, 3]])


def run(model: onnx.ModelProto, *outputs: str) -> list[np.ndarray]:
    return opened(model, *outputs).run(["vector", *outputs], {"input_ids": IDS, "attention_mask": np.ones_like(IDS)})


def with_all_tokens(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with nothing left out."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    for node in whole.graph.node:
        if node.op_type == "Slice" and node.output[0].endswith("_first"):
            node.op_type = "Identity"
            del node.input[1:]
    return whole


@pytest.mark.parametrize("recipe", ["fp32", "int8", "fast", "accurate"])
def test_a_first_token_is_what_it_was_and_the_last_layer_computes_no_other(tmp_path: Path, recipe: str) -> None:
    artifact = export_tiny(write_tiny_bert(tmp_path / "source", pooling="cls"), tmp_path / "out", recipe=recipe)
    model = onnx.load(artifact.folder / MODEL)
    hidden = makers_of(model.graph)["akin_pooled"].input[0]
    inner = [node.output[0] for node in model.graph.node if node.op_type in ("Gelu", "Erf")][-1]
    attended = [node.output[0] for node in model.graph.node if node.op_type == "Attention" and not node.domain]

    vectors, last, between, *attentions = run(model, hidden, inner, *attended)

    assert last.shape[:2] == between.shape[:2] == (len(IDS), 1)
    if recipe in ("int8", "fast"):
        assert [one.shape[1] for one in attentions] == [IDS.shape[1], 1], (
            "the queries of the last layer are one as well"
        )
    expected, whole = run(with_all_tokens(model), hidden)
    assert whole.shape[:2] == IDS.shape
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


def test_a_mean_is_that_of_all_tokens(tmp_path: Path) -> None:
    artifact = export_tiny(write_tiny_bert(tmp_path / "source"), tmp_path / "out", recipe="int8")
    model = onnx.load(artifact.folder / MODEL)
    before = model.SerializeToString()
    keep_first_token(model.graph)
    assert model.SerializeToString() == before
    assert not any(node.op_type == "Slice" and node.output[0].endswith("_first") for node in model.graph.node)


def hidden_states(*nodes: onnx.NodeProto) -> onnx.GraphProto:
    """`x` (texts, tokens, 4) in; the last of the nodes gives `h`, of which the first token is pooled."""
    constants = {"w": np.eye(4, dtype=np.float32), "b": np.ones(4, np.float32), "akin_first": np.array(0)}
    shape = ["texts", "tokens", 4]
    gather = onnx.helper.make_node("Gather", ["h", "akin_first"], ["akin_pooled"], axis=1)
    return onnx.helper.make_graph(
        [*nodes, gather],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info("akin_pooled", onnx.TensorProto.FLOAT, ["texts", 4])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )


def kinds(graph: onnx.GraphProto) -> list[str]:
    keep_first_token(graph)
    return [node.op_type for node in graph.node]


def test_a_value_that_all_tokens_need_as_well_is_computed_for_all() -> None:
    node = onnx.helper.make_node
    graph = hidden_states(
        node("MatMul", ["x", "w"], ["q"]),
        node("Add", ["q", "b"], ["p"]),
        node("Softmax", ["p"], ["s"], axis=1),  # over the tokens
        node("Add", ["p", "s"], ["h"]),
    )
    assert kinds(graph) == ["MatMul", "Add", "Softmax", "Slice", "Slice", "Add", "Gather"]


def test_a_product_of_two_values_and_attention_that_looks_back_are_left_whole() -> None:
    node = onnx.helper.make_node
    product = hidden_states(node("MatMul", ["x", "w"], ["m"]), node("MatMul", ["m", "x"], ["h"]))
    assert "Slice" not in kinds(product)
    heads = {"q_num_heads": 1, "kv_num_heads": 1}
    attention = hidden_states(node("Attention", ["x", "x", "x"], ["h"], is_causal=1, **heads))
    assert "Slice" not in kinds(attention)
    assert "Slice" in kinds(hidden_states(node("Attention", ["x", "x", "x"], ["h"], **heads)))
