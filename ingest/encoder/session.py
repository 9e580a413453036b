"""Runs an artifact with onnxruntime: on which device, and how."""

import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout

import numpy as np
import onnxruntime

from ingest.encoder.artifact import Artifact
from ingest.encoder.batches import Batch, of_equal_length, of_like_length
from ingest.encoder.cpu import needs_reduced_range
from ingest.encoder.protocol import Vectors
from ingest.encoder.tokens import Ids, Piece
from ingest.errors import ArtifactError

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
_WHOLE = frozenset({"int8", "fast"})  # products of whole numbers
_ON_DEVICE = frozenset({"fp32", "fp16"})
_MASKED = frozenset({"fp32", "fp16", "accurate"})  # recipes whose graphs can tell padding from text
_CPU_TOKENS = 384  # per call: more spill the cache of a core, fewer leave its products short of rows
_DEVICE_TOKENS = 32_768  # per call: more is no faster, and pads more
PADDED_TO = 8  # texts are padded to a multiple of so many tokens
_SAME = 0.999  # the least cosine of a text's vectors, alone and beside a longer one

logger = logging.getLogger(__name__)


def offers_cuda() -> bool:
    """Whether the onnxruntime that is installed can use a GPU; the GPU itself may still be missing."""
    return CUDA in onnxruntime.get_available_providers()


class SessionEngine:
    """Implements `Engine`.

    On a CPU, texts of one length share a call, so nothing is padded. On a GPU, or where `padded` says so, texts of
    about one length do, filled up with the id `pad`. Raises ArtifactError where the artifact cannot be run in that way.
    """

    def __init__(self, artifact: Artifact, *, on_gpu: bool, padded: bool | None, pad: int) -> None:
        self._session = _open_session(artifact, on_gpu=on_gpu)
        self._inputs = [given.name for given in self._session.get_inputs()]
        self._pad = pad
        self._padded = self.provider != CPU if padded is None else padded
        if self._padded and artifact.manifest.recipe not in _MASKED:
            raise ArtifactError(f"the recipe {artifact.manifest.recipe} reads texts of one length; export fp16 or fp32")
        if self._padded:
            self._check_padding()

    @property
    def provider(self) -> str:
        """The execution provider onnxruntime chose first, like CPUExecutionProvider."""
        return str(self._session.get_providers()[0])

    @property
    def padded(self) -> bool:
        """Whether texts of different lengths share a call, as only a GPU likes them to."""
        return self._padded

    @property
    def tokens_per_call(self) -> int:
        """How many a call should hold where nothing was measured."""
        return _DEVICE_TOKENS if self._padded else _CPU_TOKENS

    def batches(self, pieces: Sequence[Piece], budget: int) -> Iterator[Batch]:
        """Pieces of one length, or of about one."""
        return of_like_length(pieces, budget, multiple=PADDED_TO) if self._padded else of_equal_length(pieces, budget)

    def run(self, batch: Batch) -> Vectors:
        """Vectors, `(rows, dimensions)`."""
        return self.call(*batch.table(pad=self._pad, multiple=PADDED_TO if self._padded else 1))

    def call(self, ids: Ids, mask: Ids) -> Vectors:
        """Run the model on `(n, tokens)` ids and their mask."""
        given = {"input_ids": ids, "attention_mask": mask}
        binding = self._session.io_binding()
        for name in self._inputs:
            binding.bind_cpu_input(name, given[name])
        binding.bind_output("vector")  # on the CPU: only finished vectors leave a device
        self._session.run_with_iobinding(binding)
        vectors: Vectors = binding.get_outputs()[0].numpy()
        return vectors

    def _check_padding(self) -> None:
        """Raise ArtifactError where padding changes a vector: onnxruntime 1.24 overlooks the lengths of texts."""
        text = np.arange(1, 4, dtype=np.int64)
        (alone,) = self.call(text[None], np.ones((1, 3), np.int64))
        longer = np.stack([np.pad(text, (0, 13), constant_values=self._pad), np.resize(text, 16)])
        mask = np.stack([np.arange(16) < len(text), np.ones(16, bool)]).astype(np.int64)
        if self.call(longer, mask)[0] @ alone < _SAME:
            raise ArtifactError("this onnxruntime does not tell padding from text; install a newer one")


def _open_session(artifact: Artifact, *, on_gpu: bool) -> onnxruntime.InferenceSession:
    """The artifact's model on a GPU where that starts, and else on the CPU; raises ArtifactError."""
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
    try:
        session = _start_on_gpu(artifact, options) if on_gpu else None
        return session or _session(artifact, options, CPU)
    except Exception as error:  # onnxruntime's exceptions share no other parent
        raise ArtifactError(f"onnxruntime cannot load {artifact.model}: {error}; export the model again") from error


def is_for_gpu(recipe: str, *, asked: bool) -> bool:
    """Whether a GPU should be tried; a warning says why not, where it was asked for or is there."""
    if not offers_cuda():
        if asked:
            remedy = "install onnxruntime-gpu in the place of onnxruntime"
            logger.warning("cuda is not available, embedding on the CPU", extra={"remedy": remedy})
        return False
    if recipe not in _ON_DEVICE:
        # int8 products have no CUDA kernels: every such node would go to the CPU and back.
        logger.warning("cuda cannot run this recipe, embedding on the CPU", extra={"recipe": recipe, "remedy": "fp16"})
        return False
    return True


def _start_on_gpu(artifact: Artifact, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession | None:
    """A session on a GPU; None where it does not start, which is said."""
    said = io.StringIO()
    try:
        with redirect_stdout(said):  # where it says which libraries it did not find
            onnxruntime.preload_dlls()  # the CUDA libraries may lie in packages beside it
        session = _session(artifact, options, CUDA, CPU)
        if session.get_providers()[0] == CUDA:
            return session
        reason = " ".join(said.getvalue().split()) or "onnxruntime says why on standard error"
    except (RuntimeError, ValueError) as error:  # what onnxruntime itself takes for a device that does not start
        reason = str(error)
    logger.warning(
        "cuda did not start, embedding on the CPU",
        extra={"reason": reason, "remedy": "check the driver, and the CUDA libraries, which the extra `gpu` brings"},
    )
    return None


def _session(artifact: Artifact, options: onnxruntime.SessionOptions, *providers: str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        str(artifact.model),
        options,
        providers=list(providers),
        disabled_optimizers=["SkipLayerNormFusion"],
        enable_fallback=0,  # it would print to standard output, and forget about the optimizer
    )
