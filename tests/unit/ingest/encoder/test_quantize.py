import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from ingest.encoder.activations import Activation
from ingest.encoder.artifact import Fidelity, read_artifact
from ingest.encoder.gptq import column_scales, round_weights
from ingest.encoder.int8 import to_int8
from ingest.encoder.matmuls import find_products
from ingest.encoder.recipes import RECIPES, find_recipe
from ingest.errors import ArtifactError
from tests.artifacts import default_artifact
from tests.unit.ingest.encoder.graphs import opened


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(ArtifactError, match="int8"):
        find_recipe("int9")


def test_a_floor_names_every_figure_that_is_under_it() -> None:
    found = Fidelity(texts=9, mean_cosine=0.9, p1_cosine=0.995, worst_cosine=0.8, neighbour_overlap=0.1)

    missed = RECIPES["int8"].floor.missed(found)

    assert [line.split()[0] for line in missed] == ["mean_cosine", "neighbour_overlap"]


def test_embedding_tables_stay_fp32_and_every_layer_is_quantized() -> None:
    graph = onnx.load(read_artifact(default_artifact()).model).graph

    tables = [constant for constant in graph.initializer if "word_embeddings" in constant.name]
    kinds = [node.op_type for node in graph.node]
    assert [constant.data_type for constant in tables] == [TensorProto.FLOAT]
    assert (kinds.count("Attention"), kinds.count("MatMulIntegerToFloat")) == (6, 36)
    assert not find_products(graph)


def product(k: int, n: int, *, bias: bool) -> tuple[onnx.ModelProto, np.ndarray]:
    weights = np.random.default_rng(3).normal(size=(k, n)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["product"], name="product")]
    constants = [numpy_helper.from_array(weights, "w")]
    if bias:
        nodes.append(helper.make_node("Add", ["b", "product"], ["y"]))
        constants.append(numpy_helper.from_array(np.arange(n, dtype=np.float32), "b"))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "tokens", k])],
        [helper.make_tensor_value_info("y" if bias else "product", TensorProto.FLOAT, [1, "tokens", n])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), weights


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    (found,) = opened(model).run(None, {"x": x})
    return found


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("k", "n"), [(16, 48), (64, 16)])
def test_whole_numbers_give_nearly_what_fp32_gives(k: int, n: int, bias: bool) -> None:
    model, _ = product(k, n, bias=bias)
    sizes = np.exp(np.random.default_rng(5).normal(size=k)).astype(np.float32)  # channels of very different sizes
    x = np.random.default_rng(4).normal(size=(1, 200, k)).astype(np.float32) * sizes
    before = run(model, x)
    seen = Activation.unseen(k)
    seen.add(x[0])

    to_int8(model, {"x": seen}, most=127, tell=lambda _: None)

    after = run(model, x)
    assert np.abs(after - before).max() < 0.04 * np.abs(before).max()
    alone = run(model, x[:, 7:8])
    assert np.array_equal(alone[0, 0], after[0, 7])  # what a token gives does not depend on the tokens beside it


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([63, 127]))
def test_rounding_for_the_result_beats_rounding_to_the_nearest(seed: int, most: int) -> None:
    chance = np.random.default_rng(seed)
    inputs = chance.normal(size=(300, 24)) @ chance.normal(size=(24, 24))  # channels that go together
    weights = chance.normal(size=(24, 8)).astype(np.float32)
    scales = column_scales(weights, most)

    rounded = round_weights(weights, scales, inputs.T @ inputs, most)

    def error(whole: np.ndarray) -> float:
        return float(np.linalg.norm(inputs @ (whole * scales - weights)))

    assert np.abs(rounded.astype(int)).max() <= most
    assert error(rounded) <= 1.05 * error(np.round(weights / scales))


def test_a_channel_never_seen_and_a_column_of_zeros_are_no_trouble() -> None:
    weights = np.ones((8, 3), np.float32)
    weights[:, 1] = 0
    scales = column_scales(weights, 127)

    rounded = round_weights(weights, scales, np.zeros((8, 8)), 127)

    assert np.allclose(rounded * scales, weights)
