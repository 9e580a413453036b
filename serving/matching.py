"""Which items a search finds, and how they score by words, by meaning and by a user's taste together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ingest.chunks import chunks
from ingest.index.protocol import Hit, Query, SparseVector, Vector
from ingest.store.ledger import Ledger
from serving.candidates import Selection, nearest
from serving.live import View

SEMANTIC, LEXICAL, HYBRID = "semantic", "lexical", "hybrid"
MODES = (SEMANTIC, LEXICAL, HYBRID)
POOL = 100  # least candidates of each query: the best by both scores together may be the best by neither


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """`score(i) = words_weight BM25(i) / best BM25 + text . v_i`: what a search asks for, in one generation.

    Items are found by words where `words` is given, and by `text` where `by_text` says so; `text`, `(d,) float32` of
    any length, else only orders what the words found.
    """

    words: SparseVector | None = None
    words_weight: float = 0.0
    text: Vector | None = None
    by_text: bool = False


@dataclass(frozen=True, kw_only=True)
class Found:
    """Hits, best first, and what found each: words, meaning, or both."""

    hits: tuple[Hit, ...]
    sources: Mapping[str, str]


def wanted(
    mode: str,
    *,
    words: SparseVector | None,
    text: Vector | None,
    taste: Vector | None,
    personalization: float,
    words_share: float,
) -> Wanted:
    """The parts of a lexical or hybrid search as one linear score.

    `(1 - p) (a BM25 / best + (1 - a) text . v) + p taste . v`, with `a` the share of words (1 in a lexical search) and
    `p` the personalization, 0 where the user has no taste. Convex fusion of scores: Bruch et al. 2023, equation 2.
    """
    personal = personalization if taste is not None else 0.0
    share = 1.0 if mode == LEXICAL or text is None else words_share
    vector = None if text is None or share == 1 else (1 - personal) * (1 - share) * text
    if taste is not None and personal:
        vector = personal * taste if vector is None else vector + personal * taste
    asked = words if words is not None and words.positions and share else None
    return Wanted(words=asked, words_weight=(1 - personal) * share, text=vector, by_text=mode != LEXICAL)


def best_matches(ledger: Ledger, view: View, asked: Wanted, selection: Selection) -> Found:
    """At most `selection.limit` hits by the whole score among the candidates of each query."""
    pool = replace(selection, limit=max(POOL, 2 * selection.limit), min_score=None, with_items=False)
    if asked.text is None:  # then the order of the words is the order
        pool = replace(pool, limit=selection.limit)
    by_words = _by_words(ledger, view, asked, pool)
    by_text = nearest(ledger, view, asked.text, pool)[0] if asked.text is not None and asked.by_text else []
    words = {hit.item_id: hit.score for hit in by_words}
    texts = {hit.item_id: hit.score for hit in by_text}
    best = max(words.values(), default=1.0)
    sources = {item_id: HYBRID if item_id in words and item_id in texts else LEXICAL for item_id in words}
    sources |= {item_id: SEMANTIC for item_id in texts if item_id not in words}
    if asked.text is not None:
        texts |= _scores(view, [i for i in words if i not in texts], text=asked.text)
    if asked.words is not None:
        words |= _scores(view, [i for i in texts if i not in words], words=asked.words)
    hits = [Hit(item_id=i, score=asked.words_weight * words.get(i, 0.0) / best + texts.get(i, 0.0)) for i in sources]
    least = selection.min_score
    kept = [hit for hit in hits if least is None or hit.score >= least]
    kept.sort(key=lambda hit: (-hit.score, hit.item_id))
    return Found(hits=tuple(kept[: selection.limit]), sources=sources)


def _by_words(ledger: Ledger, view: View, asked: Wanted, pool: Selection) -> list[Hit]:
    return [] if asked.words is None else nearest(ledger, view, asked.words, pool, by_words=True)[0]


def _scores(
    view: View, item_ids: Iterable[str], *, text: Vector | None = None, words: SparseVector | None = None
) -> dict[str, float]:
    scores: dict[str, float] = {}
    for among in chunks(list(item_ids)):
        found = view.collection.query(Query(text=text, words=words, limit=len(among), among=among))
        scores |= {hit.item_id: hit.score for hit in found}
    return scores
