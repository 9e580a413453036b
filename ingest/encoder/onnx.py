"""Runs an encoder artifact with onnxruntime: the only place that does.

One text per call, so nothing is padded and a vector never depends on the texts beside it: dynamic int8 takes the range
of its activations from the whole call. Several threads share one session.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Literal, Self

import numpy as np
import onnxruntime

from ingest.encoder.artifact import Artifact
from ingest.encoder.processor import available_cores, needs_reduced_range
from ingest.encoder.protocol import Vectors
from ingest.encoder.tokens import Ids, Piece, TextTokenizer
from ingest.errors import ArtifactError, UnavailableError

Provider = Literal["auto", "cpu", "cuda"]

_CANCELLED = 1e-6  # a sum of piece vectors shorter than this has no direction

logger = logging.getLogger(__name__)


class OnnxEncoder:
    """Text to unit vectors on the CPU or a CUDA GPU; implements `Encoder`. Build it after a fork, never before.

    `threads` are the texts embedded at a time by one call of `embed`, the calling thread included; 0 takes the cores
    this process may use.
    """

    def __init__(self, artifact: Artifact, *, threads: int = 0, provider: Provider = "auto") -> None:
        self._artifact = artifact
        self._tokenizer = TextTokenizer(artifact)
        self._session = _open_session(artifact, _choose_provider(provider, artifact.manifest.recipe))
        self._threads = threads or available_cores()
        # The calling thread works too: a query neither waits for a pool nor queues behind somebody else's batch.
        self._pool = ThreadPoolExecutor(max(1, self._threads - 1), thread_name_prefix="encoder")
        self._closed = False

    @property
    def fingerprint(self) -> str:
        """Hash over the artifact's files: equal fingerprints give equal vectors."""
        return self._artifact.fingerprint

    @property
    def dimensions(self) -> int:
        """Length of every vector."""
        return self._artifact.manifest.dimensions

    @property
    def artifact(self) -> Artifact:
        """What this encoder runs."""
        return self._artifact

    @property
    def provider(self) -> str:
        """The execution provider onnxruntime chose first, like CPUExecutionProvider."""
        return str(self._session.get_providers()[0])

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return `(n, dimensions)` float32, unit length, row i for text i, whatever the other texts are.

        Equal texts are embedded once. Raises UnavailableError when the encoder is closed or onnxruntime fails, and
        ArtifactError when the model returns something that is no vector.
        """
        if self._closed:
            raise UnavailableError("the encoder is closed; take a new one from the library")
        distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        if not distinct:
            return np.zeros((0, self.dimensions), np.float32)
        pieces = self._tokenizer.pieces(list(distinct))
        vectors = _joined(pieces, self._run_all(pieces), len(distinct))
        return vectors if len(distinct) == len(texts) else vectors[[distinct[text] for text in texts]]

    def _run_all(self, pieces: Sequence[Piece]) -> Vectors:
        """Vectors of the pieces, `(n, dimensions)`; the longest pieces go first, so that no thread ends on one."""
        order = sorted(range(len(pieces)), key=lambda row: pieces[row].ids.shape[1], reverse=True)
        waiting = deque(order)
        vectors = np.empty((len(pieces), self.dimensions), np.float32)

        def drain() -> None:
            try:
                for row in _taken(waiting):
                    vectors[row] = self._run(pieces[row].ids)
            except BaseException:
                waiting.clear()
                raise

        helpers = self._helpers(drain, min(self._threads, len(pieces)) - 1)
        try:
            drain()
        finally:
            # A helper that has not started by now sits behind another call's work and has nothing left to do here.
            running = [helper for helper in helpers if not helper.cancel()]
        for helper in running:
            helper.result()
        return vectors

    def _helpers(self, work: Callable[[], None], n: int) -> list[Future[None]]:
        try:
            return [self._pool.submit(work) for _ in range(n)]
        except RuntimeError as error:  # closed since `embed` looked
            raise UnavailableError("the encoder is closed; take a new one from the library") from error

    def _run(self, ids: Ids) -> Vectors:
        try:
            (vectors,) = self._session.run(["vector"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        except Exception as error:  # onnxruntime's exceptions share no other parent
            raise UnavailableError(f"onnxruntime could not run {self._artifact.model}: {error}") from error
        if vectors.shape != (1, self.dimensions) or not np.isfinite(vectors).all():
            raise ArtifactError(f"{self._artifact.model} returned something that is no vector; export the model again")
        vector: Vectors = vectors[0]
        return vector

    def close(self) -> None:
        """Let go of the threads; calls that run are finished first, later ones raise UnavailableError."""
        self._closed = True
        self._pool.shutdown(wait=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _taken(waiting: deque[int]) -> Iterator[int]:
    """What is left in the queue, one by one; several threads may take from it."""
    while True:
        try:
            row = waiting.popleft()
        except IndexError:
            return
        yield row


def _joined(pieces: Sequence[Piece], vectors: Vectors, n: int) -> Vectors:
    """Mean of each text's piece vectors by length in tokens, normalised; `(n, d)` float32."""
    if len(pieces) == n:
        return vectors
    owners = np.array([piece.text for piece in pieces])
    weights = np.array([[piece.weight] for piece in pieces], np.float32)
    firsts = np.searchsorted(owners, np.arange(n))
    counts = np.diff(np.append(firsts, len(pieces)))
    sums: Vectors = np.add.reduceat(vectors * weights, firsts, axis=0)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    # A text of one piece keeps the model's own vector, bit for bit; pieces that cancel out leave the first.
    alone = (counts == 1) | (norms[:, 0] < _CANCELLED)
    means = sums / np.maximum(norms, _CANCELLED)
    return np.where(alone[:, None], vectors[firsts], means).astype(np.float32)


def _choose_provider(wanted: Provider, recipe: str) -> list[str]:
    cpu = ["CPUExecutionProvider"]
    if wanted == "cpu":
        return cpu
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if wanted == "cuda" and not has_cuda:
        logger.warning("cuda is not available, embedding on the CPU", extra={"remedy": "install akin[gpu]"})
        return cpu
    if has_cuda and wanted == "auto" and recipe != "fp32":
        # Dynamic int8 has no CUDA kernels: every such node would go to the CPU and back.
        logger.warning("cuda cannot run this recipe, embedding on the CPU", extra={"recipe": recipe, "remedy": "fp32"})
        return cpu
    return ["CUDAExecutionProvider", *cpu] if has_cuda else cpu


def _open_session(artifact: Artifact, providers: list[str]) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # Threads come from the callers: one-thread calls side by side are faster than one call on several threads.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = False  # it remembers one plan per text length and saves no time
    options.log_severity_level = 3
    if artifact.manifest.recipe != "fp32" and needs_reduced_range() and not artifact.manifest.reduced_range:
        # Exported on another kind of processor: without this, products of large weights would saturate unnoticed.
        options.add_session_config_entry("session.x64quantprecision", "1")
        logger.warning("encoder was exported for another processor, embedding runs slower", extra={"remedy": "export"})
    try:
        session = onnxruntime.InferenceSession(
            str(artifact.model), options, providers=providers, disabled_optimizers=["SkipLayerNormFusion"]
        )
    except Exception as error:  # onnxruntime's exceptions share no other parent
        raise ArtifactError(f"onnxruntime cannot load {artifact.model}: {error}; export the model again") from error
    if session.get_providers()[0] != providers[0]:
        logger.warning("cuda did not start, embedding on the CPU", extra={"remedy": "check driver and CUDA libraries"})
    return session
