"""Rewrites change what a graph is made of and not what it gives."""

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from ingest.encoder.activations import Activation
from ingest.encoder.int8 import to_int8
from ingest.encoder.rewrites import carry_over, settle_attention_biases
from tests.unit.ingest.encoder.graphs import HEADS, WIDTH, inputs, model, run

INNER = 64


def attention() -> onnx.ModelProto:
    chance = np.random.default_rng(1)
    constants = {
        "w": chance.normal(size=(WIDTH, 3 * WIDTH)) / 4,
        "b": chance.normal(size=3 * WIDTH),
        "out": chance.normal(size=(WIDTH, WIDTH)) / 4,
        "out_b": chance.normal(size=WIDTH),
    }
    nodes = [
        helper.make_node("Attention", ["x", "w", "b"], ["a"], domain="com.microsoft", num_heads=HEADS),
        helper.make_node("MatMul", ["a", "out"], ["p"]),
        helper.make_node("Add", ["p", "out_b"], ["y"]),
    ]
    return model(nodes, constants)


def feed_forward(large: float) -> onnx.ModelProto:
    """One of the inner channels is large where the first channel of the input is."""
    chance = np.random.default_rng(2)
    first = chance.normal(size=(WIDTH, INNER)) / 4
    first[:, 5] = 0
    first[0, 5] = large
    constants = {
        "w1": first,
        "b1": chance.normal(size=INNER) / 4,
        "w2": chance.normal(size=(INNER, WIDTH)),
        "b2": chance.normal(size=WIDTH),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Add", ["b1", "h"], ["hb"]),
        helper.make_node("Gelu", ["hb"], ["g"], domain="com.microsoft"),
        helper.make_node("MatMul", ["g", "w2"], ["p"]),
        helper.make_node("Add", ["p", "b2"], ["y"]),
    ]
    return model(nodes, constants)


def watched(graph: onnx.ModelProto, x: np.ndarray, limits: dict[str, float], *names: str) -> dict[str, Activation]:
    """What the named inputs are for `x`, cut off at their limits."""
    found = {}
    for name in names:
        values = x if name == "x" else run(graph, x, name)[1]
        found[name] = Activation.unseen(values.shape[-1], limits.get(name))
        found[name].add(values[0])
    return found


def test_biases_of_keys_and_values_are_gone_and_the_results_are_the_same() -> None:
    graph, x = attention(), inputs(9)
    (before,) = run(graph, x)

    settle_attention_biases(graph.graph)

    (after,) = run(graph, x)
    node = next(one for one in graph.graph.node if one.op_type == "Attention")
    bias = numpy_helper.to_array(next(one for one in graph.graph.initializer if one.name == node.input[2]))
    assert bias[:WIDTH].any()
    assert not bias[WIDTH:].any()
    assert np.allclose(before, after, atol=1e-5)


def test_attention_in_whole_numbers_gives_nearly_what_fp32_gives() -> None:
    graph, x = attention(), np.clip(inputs(40), -3, 3)
    settle_attention_biases(graph.graph)
    (before,) = run(graph, x)

    to_int8(graph, watched(graph, x, {}, "x", "a"), most=127, tell=lambda _: None)

    (after,) = run(graph, x)
    assert [one.op_type for one in graph.graph.node].count("MatMulIntegerToFloat") == 4
    assert np.abs(after - before).max() < 0.04 * np.abs(before).max()


def test_a_large_channel_is_carried_over_so_that_the_others_keep_their_precision() -> None:
    graph, x = feed_forward(large=1.0), inputs()
    (before,) = run(graph, x)
    plain = feed_forward(large=1.0)
    to_int8(plain, watched(plain, x, {}, "x", "g"), most=127, tell=lambda _: None)

    limits = carry_over(graph.graph, watched(graph, x, {}, "x", "g"))
    to_int8(graph, watched(graph, x, limits, "x", "g"), most=127, tell=lambda _: None)

    (after,) = run(graph, x)
    assert limits["g"] < 0.4 * 20
    assert (
        np.abs(after[0, 0] - before[0, 0]).max() < 0.06 * np.abs(before[0, 0]).max()
    )  # the token with the large value
    assert [one.op_type for one in graph.graph.node].count("Mul") == 1  # the input's alone: none for the wide one


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 3.0), st.integers(0, 1000))
@example(0.125, 6)  # two columns for one channel
def test_carried_channels_add_up_to_what_they_were(large: float, seed: int) -> None:
    graph = feed_forward(large)
    x = np.random.default_rng(seed).normal(size=(1, 60, WIDTH)).astype(np.float32)
    x[0, :3, 0] = 20.0, 12.0, 5.0
    before = run(graph, x, "g")[1]

    limits = carry_over(graph.graph, watched(graph, x, {}, "x", "g"))

    after = np.minimum(run(graph, x, "g")[1], limits["g"])
    second = next(one for one in graph.graph.node if "g" in one.input and one.op_type == "MatMul")
    weights = numpy_helper.to_array(next(one for one in graph.graph.initializer if one.name == second.input[1]))
    whole = numpy_helper.to_array(next(one for one in feed_forward(large).graph.initializer if one.name == "w2"))
    belongs = np.array([int(np.abs(whole - row).sum(axis=1).argmin()) for row in weights])
    totals = np.stack([after[0][:, belongs == channel].sum(axis=1) for channel in range(INNER)], axis=1)
    # Gelu is never below -0.17, and each column that a channel has got besides its own may be that far off.
    columns = np.bincount(belongs, minlength=INNER) - 1
    assert (np.abs(totals - before[0]).max(axis=0) <= 0.171 * columns + 1e-4).all()
    assert np.median(np.abs(totals - before[0])) < 1e-6


@pytest.mark.parametrize("kind", ["Relu", "Tanh"])
def test_another_activation_is_left_as_it_is(kind: str) -> None:
    graph, x = feed_forward(large=1.0), inputs()
    graph.graph.node[2].CopyFrom(helper.make_node(kind, ["hb"], ["g"]))
    before = graph.SerializeToString()

    assert not carry_over(graph.graph, watched(graph, x, {}, "x", "g"))
    assert graph.SerializeToString() == before
