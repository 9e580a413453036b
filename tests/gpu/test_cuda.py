"""The encoder on a GPU; skipped where onnxruntime offers none. Needs the extra `gpu`, and `export` to make the model."""

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from ingest.encoder.artifact import read_artifact
from ingest.encoder.onnx import OnnxEncoder
from ingest.encoder.session import CUDA, offers_cuda
from tests.artifacts import default_artifact

pytestmark = pytest.mark.skipif(not offers_cuda(), reason="onnxruntime has no CUDA here")

SENTENCE = "A wolf raised by shepherds has to choose one side when the winter comes early and nobody sings. "
TEXTS = [f"{SENTENCE[n % 40 :] * (1 + n % 17)}{n}" for n in range(600)] + ["", "一位退休的老师。" * 60]


@pytest.fixture(scope="module")
def gpu() -> Iterator[OnnxEncoder]:
    with OnnxEncoder(read_artifact(default_artifact("fp16")), provider="cuda") as encoder:
        if encoder.provider != CUDA:
            pytest.skip("no GPU started here")
        yield encoder


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", one, other)


def test_vectors_are_those_of_the_cpu(gpu: OnnxEncoder) -> None:
    with OnnxEncoder(read_artifact(default_artifact("fp16")), provider="cpu") as cpu:
        assert cosines(gpu.embed(TEXTS), cpu.embed(TEXTS)).min() > 0.9999


def test_a_vector_hardly_depends_on_its_batch_mates(gpu: OnnxEncoder) -> None:
    alone = np.concatenate([gpu.embed([text]) for text in TEXTS[::20]])

    assert cosines(gpu.embed(TEXTS)[::20], alone).min() > 0.9999


def test_a_full_device_is_given_less_at_a_time(gpu: OnnxEncoder, caplog: pytest.LogCaptureFixture) -> None:
    torch = pytest.importorskip("torch")
    expected = gpu.embed(TEXTS)
    with OnnxEncoder(gpu.artifact, provider="cuda") as other:
        other.embed(TEXTS[:1])
        free, _ = torch.cuda.mem_get_info()
        taken = torch.empty(free - 120 * 2**20, dtype=torch.uint8, device="cuda")
        found = other.embed(TEXTS)
        del taken
        torch.cuda.empty_cache()

    assert "out of memory, embedding fewer texts in a call" in caplog.text
    assert cosines(found, expected).min() > 0.9999


def test_a_hidden_device_is_said_and_the_cpu_goes_on() -> None:
    script = (
        "from ingest.encoder.artifact import read_artifact\n"
        "from ingest.encoder.onnx import OnnxEncoder\n"
        "from tests.artifacts import default_artifact\n"
        "encoder = OnnxEncoder(read_artifact(default_artifact('fp16')))\n"
        "print(encoder.provider, encoder.embed(['one']).shape)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )

    assert done.stdout == "CPUExecutionProvider (1, 384)\n", done.stderr  # not a word of onnxruntime's
    assert "cuda did not start, embedding on the CPU" in done.stderr
