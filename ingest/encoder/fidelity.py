"""How far an encoder is from its fp32 original, as figures that fit into a manifest."""

from collections.abc import Sequence

import numpy as np

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
    cosines = np.einsum("nd,nd->n", vectors, originals)
    return Fidelity(
        texts=len(vectors),
        mean_cosine=_figure(cosines.mean()),
        p1_cosine=_figure(np.percentile(cosines, 1)),
        worst_cosine=_figure(cosines.min()),
        neighbour_overlap=_figure(_overlap(vectors, originals)),
    )


def _overlap(vectors: Vectors, originals: Vectors) -> float:
    pairs = zip(_neighbours(vectors), _neighbours(originals), strict=True)
    return float(np.mean([len(set(mine) & set(theirs)) / len(theirs) for mine, theirs in pairs]))


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
