"""Runs an encoder artifact with onnxruntime: the only place that does.

On a CPU, texts of one length go together, so nothing is padded and a vector does not depend on the texts beside it:
quantized artifacts have their ranges in the graph. Several threads share one session. On a GPU, texts of about one
length are padded to large calls.
"""

import io
import logging
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, redirect_stdout
from itertools import zip_longest
from types import TracebackType
from typing import Literal, Self

import numpy as np
import onnxruntime

from ingest.encoder.artifact import Artifact
from ingest.encoder.batches import Batch, of_equal_length, padded_to_longest
from ingest.encoder.processor import available_cores, needs_reduced_range
from ingest.encoder.protocol import Vectors
from ingest.encoder.tokens import Ids, Piece, TextTokenizer
from ingest.encoder.tuning import BUDGETS, quickest, read_budget
from ingest.errors import ArtifactError, UnavailableError
from ingest.metrics import EMBED_SECONDS, EMBEDDED_TEXTS, EMBEDDED_TOKENS, measured

Provider = Literal["auto", "cpu", "cuda"]

CPU_TOKENS = 384  # per call: more spill the cache of a core, fewer leave its products short of rows
DEVICE_TOKENS = 32_768  # per call: more is no faster, and pads more
AHEAD = 512  # texts that are tokenized while a device embeds as many
_WHOLE = frozenset({"int8", "fast"})  # products of whole numbers
_ON_DEVICE = frozenset({"fp32", "fp16"})
_MASKED = frozenset({"fp32", "fp16", "accurate"})  # recipes whose graphs can tell padding from text
_CPU = "CPUExecutionProvider"
_NO_MEMORY = re.compile("out of memory|allocate memory|bad_alloc|bad allocation", re.IGNORECASE)
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
        self._session = _open_session(artifact, _choose_provider(provider, artifact.manifest.recipe))
        self._inputs = [given.name for given in self._session.get_inputs()]
        self._padded = self.provider != _CPU if padded is None else padded
        if self._padded and artifact.manifest.recipe not in _MASKED:
            raise ArtifactError(f"the recipe {artifact.manifest.recipe} reads texts of one length; export fp16 or fp32")
        self._budget = DEVICE_TOKENS if self._padded else read_budget(artifact.folder) or CPU_TOKENS
        self._threads = 1 if self._padded else threads or available_cores()
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
        windows = [texts[first : first + size] for first in range(0, len(texts), size)]
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
                self._budget = min(self._budget, batch.ids.size // 2)
                logger.warning("out of memory, embedding fewer texts in a call", extra={"tokens": self._budget})
                return np.concatenate([self.run(half) for half in batch.halves()])
            raise UnavailableError(f"onnxruntime could not run {self._artifact.model}: {error}") from error
        if vectors.shape != (len(batch.rows), self.dimensions) or not np.isfinite(vectors).all():
            raise ArtifactError(f"{self._artifact.model} returned something that is no vector; export the model again")
        return vectors

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


def offers_cuda() -> bool:
    """Whether the onnxruntime that is installed can use a GPU; the GPU itself may still be missing."""
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def _choose_provider(wanted: Provider, recipe: str) -> list[str]:
    cpu = ["CPUExecutionProvider"]
    if wanted == "cpu":
        return cpu
    if not offers_cuda():
        if wanted == "cuda":
            logger.warning("cuda is not available, embedding on the CPU", extra={"remedy": "docs/how-to/gpu.md"})
        return cpu
    if recipe not in _ON_DEVICE:
        # int8 products have no CUDA kernels: every such node would go to the CPU and back.
        logger.warning("cuda cannot run this recipe, embedding on the CPU", extra={"recipe": recipe, "remedy": "fp16"})
        return cpu
    onnxruntime.preload_dlls()  # the CUDA libraries may lie in packages beside it
    return ["CUDAExecutionProvider", *cpu]


def _open_session(artifact: Artifact, providers: list[str]) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # Threads come from the callers: one-thread calls side by side are faster than one call on several threads.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = False  # it remembers one plan per text length and saves no time
    options.log_severity_level = 3
    if artifact.manifest.recipe in _WHOLE and needs_reduced_range() and not artifact.manifest.reduced_range:
        # Exported on another kind of processor: without this, products of large weights would saturate unnoticed.
        options.add_session_config_entry("session.x64quantprecision", "1")
        logger.warning("encoder was exported for another processor, embedding runs slower", extra={"remedy": "export"})
    said = io.StringIO()
    try:
        # onnxruntime prints why a provider did not start, and standard output is not its own.
        with redirect_stdout(said) if len(providers) > 1 else nullcontext():
            session = onnxruntime.InferenceSession(
                str(artifact.model), options, providers=providers, disabled_optimizers=["SkipLayerNormFusion"]
            )
    except Exception as error:  # onnxruntime's exceptions share no other parent
        raise ArtifactError(f"onnxruntime cannot load {artifact.model}: {error}; export the model again") from error
    if session.get_providers()[0] != providers[0]:
        reason = " ".join(said.getvalue().replace("*", "").split())
        logger.warning(
            "cuda did not start, embedding on the CPU",
            extra={"reason": reason, "remedy": "check driver and CUDA libraries"},
        )
    return session
