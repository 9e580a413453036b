"""Artifacts that several tests read and none may change: copy before damaging."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.encoder.artifact import Artifact, read_artifact
from ingest.encoder.onnx import OnnxEncoder
from tests.artifacts import default_artifact, export_tiny, write_tiny_bert


@pytest.fixture(scope="session")
def tiny_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bert(tmp_path_factory.mktemp("tiny-source"))


@pytest.fixture(scope="session")
def tiny_artifact(tiny_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return export_tiny(tiny_source, tmp_path_factory.mktemp("tiny") / "encoder")


@pytest.fixture(scope="session")
def tiny_encoder(tiny_artifact: Artifact) -> Iterator[OnnxEncoder]:
    with OnnxEncoder(tiny_artifact, threads=2) as encoder:
        yield encoder


@pytest.fixture(scope="session", params=["auto", "onnxruntime"])
def default_encoder(request: pytest.FixtureRequest) -> Iterator[OnnxEncoder]:
    with OnnxEncoder(read_artifact(default_artifact()), threads=2, provider=request.param) as encoder:
        yield encoder
