"""What the rest of akin may ask of an encoder. No vendor types here."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class Encoder(Protocol):
    """Text to unit vectors. Safe to call from several threads."""

    @property
    def fingerprint(self) -> str:
        """Hash over the artifact's files: equal fingerprints give equal vectors."""
        ...

    @property
    def dimensions(self) -> int:
        """Length of every vector."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return `(n, dimensions)` float32, unit length, row i for text i, whatever the other texts are.

        A text longer than the model reads is split on sentence borders and its pieces' vectors are averaged by length
        in tokens; an empty text gets the vector of the model's empty sequence.
        """
        ...
