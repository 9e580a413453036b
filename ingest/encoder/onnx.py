"""Runs an encoder artifact with onnxruntime.

On a CPU, texts of one length go together, so nothing is padded and a vector does not depend on the texts beside it:
quantized artifacts have their ranges in the graph. Several threads share one session. On a GPU, texts of about one
length are padded to large calls.
"""

import logging
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import zip_longest
from types import TracebackType
from typing import Self

import numpy as np

from ingest.chunks import chunks
from ingest.encoder.artifact import Artifact
from ingest.encoder.batches import Batch, of_equal_length, padded_to_longest
from ingest.encoder.cpu import available_cores
from ingest.encoder.protocol import Vectors
from ingest.encoder.session import CPU, Provider, open_session
from ingest.encoder.tokens import Ids, Piece, TextTokenizer
from ingest.encoder.tuning import BUDGETS, quickest, read_budget
from ingest.errors import ArtifactError, UnavailableError
from ingest.metrics import EMBED_SECONDS, EMBEDDED_TEXTS, EMBEDDED_TOKENS, measured

CPU_TOKENS = 384  # per call: more spill the cache of a core, fewer leave its products short of rows
DEVICE_TOKENS = 32_768  # per call: more is no faster, and pads more
LEAST_TOKENS = 1_024  # per call where memory is short
AHEAD = 512  # texts that are tokenized while a device embeds as many
_MASKED = frozenset({"fp32", "fp16", "accurate"})  # recipes whose graphs can tell padding from text
# CUDA's words, those of onnxruntime's arena without and with a limit, cuBLAS's, and the standard library's.
_NO_MEMORY = re.compile("out of memory|allocate memory|smaller than requested|ALLOC_FAILED|bad.alloc", re.IGNORECASE)
_SAME = 0.999  # the least cosine of a text's vectors, alone and beside a longer one
_CANCELLED = 1e-6  # a sum of piece vectors shorter than this has no direction

logger = logging.getLogger(__name__)


class OnnxEncoder:
    """Text to unit vectors on the CPU or a CUDA GPU; implements `Encoder`. Build it after a fork, never before.

    `threads` are the calls of the model made at a time by one call of `embed`, the calling thread included; 0 takes the
    cores this process may use. `padded` puts texts of different lengths into one call, None does where a GPU runs them.
    """

    def __init__(
        self, artifact: Artifact, *, threads: int = 0, provider: Provider = "auto", padded: bool | None = None
    ) -> None:
        self._artifact = artifact
        self._tokenizer = TextTokenizer(artifact)
        self._session = open_session(artifact, provider)
        self._inputs = [given.name for given in self._session.get_inputs()]
        self._padded = self.provider != CPU if padded is None else padded
        if self._padded and artifact.manifest.recipe not in _MASKED:
            raise ArtifactError(f"the recipe {artifact.manifest.recipe} reads texts of one length; export fp16 or fp32")
        self._budget = DEVICE_TOKENS if self._padded else read_budget(artifact.folder) or CPU_TOKENS
        self._threads = 1 if self._padded else threads or available_cores()
        # The calling thread works too: a query neither waits for a pool nor queues behind somebody else's batch.
        self._pool = ThreadPoolExecutor(max(1, self._threads - 1), thread_name_prefix="encoder")
        self._closed = False
        if self._padded:
            self._check_padding()

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

    def _check_padding(self) -> None:
        """Raise ArtifactError where padding changes a vector: onnxruntime 1.24 overlooks the lengths of texts."""
        short, long = self._tokenizer.pieces(["a", "a " * 12])
        (alone,) = padded_to_longest([short], self._budget, pad=self._tokenizer.pad, multiple=1)
        (together,) = padded_to_longest([short, long], self._budget, pad=self._tokenizer.pad)
        vector = self.run(together)[list(together.rows).index(0)]
        if vector @ self.run(alone)[0] < _SAME:
            raise ArtifactError("this onnxruntime does not tell padding from text; install a newer one")

    @property
    def padded(self) -> bool:
        """Whether texts of different lengths share a call of the model."""
        return self._padded

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
        size = AHEAD if self._padded else len(texts)
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
        waiting = deque(self._batches(pieces))
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

    def _batches(self, pieces: Sequence[Piece]) -> Iterator[Batch]:
        if self._padded:
            return padded_to_longest(pieces, self._budget, pad=self._tokenizer.pad)
        return of_equal_length(pieces, self._budget)

    def _helpers(self, work: Callable[[], None], n: int) -> list[Future[None]]:
        try:
            return [self._pool.submit(work) for _ in range(n)]
        except RuntimeError as error:  # closed since `embed` looked
            raise UnavailableError("the encoder is closed; take a new one from the library") from error

    def run(self, batch: Batch) -> Vectors:
        """Vectors of one batch, `(rows, dimensions)`; what a device has no memory for goes in halves.

        Raises UnavailableError when onnxruntime fails, and ArtifactError when the model returns something else.
        """
        try:
            vectors = self._call({"input_ids": batch.ids, "attention_mask": batch.mask})
        except Exception as error:  # onnxruntime's exceptions share no other parent
            if len(batch.rows) > 1 and _NO_MEMORY.search(str(error)):
                vectors = np.concatenate([self.run(half) for half in batch.halves()])
                self._shrink(batch.ids.size // 2)
                return vectors
            raise UnavailableError(f"onnxruntime could not run {self._artifact.model}: {error}") from error
        if vectors.shape != (len(batch.rows), self.dimensions) or not np.isfinite(vectors).all():
            raise ArtifactError(f"{self._artifact.model} returned something that is no vector; export the model again")
        return vectors

    def _shrink(self, tokens: int) -> None:
        """Make later calls no larger than what fitted, within reason: a shortage may pass, and tiny calls are slow."""
        fitted = max(tokens, LEAST_TOKENS)
        if fitted < self._budget:
            self._budget = fitted
            logger.warning("out of memory, embedding fewer texts in a call", extra={"tokens": fitted})

    def _call(self, given: Mapping[str, Ids]) -> Vectors:
        binding = self._session.io_binding()
        for name in self._inputs:
            binding.bind_cpu_input(name, given[name])
        binding.bind_output("vector")  # on the CPU: only finished vectors leave a device
        self._session.run_with_iobinding(binding)
        vectors: Vectors = binding.get_outputs()[0].numpy()
        return vectors

    def measure_budget(self, budgets: Sequence[int] = BUDGETS) -> int:
        """The least tokens per call that are nearly as fast as the best, tried here and now for a second or less."""
        return quickest(budgets, lambda ids: self.run(Batch(rows=range(len(ids)), ids=ids, mask=np.ones_like(ids))))

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
