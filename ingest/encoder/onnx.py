"""Texts to vectors by an encoder artifact: tokens, calls of the model by several threads, long texts put together.

On a CPU nothing is padded, so a vector does not depend on the texts beside it: quantized artifacts have their ranges in
the graph. On a GPU, texts of about one length are padded to large calls.
"""

import logging
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import zip_longest
from types import TracebackType
from typing import Self

import numpy as np

from ingest.chunks import chunks
from ingest.encoder.artifact import Artifact
from ingest.encoder.batches import Batch
from ingest.encoder.cpu import available_cores
from ingest.encoder.engines import open_engine
from ingest.encoder.protocol import Vectors
from ingest.encoder.tokens import Piece, TextTokenizer
from ingest.encoder.tuning import BUDGETS, quickest, read_budget
from ingest.errors import ArtifactError, UnavailableError
from ingest.metrics import EMBED_SECONDS, EMBEDDED_TEXTS, EMBEDDED_TOKENS, measured
from ingest.settings import Provider

LEAST_TOKENS = 1_024  # per call where memory is short
LEAST_SHARE = 128  # tokens of a call that is made smaller so that every thread has one
AHEAD = 512  # texts that are tokenized while a device embeds as many
# CUDA's words, those of onnxruntime's arena without and with a limit, cuBLAS's, and the standard library's.
_NO_MEMORY = re.compile("out of memory|allocate memory|smaller than requested|ALLOC_FAILED|bad.alloc", re.IGNORECASE)
_CANCELLED = 1e-6  # a sum of piece vectors shorter than this has no direction

logger = logging.getLogger(__name__)


class OnnxEncoder:
    """Text to unit vectors; implements `Encoder`. Build it after a fork, never before.

    `threads` are the calls of the model made at a time by one call of `embed`, the calling thread included; 0 takes the
    cores this process may use. `provider` and `padded` are those of `open_engine`.
    """

    def __init__(
        self, artifact: Artifact, *, threads: int = 0, provider: Provider = "auto", padded: bool | None = None
    ) -> None:
        self._artifact = artifact
        self._tokenizer = TextTokenizer(artifact)
        self._engine = open_engine(artifact, provider, padded=padded, pad=self._tokenizer.pad)
        tuned = None if self.padded else read_budget(artifact.folder, self.provider)
        self._budget = tuned or self._engine.tokens_per_call
        self._threads = 1 if self.padded else threads or available_cores()
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
        """What runs the model: an execution provider of onnxruntime, or the instructions of akin's own kernels."""
        return self._engine.provider

    @property
    def padded(self) -> bool:
        """Whether texts of different lengths are padded to share a call of the model, as on a GPU."""
        return self._engine.padded

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return `(n, dimensions)` float32, unit length, row i for text i, whatever the other texts are.

        Equal texts are embedded once. Raises UnavailableError when the encoder is closed or the engine fails, and
        ArtifactError when the model returns something that is no vector.
        """
        if self._closed:
            raise UnavailableError("the encoder is closed; take a new one from the library")
        distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        if not distinct:
            return np.zeros((0, self.dimensions), np.float32)
        with measured("embed", EMBED_SECONDS):
            parts = []
            for pieces, n in self._tokenized(list(distinct)):
                parts.append(_joined(pieces, self._run_all(pieces), n))
                EMBEDDED_TOKENS.inc(sum(piece.ids.shape[1] for piece in pieces))
        vectors = parts[0] if len(parts) == 1 else np.concatenate(parts)
        EMBEDDED_TEXTS.inc(len(distinct))
        return vectors if len(distinct) == len(texts) else vectors[[distinct[text] for text in texts]]

    def _tokenized(self, texts: Sequence[str]) -> Iterator[tuple[list[Piece], int]]:
        """The texts' pieces by windows, with how many texts each holds.

        Beside a device the next window is tokenized while one is embedded; a CPU has no core to spare for that.
        """
        size = AHEAD if self.padded else len(texts)
        windows = list(chunks(texts, size))
        if len(windows) == 1:
            yield self._tokenizer.pieces(texts), len(texts)
            return
        with ThreadPoolExecutor(1, thread_name_prefix="tokenizer") as ahead:
            coming = ahead.submit(self._tokenizer.pieces, windows[0])
            for window, following in zip_longest(windows, windows[1:]):
                pieces = coming.result()
                if following is not None:
                    coming = ahead.submit(self._tokenizer.pieces, following)
                yield pieces, len(window)

    def _run_all(self, pieces: Sequence[Piece]) -> Vectors:
        """Vectors of the pieces, `(n, dimensions)`; the longest pieces go first, so that no thread ends on one."""
        waiting = deque(self._engine.batches(pieces, self._share(pieces)))
        vectors = np.empty((len(pieces), self.dimensions), np.float32)

        def drain() -> None:
            try:
                for batch in _taken(waiting):
                    vectors[batch.rows] = self.run(batch)
            except BaseException:
                waiting.clear()
                raise

        helpers = self._helpers(drain, min(self._threads, len(waiting)) - 1)
        try:
            drain()
        finally:
            # A helper that has not started by now sits behind another call's work and has nothing left to do here.
            running = [helper for helper in helpers if not helper.cancel()]
        for helper in running:
            helper.result()
        return vectors

    def _share(self, pieces: Sequence[Piece]) -> int:
        """Tokens per call: as measured, or fewer where some threads would have nothing to do."""
        tokens = sum(piece.ids.shape[1] for piece in pieces)
        return min(self._budget, max(LEAST_SHARE, -(-tokens // self._threads))) if self._threads > 1 else self._budget

    def _helpers(self, work: Callable[[], None], n: int) -> list[Future[None]]:
        try:
            return [self._pool.submit(work) for _ in range(n)]
        except RuntimeError as error:  # closed since `embed` looked
            raise UnavailableError("the encoder is closed; take a new one from the library") from error

    def run(self, batch: Batch) -> Vectors:
        """Vectors of one batch, `(rows, dimensions)`; what a device has no memory for goes in halves.

        Raises UnavailableError when the engine fails, and ArtifactError when the model returns something else.
        """
        try:
            vectors = self._engine.run(batch)
        except Exception as error:  # onnxruntime's exceptions share no other parent
            if len(batch.rows) > 1 and _NO_MEMORY.search(str(error)):
                vectors = np.concatenate([self.run(half) for half in batch.halves()])
                self._shrink(batch.padded_tokens // 2)
                return vectors
            raise UnavailableError(f"{self.provider} could not run {self._artifact.model}: {error}") from error
        if vectors.shape != (len(batch.rows), self.dimensions) or not np.isfinite(vectors).all():
            raise ArtifactError(f"{self._artifact.model} returned something that is no vector; export the model again")
        return vectors

    def _shrink(self, tokens: int) -> None:
        """Make later calls no larger than what fitted, within reason: a shortage may pass, and tiny calls are slow."""
        fitted = max(tokens, LEAST_TOKENS)
        if fitted < self._budget:
            self._budget = fitted
            logger.warning("out of memory, embedding fewer texts in a call", extra={"tokens": fitted})

    def measure_budget(self, budgets: Sequence[int] = BUDGETS) -> int:
        """The least tokens per call that are nearly as fast as the best, tried here and now for a second or less."""
        return quickest(budgets, lambda ids: self.run(Batch(rows=range(len(ids)), ids=[row[None] for row in ids])))

    def use_budget(self, tokens: int) -> None:
        """Give the model this many tokens per call, where so many texts have one length."""
        self._budget = tokens

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


def _taken(waiting: deque[Batch]) -> Iterator[Batch]:
    """What is left in the queue, one by one; several threads may take from it."""
    while True:
        try:
            batch = waiting.popleft()
        except IndexError:
            return
        yield batch


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
