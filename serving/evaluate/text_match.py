"""BM25 with a history's texts as the query: what plain word matching would recommend."""

import logging
from collections.abc import Sequence

import numpy as np

from serving.evaluate.metrics import Floats
from serving.evaluate.trial import Scorer, Trial


def fit_bm25(trial: Trial, texts: Sequence[str]) -> Scorer:
    """BM25 (Robertson and Zaragoza 2009, Lucene's variant) over the texts, asked with those of the liked items."""
    import bm25s  # noqa: PLC0415 - an extra: only an evaluation imports it

    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it sets itself to DEBUG, and would talk between our bars
    words = bm25s.tokenize(list(texts), stopwords=None, return_ids=False, show_progress=False)
    if not any(words):  # nothing to index, and nothing to match
        return Scorer(lambda _: np.full(len(words), np.nan))
    model = bm25s.BM25(method="lucene")
    model.index(words, show_progress=False)

    def scores(user: int) -> Floats:
        query = [word for place in trial.liked[user] for word in words[place]]
        found = model.get_scores(query) if query else np.zeros(len(words))
        return np.asarray(found, dtype=np.float64)

    return Scorer(scores)
