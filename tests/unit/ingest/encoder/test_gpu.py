"""What a GPU's graph is made of changes nothing of what it gives. Only tests/gpu needs a GPU."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ingest.encoder.gpu import attend_by_length, join_residuals
from tests.unit.ingest.encoder.graphs import HEADS, WIDTH, inputs, model, run


def attention(bias: str) -> onnx.ModelProto:
    """An attention as the optimizer makes it, with a bias of queries alone or of everything."""
    chance = np.random.default_rng(1)
    constants = {"w": chance.normal(size=(WIDTH, 3 * WIDTH)) / 4, "b": chance.normal(size=3 * WIDTH)}
    if bias == "queries":
        constants["b"][WIDTH:] = 0
    nodes = [
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.INT32),
        helper.make_node("Attention", ["x", "w", "b", "mask"], ["y"], domain="com.microsoft", num_heads=HEADS),
    ]
    return model(nodes, constants)


@pytest.mark.parametrize(("bias", "sums"), [("queries", 1), ("everything", 3)])
def test_an_attention_that_is_told_the_lengths_gives_what_one_with_a_mask_gives(bias: str, sums: int) -> None:
    graph, x = attention(bias), np.random.default_rng(5).normal(size=(4, 9, WIDTH)).astype(np.float32)
    own = np.arange(9)[None, :] < np.array([[9], [1], [5], [8]])
    (before,) = run(graph, x, mask=own.astype(np.int64))

    attend_by_length(graph)

    (after,) = run(graph, x, mask=own.astype(np.int64))
    kinds = [one.op_type for one in graph.graph.node]
    assert sorted(kinds) == sorted(["ReduceSum", *["MatMul"] * 3, *["Add"] * sums, "Attention"])
    assert np.allclose(before[own], after[own], atol=1e-5)


def test_an_attention_with_a_bias_of_its_scores_is_left_as_it_is() -> None:
    graph = attention("everything")
    node = next(one for one in graph.graph.node if one.op_type == "Attention")
    node.input[:] = [*node.input[:3], "", "", "scores"]
    before = graph.SerializeToString()

    assert not attend_by_length(graph)
    assert graph.SerializeToString() == before


def test_a_graph_without_fused_attention_is_left_as_it_is() -> None:
    graph = residual()
    before = graph.SerializeToString()

    assert not attend_by_length(graph)
    assert graph.SerializeToString() == before


def residual(read_again: bool = False) -> onnx.ModelProto:
    """A product's bias, the sum with what it was given, and the normalisation of that, which may be read elsewhere."""
    chance = np.random.default_rng(4)
    constants = {
        "w": chance.normal(size=(WIDTH, WIDTH)) / 4,
        "b": chance.normal(size=WIDTH),
        "scale": chance.normal(size=WIDTH),
        "shift": chance.normal(size=WIDTH),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["b", "p"], ["pb"]),
        helper.make_node("Add", ["x", "pb"], ["sum"]),
        helper.make_node("LayerNormalization", ["sum", "scale", "shift"], ["n"], axis=-1, epsilon=1e-6),
        helper.make_node("Add", ["n", "sum" if read_again else "n"], ["y"]),
    ]
    return model(nodes, constants)


@pytest.mark.parametrize("read_again", [False, True])
def test_a_residual_and_its_normalisation_become_one_node_where_nothing_else_reads_them(read_again: bool) -> None:
    graph, x = residual(read_again), inputs(9)
    (before,) = run(graph, x)

    join_residuals(graph)

    (after,) = run(graph, x)
    kinds = [one.op_type for one in graph.graph.node]
    assert ("SkipLayerNormalization" in kinds) is not read_again
    assert len(kinds) == (5 if read_again else 3)
    assert np.allclose(before, after, atol=1e-5)
