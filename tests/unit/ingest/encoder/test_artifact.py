import dataclasses
import json
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from ingest.encoder.artifact import MANIFEST, MODEL, TOKENIZER, Artifact, fingerprint, read_artifact
from ingest.encoder.folders import replaced_folder
from ingest.errors import ArtifactError


@pytest.fixture
def copy(tiny_artifact: Artifact, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_artifact.folder, tmp_path / "copy"))


def edit_manifest(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | changes))


def test_a_sound_folder_is_read_with_what_it_says(tiny_artifact: Artifact, copy: Path) -> None:
    artifact = read_artifact(copy)

    assert artifact.manifest == tiny_artifact.manifest
    assert artifact.fingerprint == tiny_artifact.fingerprint
    assert (artifact.manifest.dimensions, artifact.manifest.max_tokens) == (32, 16)
    assert artifact.manifest.licence == "mit"


def test_a_missing_folder_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"akin export-model --out .*nowhere"):
        read_artifact(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [MODEL, TOKENIZER, MANIFEST])
def test_a_missing_file_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink()

    with pytest.raises(ArtifactError, match="again"):
        read_artifact(copy)


@pytest.mark.parametrize("name", [MODEL, TOKENIZER, MANIFEST])
def test_a_truncated_file_is_refused(copy: Path, name: str) -> None:
    (copy / name).write_bytes((copy / name).read_bytes()[:100])

    with pytest.raises(ArtifactError, match="again"):
        read_artifact(copy)


@pytest.mark.parametrize("name", [MODEL, TOKENIZER])
def test_one_flipped_bit_is_refused(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)

    with pytest.raises(ArtifactError, match=name):
        read_artifact(copy)


def test_a_tokenizer_of_another_model_is_refused(copy: Path) -> None:
    tokenizer = json.loads((copy / TOKENIZER).read_text())
    tokenizer["model"]["vocab"] = dict(reversed(tokenizer["model"]["vocab"].items()))
    (copy / TOKENIZER).write_text(json.dumps(tokenizer))

    with pytest.raises(ArtifactError, match=TOKENIZER):
        read_artifact(copy)


def test_an_unknown_format_asks_for_a_new_export(copy: Path) -> None:
    edit_manifest(copy, format=99)

    with pytest.raises(ArtifactError, match=r"99.*export again"):
        read_artifact(copy)


@pytest.mark.parametrize("changes", [{"dimensions": "many"}, {"pooling": "max"}, {"files": None}, {"files": {}}])
def test_a_manifest_with_wrong_values_is_refused(copy: Path, changes: dict[str, object]) -> None:
    edit_manifest(copy, **changes)

    with pytest.raises(ArtifactError, match="again"):
        read_artifact(copy)


def test_the_fingerprint_follows_what_changes_vectors_and_nothing_else(tiny_artifact: Artifact) -> None:
    manifest = tiny_artifact.manifest
    other_model = {**manifest.files, MODEL: "0" * 64}

    same = dataclasses.replace(manifest, source="elsewhere", exporter={}, fidelity=None)
    others = [
        dataclasses.replace(manifest, files=other_model),
        dataclasses.replace(manifest, max_tokens=8),
        dataclasses.replace(manifest, pooling="cls"),
    ]

    assert fingerprint(same) == tiny_artifact.fingerprint
    assert len({fingerprint(manifest), *map(fingerprint, others)}) == 4


def test_a_folder_that_fails_half_way_leaves_the_old_one(copy: Path) -> None:
    before = read_artifact(copy).fingerprint

    with suppress(KeyboardInterrupt), replaced_folder(copy) as partial:
        (partial / MODEL).write_bytes(b"half")
        raise KeyboardInterrupt

    assert read_artifact(copy).fingerprint == before
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(ArtifactError, match="something else"), replaced_folder(tmp_path):
        pass

    assert (tmp_path / "thesis.txt").exists()
