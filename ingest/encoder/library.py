"""Keeps every encoder that an index was built with, by fingerprint, and opens each once.

An export that is overwritten never takes away the encoder of a live generation.
"""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

from ingest.encoder.artifact import MANIFEST, MODEL, TOKENIZER, Artifact, Manifest, read_artifact, read_manifest
from ingest.encoder.folders import flush_files
from ingest.encoder.onnx import OnnxEncoder
from ingest.encoder.tuning import keep_budget, read_budget
from ingest.errors import ArtifactError, UnavailableError
from ingest.settings import Provider


class EncoderLibrary:
    """The artifacts under HOME/encoders and their encoders, opened on first use; safe to use from several threads."""

    def __init__(self, home: Path, threads: int = 0, provider: Provider = "auto") -> None:
        self._folder = home / "encoders"
        self._threads = threads
        self._provider = provider
        self._lock = Lock()
        self._open: dict[str, OnnxEncoder] = {}
        self._closed = False

    def install(self, folder: Path) -> Artifact:
        """Check an artifact and keep a copy of it, unless a sound one is kept already; raises ArtifactError."""
        artifact = read_artifact(folder)
        kept = self._folder / artifact.fingerprint
        try:
            return self._read(artifact.fingerprint)
        except ArtifactError:
            self._copy(artifact, kept)
        return read_artifact(kept)

    def get(self, fingerprint: str) -> OnnxEncoder:
        """The encoder with that fingerprint; raises ArtifactError when it was never installed or is damaged."""
        with self._lock:
            if self._closed:
                raise UnavailableError("the encoder library is closed; open a new one")
            if fingerprint not in self._open:
                artifact = self._read(fingerprint)
                self._open[fingerprint] = OnnxEncoder(artifact, threads=self._threads, provider=self._provider)
                _tune(self._open[fingerprint])
            return self._open[fingerprint]

    def manifest(self, fingerprint: str) -> Manifest | None:
        """What the artifact with that fingerprint says of itself; None when it is not here. The model is not read."""
        try:
            return read_manifest(self._folder / fingerprint)
        except ArtifactError:
            return None

    def close(self) -> None:
        """Close every encoder that was opened."""
        with self._lock:
            self._closed = True
            for encoder in self._open.values():
                encoder.close()
            self._open.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, fingerprint: str) -> Artifact:
        folder = self._folder / fingerprint
        remedy = "install the artifact it was built with again, or build a new generation with the present one"
        if not fingerprint.isalnum() or not folder.is_dir():
            raise ArtifactError(f"the encoder {fingerprint[:12]} is not in {self._folder}; {remedy}")
        artifact = read_artifact(folder)
        if artifact.fingerprint != fingerprint:
            raise ArtifactError(f"{folder} holds the encoder {artifact.fingerprint[:12]}; {remedy}")
        return artifact

    def _copy(self, artifact: Artifact, kept: Path) -> None:
        # Copies and not hard links: whoever writes into the exported file in place would change the kept one as well.
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=self._folder))
        try:
            partial.chmod(0o755)
            for name in (MODEL, TOKENIZER, MANIFEST):
                shutil.copyfile(artifact.folder / name, partial / name)
            flush_files(partial)
            self._place(partial, kept)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _place(self, partial: Path, kept: Path) -> None:
        try:
            partial.rename(kept)
        except OSError:
            # Another process was quicker, or what stands there is damaged (install looked before it copied).
            try:
                self._read(kept.name)
            except ArtifactError:
                shutil.rmtree(kept)
                partial.rename(kept)


def _tune(encoder: OnnxEncoder) -> None:
    """Find out once for every processor how much a call should hold; a folder that cannot be written is no error."""
    folder = encoder.artifact.folder
    if encoder.padded or read_budget(folder, encoder.provider) is not None:
        return
    tokens = encoder.measure_budget()
    encoder.use_budget(tokens)
    with suppress(OSError):
        keep_budget(folder, encoder.provider, tokens)
