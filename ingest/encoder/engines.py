"""Chooses what runs an artifact's model."""

from ingest.encoder.artifact import Artifact
from ingest.encoder.engine import Engine
from ingest.encoder.kernels.engine import open_kernels
from ingest.encoder.session import SessionEngine, is_for_gpu
from ingest.settings import Provider


def open_engine(artifact: Artifact, wanted: Provider, *, padded: bool | None = None, pad: int = 0) -> Engine:
    """The artifact's model, ready to run; raises ArtifactError.

    `auto` and `cuda` take a GPU that can run the recipe, `cpu` does not; all three then take akin's own kernels where
    they know the model, and else onnxruntime, which `onnxruntime` takes on the CPU in any case. `padded` puts texts of
    different lengths into one call, None does where a GPU runs them.
    """
    recipe = artifact.manifest.recipe
    on_gpu = wanted in {"auto", "cuda"} and is_for_gpu(recipe, asked=wanted == "cuda")
    kernels = None if on_gpu or padded or wanted == "onnxruntime" else open_kernels(artifact)
    return kernels or SessionEngine(artifact, on_gpu=on_gpu, padded=padded, pad=pad)
