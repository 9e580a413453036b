import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ingest.encoder.artifact import MODEL, Artifact, read_artifact
from ingest.encoder.library import EncoderLibrary
from ingest.errors import ArtifactError, UnavailableError
from tests.artifacts import export_tiny, write_tiny_bert


@pytest.fixture
def exported(tiny_artifact: Artifact, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_artifact.folder, tmp_path / "exported"))


def test_an_installed_encoder_outlives_its_export(exported: Path, tmp_path: Path) -> None:
    with EncoderLibrary(tmp_path) as library:
        artifact = library.install(exported)
        before = library.get(artifact.fingerprint).embed(["red river"])
    (exported / MODEL).write_bytes(b"overwritten in place")
    shutil.rmtree(exported)

    with EncoderLibrary(tmp_path) as library:
        assert np.array_equal(library.get(artifact.fingerprint).embed(["red river"]), before)


def test_two_encoders_stand_side_by_side(exported: Path, tmp_path: Path) -> None:
    other = export_tiny(write_tiny_bert(tmp_path / "source", pooling="cls"), tmp_path / "other")

    with EncoderLibrary(tmp_path) as library:
        first, second = library.install(exported), library.install(other.folder)

        assert first.fingerprint != second.fingerprint
        assert library.get(first.fingerprint).fingerprint == first.fingerprint
        assert library.get(second.fingerprint).fingerprint == second.fingerprint


def test_installing_again_changes_nothing(exported: Path, tmp_path: Path) -> None:
    with EncoderLibrary(tmp_path) as library:
        first = library.install(exported)
        written = first.model.stat().st_mtime_ns

        assert library.install(exported) == first

    assert first.model.stat().st_mtime_ns == written
    assert [path.name for path in (tmp_path / "encoders").iterdir()] == [first.fingerprint]


def test_installing_mends_a_damaged_copy(exported: Path, tmp_path: Path) -> None:
    with EncoderLibrary(tmp_path) as library:
        kept = library.install(exported)
        kept.model.write_bytes(b"rot")
        with pytest.raises(ArtifactError, match="damaged"):
            library.get(kept.fingerprint)

        library.install(exported)

        assert library.get(kept.fingerprint).dimensions == 32


@pytest.mark.parametrize("fingerprint", ["0" * 64, "", "../exported"])
def test_a_fingerprint_that_is_not_there_says_what_to_do(exported: Path, tmp_path: Path, fingerprint: str) -> None:
    with EncoderLibrary(tmp_path) as library, pytest.raises(ArtifactError, match="install the artifact"):
        library.get(fingerprint)


def test_a_folder_under_a_wrong_name_is_refused(exported: Path, tmp_path: Path) -> None:
    with EncoderLibrary(tmp_path) as library:
        kept = library.install(exported)
        kept.folder.rename(tmp_path / "encoders" / ("f" * 64))

        with pytest.raises(ArtifactError, match="holds the encoder"):
            library.get("f" * 64)


def test_a_missing_export_is_refused(tmp_path: Path) -> None:
    with EncoderLibrary(tmp_path) as library, pytest.raises(ArtifactError, match="akin export-model"):
        library.install(tmp_path / "nowhere")


def test_an_encoder_is_opened_once_whoever_asks(exported: Path, tmp_path: Path) -> None:
    with EncoderLibrary(tmp_path) as library, ThreadPoolExecutor(8) as callers:
        fingerprint = library.install(exported).fingerprint

        assert len(set(callers.map(lambda _: id(library.get(fingerprint)), range(16)))) == 1


def test_installing_from_many_threads_at_once_keeps_one_sound_copy(exported: Path, tmp_path: Path) -> None:
    with EncoderLibrary(tmp_path) as library, ThreadPoolExecutor(8) as callers:
        artifacts = list(callers.map(lambda _: library.install(exported), range(8)))

    assert len({artifact.fingerprint for artifact in artifacts}) == 1
    assert [path.name for path in (tmp_path / "encoders").iterdir()] == [artifacts[0].fingerprint]
    assert read_artifact(artifacts[0].folder).fingerprint == artifacts[0].fingerprint


def test_closing_the_library_closes_its_encoders(exported: Path, tmp_path: Path) -> None:
    with EncoderLibrary(tmp_path) as library:
        encoder = library.get(library.install(exported).fingerprint)

    with pytest.raises(UnavailableError):
        encoder.embed(["one"])
    with pytest.raises(UnavailableError):
        library.get(encoder.fingerprint)
