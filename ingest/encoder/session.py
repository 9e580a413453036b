"""Opens an artifact with onnxruntime: on which device, and how."""

import io
import logging
from contextlib import redirect_stdout
from typing import Literal

import onnxruntime

from ingest.encoder.artifact import Artifact
from ingest.encoder.cpu import needs_reduced_range
from ingest.errors import ArtifactError

Provider = Literal["auto", "cpu", "cuda"]

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
_WHOLE = frozenset({"int8", "fast"})  # products of whole numbers
_ON_DEVICE = frozenset({"fp32", "fp16"})

logger = logging.getLogger(__name__)


def offers_cuda() -> bool:
    """Whether the onnxruntime that is installed can use a GPU; the GPU itself may still be missing."""
    return CUDA in onnxruntime.get_available_providers()


def open_session(artifact: Artifact, wanted: Provider) -> onnxruntime.InferenceSession:
    """The artifact's model, ready to run, on a GPU where one is wanted and can be used; raises ArtifactError.

    Where a GPU is passed over a warning says why.
    """
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
        session = _start_on_gpu(artifact, options) if _is_for_gpu(wanted, artifact.manifest.recipe) else None
        return session or _session(artifact, options, CPU)
    except Exception as error:  # onnxruntime's exceptions share no other parent
        raise ArtifactError(f"onnxruntime cannot load {artifact.model}: {error}; export the model again") from error


def _is_for_gpu(wanted: Provider, recipe: str) -> bool:
    if wanted == "cpu":
        return False
    if not offers_cuda():
        if wanted == "cuda":
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
