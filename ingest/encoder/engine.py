"""What runs an artifact's model, in the words of the encoder."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from ingest.encoder.batches import Batch
from ingest.encoder.protocol import Vectors
from ingest.encoder.tokens import Piece


class Engine(Protocol):
    """Token ids to unit vectors. Safe to call from several threads."""

    @property
    def provider(self) -> str:
        """Its name: onnxruntime's of a device, like CPUExecutionProvider, or the instructions of akin's own kernels."""
        ...

    @property
    def tokens_per_call(self) -> int:
        """How many a call should hold where nothing was measured."""
        ...

    @property
    def padded(self) -> bool:
        """Whether texts of different lengths are padded to share a call, as a GPU likes it; one thread then calls."""
        ...

    def batches(self, pieces: Sequence[Piece], budget: int) -> Iterator[Batch]:
        """Divide pieces into calls that this engine likes."""
        ...

    def run(self, batch: Batch) -> Vectors:
        """Vectors, `(rows, dimensions)` float32, unchecked; raises whatever the runtime raises."""
        ...
