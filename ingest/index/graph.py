"""What Qdrant is told and answers alike, in this process and on a server: its graph, and the points it finds."""

from typing import Any

import numpy as np

from ingest.index.protocol import Query, Vector

LINKS = 16  # of each point in the graph
BUILD_EF = 128  # candidates while a point is linked
SEARCH_EF, FILTERED_EF = 768, 128  # candidates a search keeps; docs/decisions/0032 has the recall


def is_asked_for(query: Query, score: float) -> bool:
    """Whether a point with this score belongs to the answer: a sparse search also finds what shares nothing."""
    return (query.min_score is None or score >= query.min_score) and (query.text is not None or bool(score))


def item_id_of(found: Any) -> str:
    """The id of a point that was found."""
    return str(found.payload["item_id"])


def text_vector_of(found: Any) -> Vector:
    """The text vector of a point that was found with it, `(dimensions,) float32`."""
    return np.asarray(found.vector["text"], dtype=np.float32)
