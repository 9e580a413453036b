import dataclasses
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import numpy as np
import onnxruntime
import pytest

from ingest.encoder import onnx, session
from ingest.encoder.artifact import DEFAULT_PASSAGES, Artifact, read_artifact
from ingest.encoder.onnx import OnnxEncoder
from ingest.encoder.session import CPU, CUDA, SessionEngine
from ingest.encoder.tokens import TextTokenizer
from ingest.errors import ArtifactError, UnavailableError
from tests.artifacts import default_artifact, export_tiny

MATES = ["jazz", "A wolf raised by shepherds has to choose a side when winter comes early. " * 6, "", "一位退休的老师"]


@pytest.fixture
def cuda_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )


@pytest.fixture
def one_thread(tiny_artifact: Artifact) -> Iterator[OnnxEncoder]:
    with OnnxEncoder(tiny_artifact, threads=1) as encoder:
        yield encoder


def unit_length(vectors: np.ndarray) -> bool:
    return bool(np.isfinite(vectors).all() and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5))


def test_each_row_is_a_unit_vector_of_its_text(default_encoder: OnnxEncoder) -> None:
    vectors = default_encoder.embed(["a film about the sea", "a movie about the ocean", "cast iron skillet, 26 cm"])

    assert vectors.shape == (3, default_encoder.dimensions) == (3, 384)
    assert vectors.dtype == np.float32
    assert unit_length(vectors)
    assert vectors[0] @ vectors[1] > 0.7
    assert vectors[0] @ vectors[2] < 0.3


def test_a_vector_is_the_same_whatever_its_batch_mates(default_encoder: OnnxEncoder) -> None:
    # Of one length, so that they share a call; the sum over tokens may then be made in another order.
    mates = [*MATES, *(f"{word} on a {thing}" for word in ("birds", "cats", "wolves") for thing in ("roof", "tree"))]
    alone = np.concatenate([default_encoder.embed([text]) for text in mates])

    for order in (mates, mates[::-1]):
        together = default_encoder.embed(order)
        expected = alone if order is mates else alone[::-1]
        assert np.einsum("nd,nd->n", together, expected).min() > 0.999999


def test_beside_a_device_texts_are_tokenized_ahead_and_vectors_stay_in_order(
    tiny_artifact: Artifact, tiny_encoder: OnnxEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"{'a wolf and ' * (n % 7)}{n} lighthouses" for n in range(30)]
    threads = []
    whole = TextTokenizer.pieces
    monkeypatch.setattr(onnx, "AHEAD", 8)

    with OnnxEncoder(tiny_artifact, provider="cpu", padded=True) as padded:
        monkeypatch.setattr(
            TextTokenizer, "pieces", lambda self, some: threads.append(threading.current_thread()) or whole(self, some)
        )
        vectors = padded.embed([*texts, texts[3]])
    monkeypatch.undo()

    assert len(threads) == 4
    assert threading.main_thread() not in threads
    assert np.allclose(vectors, tiny_encoder.embed([*texts, texts[3]]), atol=1e-5)


def test_padding_changes_no_vector(tiny_artifact: Artifact, tiny_encoder: OnnxEncoder) -> None:
    texts = ["red", "red river", "one two three. " * 9, "", "stone bird sings"]

    with OnnxEncoder(tiny_artifact, provider="cpu", padded=True) as padded:
        assert np.allclose(padded.embed(texts), tiny_encoder.embed(texts), atol=1e-5)


def test_a_quantized_model_refuses_padding(tiny_source: Path, tmp_path: Path) -> None:
    artifact = export_tiny(tiny_source, tmp_path / "out", recipe="int8")

    with pytest.raises(ArtifactError, match="fp16"):
        OnnxEncoder(artifact, padded=True)


def test_more_texts_than_a_window_keep_their_places(tiny_encoder: OnnxEncoder) -> None:
    texts = [f"red {'a' * (n % 7)} {'b' * (n % 11)} {n % 5} river {'.' * (n // 400)}" for n in range(9_000)]
    picked = [0, 4_000, 8_191, 8_192, 8_999]

    assert np.allclose(tiny_encoder.embed(texts)[picked], tiny_encoder.embed([texts[n] for n in picked]), atol=1e-6)


def test_the_number_of_threads_changes_no_vector(default_encoder: OnnxEncoder) -> None:
    wanted = "onnxruntime" if default_encoder.provider == CPU else "auto"
    with OnnxEncoder(read_artifact(default_artifact()), threads=1, provider=wanted) as single:
        assert np.array_equal(single.embed(MATES), default_encoder.embed(MATES))


def test_equal_texts_get_equal_vectors_in_their_places(tiny_encoder: OnnxEncoder) -> None:
    vectors = tiny_encoder.embed(["one", "two", "one", "one"])

    assert np.array_equal(vectors[[0, 2, 3]], vectors[[0, 0, 0]])
    assert np.array_equal(vectors[1], tiny_encoder.embed(["two"])[0])


def test_no_texts_make_no_rows(tiny_encoder: OnnxEncoder) -> None:
    assert tiny_encoder.embed([]).shape == (0, 32)


@pytest.mark.parametrize("text", ["", "   \n\t ", "\x00\x01\x02", "\ud800 red \udfff", "🜁🜂", "é" * 500, "\u202e\u200b"])
def test_odd_texts_have_a_defined_vector(tiny_encoder: OnnxEncoder, text: str) -> None:
    vectors = tiny_encoder.embed([text, "river"])

    assert unit_length(vectors)
    assert np.array_equal(vectors[0], tiny_encoder.embed([text])[0])


def test_white_space_is_the_empty_text(tiny_encoder: OnnxEncoder) -> None:
    empty, blank = tiny_encoder.embed(["", " \n "])

    assert np.array_equal(empty, blank)


def test_what_stands_behind_the_last_token_a_model_reads_still_counts(default_encoder: OnnxEncoder) -> None:
    opening = "The committee met again and nothing was decided. " * 40
    plain, baking = default_encoder.embed([opening, opening + "Sourdough bread, flour, oven, yeast and dough. " * 20])
    bread = default_encoder.embed(["how to bake bread"])[0]

    assert baking @ bread > plain @ bread + 0.1


def test_pieces_are_averaged_by_their_length_in_tokens(tiny_encoder: OnnxEncoder) -> None:
    long, short = "one two three red blue green river stone bird a b c d .", "stone ."
    first, second = tiny_encoder.embed([long, short])

    joined = tiny_encoder.embed([f"{long} {short}"])[0]

    expected = 14 * first + 2 * second
    assert np.allclose(joined, expected / np.linalg.norm(expected), atol=1e-6)


@pytest.mark.parametrize("text", ["river stone. " * 80_000, "书" * 350_000, "x" * 1_000_000, " " * 1_000_000])
def test_a_megabyte_is_embedded_in_bounded_time(tiny_encoder: OnnxEncoder, text: str) -> None:
    started = perf_counter()

    assert unit_length(tiny_encoder.embed([text]))
    assert perf_counter() - started < 30


def test_a_huge_text_is_read_in_pieces_spread_over_all_of_it(tiny_artifact: Artifact) -> None:
    pieces = TextTokenizer(tiny_artifact).pieces(["red. " * 20_000 + "blue."])

    assert len(pieces) == DEFAULT_PASSAGES
    assert pieces[-1].ids[0, -3] != pieces[0].ids[0, -3]


@pytest.mark.parametrize(
    "text", ["red river. stone bird! " * 90, "书山水。" * 400, "red " * 14, "x" * 4_000 + " red river stone. " * 40, ""]
)
def test_the_first_passage_is_the_same_whether_or_not_others_are_read(tiny_artifact: Artifact, text: str) -> None:
    manifest = dataclasses.replace(tiny_artifact.manifest, passages=1)
    (first,) = TextTokenizer(dataclasses.replace(tiny_artifact, manifest=manifest)).pieces([text])

    assert np.array_equal(first.ids, TextTokenizer(tiny_artifact).pieces([text])[0].ids)


@pytest.mark.parametrize("passages", [1, DEFAULT_PASSAGES])
def test_a_text_has_the_same_pieces_whatever_its_neighbours(tiny_artifact: Artifact, passages: int) -> None:
    texts = ["red river. " * 40, "", "x" * 4_000, "书山水。" * 9, "one " * 14, "blue " * 15, f"{'x' * 200} red. stone"]
    manifest = dataclasses.replace(tiny_artifact.manifest, passages=passages)
    tokenizer = TextTokenizer(dataclasses.replace(tiny_artifact, manifest=manifest))

    together = tokenizer.pieces(texts)

    for row, text in enumerate(texts):
        own = [piece.ids for piece in together if piece.text == row]
        alone = [piece.ids for piece in tokenizer.pieces([text])]
        assert [ids.tolist() for ids in own] == [ids.tolist() for ids in alone]
    assert [piece.text for piece in together] == sorted(piece.text for piece in together)


def test_many_threads_may_embed_at_once(tiny_encoder: OnnxEncoder) -> None:
    texts = [f"{color} {thing}" for color in ("red", "blue", "green") for thing in ("river", "stone", "bird")]
    expected = tiny_encoder.embed(texts)

    with ThreadPoolExecutor(8) as callers:
        results = list(callers.map(lambda _: tiny_encoder.embed(texts), range(40)))

    assert all(np.array_equal(result, expected) for result in results)


def test_a_closed_encoder_says_so(tiny_artifact: Artifact) -> None:
    with OnnxEncoder(tiny_artifact) as encoder:
        pass

    with pytest.raises(UnavailableError, match="closed"):
        encoder.embed(["one"])


class BrokenSession:
    """Stands in for onnxruntime where the model is sound but its arithmetic is not."""

    def __init__(self, session: onnxruntime.InferenceSession, answer: np.ndarray | Exception) -> None:
        self.session = session
        self.answer = answer

    def get_providers(self) -> list[str]:
        return self.session.get_providers()

    def io_binding(self) -> "BrokenSession":
        return self

    def bind_cpu_input(self, *_: object) -> None: ...

    def bind_output(self, *_: object) -> None: ...

    def run_with_iobinding(self, *_: object) -> None:
        if isinstance(self.answer, Exception):
            raise self.answer

    def get_outputs(self) -> list[onnxruntime.OrtValue]:
        assert isinstance(self.answer, np.ndarray)
        return [onnxruntime.OrtValue.ortvalue_from_numpy(self.answer)]


@pytest.mark.parametrize("answer", [np.full((1, 32), np.nan), np.full((1, 32), np.inf), np.zeros((1, 5))])
def test_an_answer_that_is_no_vector_is_an_error(one_thread: OnnxEncoder, answer: np.ndarray) -> None:
    one_thread._engine._session = BrokenSession(one_thread._engine._session, answer)

    with pytest.raises(ArtifactError, match="no vector"):
        one_thread.embed(["one", "two"])


def test_a_failure_of_the_runtime_is_translated_in_helper_threads_too(tiny_artifact: Artifact) -> None:
    with OnnxEncoder(tiny_artifact, threads=3) as encoder:
        encoder._engine._session = BrokenSession(encoder._engine._session, RuntimeError("out of memory"))

        with pytest.raises(UnavailableError, match="out of memory"):
            encoder.embed(["one", "two", "three", "red", "blue"])


@pytest.mark.parametrize(
    "message",
    [
        "CUDA failure 2: out of memory ; GPU=0",
        "Failed to allocate memory for requested buffer of size 12288",
        "Available memory of 512 is smaller than requested bytes of 12288",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
        "std::bad_alloc",
    ],
)
def test_what_a_device_has_no_memory_for_goes_in_halves(
    message: str,
    tiny_artifact: Artifact,
    tiny_encoder: OnnxEncoder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    texts = [f"red {'river ' * (n % 9)}" for n in range(40)]
    call, sizes = SessionEngine.call, []

    def small_device(self: SessionEngine, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        sizes.append(ids.size)
        if sizes[-1] > 60:
            raise RuntimeError(message)
        return call(self, ids, mask)

    monkeypatch.setattr(onnx, "LEAST_TOKENS", 32)
    with OnnxEncoder(tiny_artifact, provider="cpu", padded=True) as padded:
        monkeypatch.setattr(SessionEngine, "call", small_device)
        found = padded.embed(texts)
        refused = sum(size > 60 for size in sizes)
        padded.embed(texts)

    assert 0 < refused == sum(size > 60 for size in sizes)  # it asks for no more than fitted from then on
    assert np.allclose(found, tiny_encoder.embed(texts), atol=1e-5)
    assert {record.message for record in caplog.records} == {"out of memory, embedding fewer texts in a call"}


def test_one_shortage_of_memory_does_not_make_calls_tiny(
    tiny_artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, failures = SessionEngine.call, [RuntimeError("out of memory")]
    sizes: list[int] = []

    def short_once(self: SessionEngine, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        if failures:
            raise failures.pop()
        sizes.append(ids.size)
        return call(self, ids, mask)

    with OnnxEncoder(tiny_artifact, provider="cpu", padded=True) as padded:
        monkeypatch.setattr(SessionEngine, "call", short_once)
        padded.embed(["red", "river"])
        padded.embed([f"red {'stone ' * (n % 5)}{n}" for n in range(60)])

    assert sizes[:2] == [8, 8]
    assert len(sizes) == 3


def test_padding_that_changes_vectors_is_refused_when_the_encoder_opens(
    tiny_artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = SessionEngine.call
    monkeypatch.setattr(SessionEngine, "call", lambda self, ids, mask: call(self, ids, np.ones_like(mask)))

    with pytest.raises(ArtifactError, match="does not tell padding from text"):
        OnnxEncoder(tiny_artifact, provider="cpu", padded=True)


@pytest.mark.usefixtures("cuda_is_offered")
@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider' is not in available provider names")
def test_a_gpu_that_does_not_start_is_said_with_the_reason(
    tiny_artifact: Artifact, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with OnnxEncoder(tiny_artifact, provider="auto") as encoder:
        assert encoder.provider == "CPUExecutionProvider"
        assert not encoder.padded

    (record,) = caplog.records
    assert record.message == "cuda did not start, embedding on the CPU"
    assert record.reason
    assert capsys.readouterr().out == ""


def test_asking_for_a_missing_gpu_warns_and_goes_on(tiny_artifact: Artifact, caplog: pytest.LogCaptureFixture) -> None:
    with OnnxEncoder(tiny_artifact, provider="cuda") as encoder:
        assert encoder.provider == "CPUExecutionProvider"

    assert [record.message for record in caplog.records] == ["cuda is not available, embedding on the CPU"]


def test_no_gpu_and_none_asked_for_is_no_warning(tiny_artifact: Artifact, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), OnnxEncoder(tiny_artifact, provider="auto"):
        pass

    assert not caplog.records


@pytest.mark.usefixtures("cuda_is_offered")
def test_int8_stays_on_the_cpu_beside_a_gpu_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    with OnnxEncoder(read_artifact(default_artifact()), provider="auto") as encoder:
        assert encoder.provider != CUDA

    assert "cannot run this recipe" in caplog.text


def test_weights_of_full_range_are_run_without_saturating_and_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    artifact = read_artifact(default_artifact())
    foreign = dataclasses.replace(artifact, manifest=dataclasses.replace(artifact.manifest, reduced_range=False))
    monkeypatch.setattr(session, "needs_reduced_range", lambda: True)

    with OnnxEncoder(artifact) as own, OnnxEncoder(foreign, provider="onnxruntime") as encoder:
        assert np.einsum("nd,nd->n", own.embed(MATES), encoder.embed(MATES)).min() > 0.99

    assert [record.message.split(",")[0] for record in caplog.records][
        -1
    ] == "encoder was exported for another processor"
