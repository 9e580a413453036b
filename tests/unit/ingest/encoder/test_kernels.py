"""The kernels give onnxruntime's vectors, for whatever lengths lie side by side, or leave a model alone."""

import logging
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.encoder.artifact import Artifact, read_artifact
from ingest.encoder.batches import Batch
from ingest.encoder.cpu import processor_flags
from ingest.encoder.kernels import build, library
from ingest.encoder.kernels.bert import UnknownModelError
from ingest.encoder.kernels.engine import KernelEngine, open_kernels
from ingest.encoder.kernels.library import Variant, variants
from ingest.encoder.kernels.onnx_file import Graph, read_graph
from ingest.encoder.kernels.search import find_bert
from ingest.encoder.onnx import OnnxEncoder
from ingest.encoder.session import SessionEngine
from ingest.errors import UnavailableError
from tests.artifacts import WORDS, default_artifact, export_tiny, write_tiny_bert

SHAPES = {
    "mean": {"pooling": "mean", "hidden": 64},
    "first-token": {"pooling": "cls", "hidden": 64},
    "wide-heads": {"pooling": "mean", "hidden": 128},
    "heads-of-96": {"pooling": "cls", "hidden": 192},
    "heads-of-128": {"pooling": "mean", "hidden": 256},
}
SOURCES = Path(build.__file__).parent
can_run = pytest.mark.skipif(not variants(), reason="this processor has no AVX-512 VNNI, or nothing was compiled")


def a_compiler() -> bool:
    return any(shutil.which(name) for name in ("cc", "gcc", "clang"))


def batch(rows: Sequence[Sequence[int]]) -> Batch:
    return Batch(rows=range(len(rows)), ids=[np.array([row], np.int64) for row in rows])


def random_rows(lengths: Sequence[int], vocabulary: int = len(WORDS)) -> list[list[int]]:
    chance = np.random.default_rng(7)
    return [chance.integers(1, vocabulary, length).tolist() for length in lengths]


def of_onnxruntime(artifact: Artifact, rows: Sequence[Sequence[int]]) -> np.ndarray:
    engine = SessionEngine(artifact, on_gpu=False, padded=False, pad=0)
    return np.concatenate([engine.run(batch([row])) for row in rows])


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", one, other)


@pytest.fixture(scope="session")
def small_artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    folder = tmp_path_factory.mktemp("kernels")
    return {
        name: export_tiny(write_tiny_bert(folder / f"{name}-source", **shape), folder / name, recipe="int8")
        for name, shape in SHAPES.items()
    }


@pytest.fixture(scope="session", params=SHAPES)
def artifact(small_artifacts: dict[str, Artifact], request: pytest.FixtureRequest) -> Artifact:
    return small_artifacts[request.param]


@pytest.fixture(params=variants(), ids=lambda variant: variant.name)
def variant(request: pytest.FixtureRequest) -> Variant:
    return request.param


@pytest.fixture
def default_graph() -> Graph:
    return read_graph(read_artifact(default_artifact()).model)


@pytest.mark.skipif(not os.environ.get("CI"), reason="only CI insists on a compiler")
def test_where_the_processor_and_a_compiler_are_there_so_are_the_kernels() -> None:
    if "avx512_vnni" in processor_flags() and a_compiler():
        assert variants()


@can_run
def test_the_default_model_is_run_by_kernels_unless_somebody_wants_onnxruntime() -> None:
    artifact = read_artifact(default_artifact())
    with OnnxEncoder(artifact) as encoder, OnnxEncoder(artifact, provider="onnxruntime") as other:
        assert encoder.provider == variants()[-1].name
        assert other.provider == "CPUExecutionProvider"


@can_run
def test_vectors_of_a_small_model_are_those_of_onnxruntime(artifact: Artifact, variant: Variant) -> None:
    rows = random_rows([*range(1, 65)])

    found = KernelEngine(artifact, variant).run(batch(rows))

    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    # Both round to bytes. Where a number lies between two its last digit decides, and from there on the two differ.
    alike = cosines(found, of_onnxruntime(artifact, rows))
    assert np.mean(alike) > 0.997
    assert np.min(alike) > 0.95


@can_run
def test_the_kernels_lose_no_more_than_onnxruntime(
    artifact: Artifact, variant: Variant, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("exact")
    exact = export_tiny(write_tiny_bert(folder / "source", **SHAPES[artifact.folder.name]), folder / "fp32")
    rows = random_rows([*range(1, 65)] * 4)
    wanted = of_onnxruntime(exact, rows)

    lost, lost_by_onnxruntime = (
        1 - np.mean(cosines(found, wanted))
        for found in (KernelEngine(artifact, variant).run(batch(rows)), of_onnxruntime(artifact, rows))
    )

    assert lost < 1.2 * lost_by_onnxruntime


@can_run
def test_vectors_of_the_default_model_are_those_of_onnxruntime(variant: Variant) -> None:
    artifact = read_artifact(default_artifact())
    rows = random_rows([1, 2, 15, 16, 17, 31, 32, 33, 64, 100, 255, 256], 30_000)

    found = KernelEngine(artifact, variant).run(batch(rows))

    assert np.min(cosines(found, of_onnxruntime(artifact, rows))) > 0.997


@can_run
def test_what_was_in_memory_before_is_in_no_vector(artifact: Artifact, variant: Variant) -> None:
    engine = KernelEngine(artifact, variant)
    rows = random_rows([64, 1, 33, 2, 17, 64, 31])
    clean = engine.run(batch(rows))

    for byte in (0x7F, 0xFF):  # as floats, large numbers and what is no number
        engine._scratch.room.fill(byte)
        assert np.array_equal(engine.run(batch(rows)), clean)


@can_run
@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(1, 64), min_size=1, max_size=40))
def test_a_vector_is_the_same_to_the_last_bit_whatever_its_batch_mates(
    small_artifacts: dict[str, Artifact], lengths: list[int]
) -> None:
    rows = random_rows(lengths)
    for shape in ("mean", "first-token"):
        for variant in variants():
            engine = KernelEngine(small_artifacts[shape], variant)

            together = engine.run(batch(rows))

            assert np.array_equal(together, np.concatenate([engine.run(batch([row])) for row in rows]))


@can_run
def test_many_threads_share_an_engine(variant: Variant) -> None:
    engine = KernelEngine(read_artifact(default_artifact()), variant)
    batches = [batch(random_rows([3 + n, 40 - n], 30_000)) for n in range(20)]
    alone = [engine.run(one) for one in batches]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(engine.run, batches * 5))

    assert all(np.array_equal(one, alone[n % 20]) for n, one in enumerate(found))


@can_run
def test_less_dimensions_are_projected_as_the_graph_has_it(
    tmp_path: Path, small_artifacts: dict[str, Artifact], variant: Variant
) -> None:
    from ingest.encoder.graph import add_projection

    folder = shutil.copytree(small_artifacts["mean"].folder, tmp_path / "less")
    directions = np.linalg.qr(np.random.default_rng(0).normal(size=(64, 64)))[0][:, :20].astype(np.float32)
    add_projection(folder / "model.onnx", directions)
    artifact = replace(small_artifacts["mean"], folder=folder)
    rows = random_rows([3, 9, 30])

    found = KernelEngine(artifact, variant).run(batch(rows))

    assert found.shape == (3, 20)
    assert np.array_equal(found, np.concatenate([KernelEngine(artifact, variant).run(batch([row])) for row in rows]))
    assert np.min(cosines(found, of_onnxruntime(artifact, rows))) > 0.995


@can_run
@pytest.mark.parametrize("row", [[1, len(WORDS)], [1, -1], [1, 2**32 + 1], [1] * 65, []])
def test_what_the_tables_do_not_have_is_an_error_and_no_memory_of_others(
    small_artifacts: dict[str, Artifact], row: list[int], variant: Variant
) -> None:
    with pytest.raises(ValueError, match=r"vocabulary|tokens"):
        KernelEngine(small_artifacts["mean"], variant).run(batch([[1, 2], row]))


@can_run
def test_an_encoder_says_so_in_its_own_words(small_artifacts: dict[str, Artifact]) -> None:
    artifact = small_artifacts["mean"]
    too_long = replace(artifact, manifest=replace(artifact.manifest, max_tokens=100))
    with OnnxEncoder(too_long) as encoder, pytest.raises(UnavailableError, match="reads 1 to 64 tokens, not 100"):
        encoder.embed(["red river " * 60])


def test_every_node_of_a_graph_must_be_known(default_graph: Graph) -> None:
    find_bert(default_graph)

    for place, node in enumerate(default_graph.nodes):
        if node.kind == "Constant":
            continue
        for changed in ([], [replace(node, kind="Surprise")]):
            nodes = [*default_graph.nodes[:place], *changed, *default_graph.nodes[place + 1 :]]
            with pytest.raises(UnknownModelError):
                find_bert(replace(default_graph, nodes=nodes))


def test_a_node_that_nothing_reads_is_one_too_many(default_graph: Graph) -> None:
    more = replace(default_graph.nodes[-1], outputs=["another"])
    with pytest.raises(UnknownModelError, match="at an unknown place"):
        find_bert(replace(default_graph, nodes=[*default_graph.nodes, more]))


@pytest.mark.parametrize("kind", ["Attention", "LayerNormalization", "com.microsoft.MatMulIntegerToFloat"])
def test_inputs_may_not_be_exchanged(default_graph: Graph, kind: str) -> None:
    places = [place for place, node in enumerate(default_graph.nodes) if node.kind == kind]
    one, other = (default_graph.nodes[places[n]] for n in (1, -1))
    nodes = [*default_graph.nodes]
    nodes[places[1]] = replace(one, inputs=[other.inputs[0], *one.inputs[1:]])
    with pytest.raises(UnknownModelError):
        find_bert(replace(default_graph, nodes=nodes))


def test_every_constant_has_the_size_and_the_type_that_its_neighbours_want(default_graph: Graph) -> None:
    read = {name for node in default_graph.nodes for name in node.inputs} & set(default_graph.constants)
    for name in read:
        constant = default_graph.constants[name]
        if name in {"akin_tiny", "akin_last_axis"}:  # what no length may be less than; the axis that a mask is given
            continue
        for other in (constant.astype(np.float64), np.concatenate([constant.reshape(-1)] * 2)):
            with pytest.raises(UnknownModelError):
                find_bert(replace(default_graph, constants={**default_graph.constants, name: other}))


def test_a_layer_may_not_be_wider_than_the_first(default_graph: Graph) -> None:
    wide = next(node for node in default_graph.nodes if "layer.3/intermediate/dense" in node.outputs[0])
    constants = dict(default_graph.constants)
    for name in wide.inputs:
        if name in constants and 1552 in constants[name].shape:
            constants[name] = np.concatenate([constants[name]] * 2, axis=-1)
    narrow = next(name for name in constants if "layer.3/output/dense" in name and 1552 in constants[name].shape)
    constants[narrow] = np.concatenate([constants[narrow]] * 2, axis=0)

    with pytest.raises(UnknownModelError, match="not \\(384, 1552\\)"):
        find_bert(replace(default_graph, constants=constants))


@pytest.mark.parametrize("setting", [{"softcap": 1.5}, {"kv_num_heads": 6}, {"is_causal": 1}])
def test_an_attention_may_do_nothing_else(default_graph: Graph, setting: dict[str, float]) -> None:
    nodes = [
        replace(node, settings={**node.settings, **setting}) if node.kind == "Attention" else node
        for node in default_graph.nodes
    ]
    with pytest.raises(UnknownModelError, match="settings of its own"):
        find_bert(replace(default_graph, nodes=nodes))


@can_run
def test_a_model_with_fewer_heads_than_its_width_has_room_for_is_left_to_onnxruntime(tmp_path: Path) -> None:
    from transformers import AutoModel

    source = write_tiny_bert(tmp_path / "source", hidden=64)
    model = AutoModel.from_pretrained(source)
    model.prune_heads({0: [1], 1: [0]})
    model.save_pretrained(source, safe_serialization=True)

    pruned = export_tiny(source, tmp_path / "pruned", recipe="int8")

    assert open_kernels(pruned) is None


@can_run
def test_a_model_of_another_shape_is_left_to_onnxruntime(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    narrow = export_tiny(write_tiny_bert(tmp_path / "source"), tmp_path / "narrow", recipe="int8")

    with caplog.at_level(logging.INFO), OnnxEncoder(narrow) as encoder:
        assert encoder.provider == "CPUExecutionProvider"

    assert [record.reason for record in caplog.records] == ["2 heads share 32 dimensions"]


def test_a_file_that_is_no_model_is_no_graph(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match="no ONNX file"):
        read_graph(tmp_path / "model.onnx")


def test_without_a_library_onnxruntime_runs_the_model_and_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(library, "FILE", tmp_path / "kernels.so")
    for function in (library.variants, library.best_variant):
        function.cache_clear()
    try:
        assert open_kernels(read_artifact(default_artifact())) is None
        assert open_kernels(read_artifact(default_artifact())) is None
        assert len(caplog.records) == ("avx512_vnni" in processor_flags())
    finally:
        for function in (library.variants, library.best_variant):
            function.cache_clear()


@pytest.mark.skipif(not a_compiler(), reason="there is no C compiler")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the kernels are for x86-64")
def test_a_library_of_other_sources_is_not_used(
    sources: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    build.compile_kernels(sources)
    (sources / "model.h").write_text((sources / "model.h").read_text() + "// of another version")
    monkeypatch.setattr(library, "FILE", sources / build.FILE)

    assert library.variants.__wrapped__() == ()

    assert [record.message.split(",")[0] for record in caplog.records] == [
        "akin's kernels were compiled from other sources"
    ]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    return shutil.copytree(SOURCES, tmp_path / "sources", ignore=shutil.ignore_patterns("*.so", "__pycache__"))


@pytest.mark.skipif(not a_compiler(), reason="there is no C compiler")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the kernels are for x86-64")
def test_the_kernels_compile(sources: Path) -> None:
    assert build.compile_kernels(sources) == ""
    assert (sources / build.FILE).is_file()
    assert not list(sources.glob(".*"))


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the kernels are for x86-64")
def test_what_stood_in_the_way_is_said(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if a_compiler():
        (sources / "encode.c").write_text("#error of this test\n", encoding="ascii")
        assert "of this test" in build.compile_kernels(sources)

    for compiler, said in ((str(sources / "nothing"), "No such file"), ("gcc '", "No closing quotation")):
        monkeypatch.setenv("CC", compiler)
        assert said in build.compile_kernels(sources)

    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(sources))
    assert build.compile_kernels(sources) == "there is no C compiler"
    assert not (sources / build.FILE).exists()
