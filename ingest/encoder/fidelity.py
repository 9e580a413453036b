"""How far an encoder is from its fp32 original, as figures that fit into a manifest."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ingest.encoder.artifact import Fidelity
from ingest.encoder.fidelity_texts import FIDELITY_TEXTS
from ingest.encoder.protocol import Encoder, Vectors

_NEIGHBOURS = 10


def measure_fidelity(encoder: Encoder, original: Encoder, texts: Sequence[str] = FIDELITY_TEXTS) -> Fidelity:
    """Compare two encoders on at least two texts."""
    return compare_vectors(encoder.embed(texts), original.embed(texts))


def compare_vectors(vectors: Vectors, originals: Vectors) -> Fidelity:
    """Compare two `(n, d)` matrices of unit vectors, row by row and neighbourhood by neighbourhood; n of 2 or more."""
    if len(vectors) < 2:  # noqa: PLR2004 - a neighbour needs a second text
        raise ValueError("fidelity is measured on at least two texts")
    cosines = np.einsum("nd,nd->n", _aligned(vectors, originals), originals)
    return Fidelity(
        texts=len(vectors),
        mean_cosine=_figure(cosines.mean()),
        p1_cosine=_figure(np.percentile(cosines, 1)),
        worst_cosine=_figure(cosines.min()),
        neighbour_overlap=_figure(kept_neighbours(vectors, originals).mean()),
    )


def principal_directions(vectors: Vectors, n: int) -> Vectors:
    """The `n` orthonormal directions `(d, n)` that keep most of `(m, d)` unit vectors; they are not centred first."""
    _, found = np.linalg.eigh((vectors.T @ vectors).astype(np.float64))
    return found[:, ::-1][:, :n].astype(np.float32)


def _aligned(vectors: Vectors, originals: Vectors) -> Vectors:
    """Vectors of fewer dimensions as nearly as they can be laid over their originals (orthogonal Procrustes)."""
    if vectors.shape[1] == originals.shape[1]:
        return vectors
    left, _, right = np.linalg.svd(vectors.T @ originals, full_matrices=False)
    aligned: Vectors = vectors @ (left @ right)
    return aligned


def kept_neighbours(vectors: Vectors, originals: Vectors) -> NDArray[np.float64]:
    """For each row the share of its ten nearest other rows that are the same, `(n,)`."""
    pairs = zip(_neighbours(vectors), _neighbours(originals), strict=True)
    return np.array([len(set(mine) & set(theirs)) / len(theirs) for mine, theirs in pairs])


def _neighbours(vectors: Vectors) -> list[list[int]]:
    """The nearest other rows of every row, by cosine."""
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    k = min(_NEIGHBOURS, len(vectors) - 1)
    rows: list[list[int]] = np.argsort(-similarity, axis=1, kind="stable")[:, :k].tolist()
    return rows


def _figure(value: float | np.floating) -> float:
    # Cosines of float32 unit vectors reach 1.0000001; five places are more than the figures mean.
    return round(min(float(value), 1.0), 5)
