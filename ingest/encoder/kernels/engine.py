"""Runs batches with the kernels."""

import ctypes
import logging
import threading
from collections.abc import Iterator, Sequence
from ctypes import POINTER, c_float, c_int32, c_uint8

import numpy as np
from numpy.typing import NDArray

from ingest.encoder.artifact import Artifact
from ingest.encoder.batches import Batch, of_any_length
from ingest.encoder.kernels.library import Variant, best_variant
from ingest.encoder.kernels.onnx_file import read_graph
from ingest.encoder.kernels.packed import PackedBert, aligned
from ingest.encoder.kernels.search import find_bert
from ingest.encoder.protocol import Vectors
from ingest.encoder.recipes import RECIPES
from ingest.encoder.tokens import Piece

logger = logging.getLogger(__name__)


def open_kernels(artifact: Artifact, variant: Variant | None = None) -> "KernelEngine | None":
    """The artifact's model, ready to run; None where the kernels do not know it or this processor cannot run them."""
    recipe = RECIPES.get(artifact.manifest.recipe)
    if recipe is None or not recipe.quantized:
        return None
    variant = variant or best_variant()
    if variant is None:
        return None
    try:
        return KernelEngine(artifact, variant)
    except ValueError as error:
        logger.info("akin's kernels do not know this model, onnxruntime runs it", extra={"reason": str(error)})
        return None


class KernelEngine:
    """Implements `Engine`; raises ValueError where the artifact holds a model that the kernels do not know."""

    tokens_per_call = 512
    padded = False

    def __init__(self, artifact: Artifact, variant: Variant) -> None:
        bert = find_bert(read_graph(artifact.model))
        self._directions = bert.directions
        self._packed = PackedBert(bert)
        self._variant = variant
        self._scratch = threading.local()

    @property
    def provider(self) -> str:
        """The instructions that the products are made of."""
        return self._variant.name

    def batches(self, pieces: Sequence[Piece], budget: int) -> Iterator[Batch]:
        """Any lengths together: texts lie end to end, without padding."""
        return of_any_length(pieces, budget)

    def run(self, batch: Batch) -> Vectors:
        """Vectors, `(rows, dimensions)`; raises ValueError for ids or lengths that the model has no tables for."""
        given = np.concatenate([ids[0] for ids in batch.ids])
        lengths = np.array([ids.shape[1] for ids in batch.ids], np.int32)
        if lengths.min() < 1 or lengths.max() > self._packed.most_tokens:
            wrong = lengths.max() if lengths.min() else 0
            raise ValueError(f"the model reads 1 to {self._packed.most_tokens} tokens, not {wrong}")
        if given.min() < 0 or given.max() >= self._packed.vocabulary:
            raise ValueError("the tokenizer gives ids that are not in the model's vocabulary; export the model again")
        ids = given.astype(np.int32)
        vectors = np.empty((len(lengths), self._packed.hidden), np.float32)
        self._variant.encode(
            ctypes.byref(self._packed.model),
            ids.ctypes.data_as(POINTER(c_int32)),
            lengths.ctypes.data_as(POINTER(c_int32)),
            len(lengths),
            vectors.ctypes.data_as(POINTER(c_float)),
            self._room(len(ids), int(lengths.max())).ctypes.data_as(POINTER(c_uint8)),
        )
        return vectors if self._directions is None else _projected(vectors, self._directions)

    def _room(self, tokens: int, longest: int) -> NDArray[np.uint8]:
        """Memory of this thread, which keeps it: new memory would cost a page fault for every 4 KB."""
        needed = self._variant.scratch(ctypes.byref(self._packed.model), tokens, longest)
        held: NDArray[np.uint8] | None = getattr(self._scratch, "room", None)
        if held is None or held.nbytes < needed:
            held = self._scratch.room = aligned(needed)
        return held


def _projected(vectors: Vectors, directions: Vectors) -> Vectors:
    # Each by itself: in one product, the order of a sum would depend on how many there are.
    onto = np.stack([vector @ directions for vector in vectors])
    unit: Vectors = onto / np.maximum(np.linalg.norm(onto, axis=1, keepdims=True), 1e-12)
    return unit
