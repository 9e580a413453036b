"""Words of a text as a sparse vector: what lexical search matches. Knows nothing of indexes or ledgers.

Letters are folded (case, accents, full-width forms), words are runs of letters and digits, and text in scripts that
are written without spaces (Chinese, Japanese) or whose endings vary (Korean) gives single characters and pairs.
Nothing is stemmed: which stemmer is right depends on the language, and a wrong one finds the wrong items.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from zlib import crc32

from ingest.index.protocol import NO_WORDS, SparseVector

K1 = 1.2  # how fast a repeated word counts less
B = 0.75  # how much long texts are held back
TITLE_WEIGHT = 3  # a word of the title counts as often
MOST_TERMS = 4_096  # per item; of a longer text the weakest are left out
AVERAGE_LENGTH = 60.0  # words, where there are no items yet to learn it from

_CJK = (  # Han with its radicals and marks, kana, Hangul
    "\u2e80-\u2fdf\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
# Vowel signs of Indic and South-East Asian scripts are no letters to `\w`, and must not cut words apart.
_SIGNS = "\u0900-\u0963\u0966-\u0dff\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1-\u0ebc\u1000-\u1049\u1780-\u17d3"
_RUN = re.compile(f"(?P<cjk>[{_CJK}]+)|(?:(?![{_CJK}_])[\\w{_SIGNS}])+")
_ASCII_WORDS = re.compile("[a-z0-9]+")
_ACCENTS = re.compile("[\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u064b-\u065f\u0670]")  # Latin to Hebrew and Arabic
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "\u0131": "i", "ð": "d", "þ": "th"})


def tokens(text: str) -> list[str]:
    """The words of a text, in order and as often as they occur, folded."""
    if text.isascii():  # most texts, and several times as quick
        return _ASCII_WORDS.findall(text.lower())
    return list(_tokens(_folded(text)))


def document_words(title: str, text: str, average_length: float) -> SparseVector:
    """BM25 weights of an item's words, all but the inverse document frequency, which the index applies.

    `tf / (tf + k1 (1 - b + b length / average_length))` (Robertson and Zaragoza 2009, equation 3.15, without the
    constant k1 + 1), where the words of `title` count `TITLE_WEIGHT` times. `text` is what is embedded, so it holds
    the title once already.
    """
    counts = _counts(title, text)
    norm = K1 * (1 - B + B * counts.total() / average_length)
    return _sparse({token: count / (count + norm) for token, count in counts.items()})


def query_words(text: str) -> SparseVector:
    """The words of a query, each as heavy as it is frequent there; empty when it has none."""
    return _sparse(dict(Counter(tokens(text))))


def document_length(title: str, text: str) -> int:
    """How many words `document_words` counts."""
    return _counts(title, text).total()


def _counts(title: str, text: str) -> Counter[str]:
    counts = Counter(tokens(text))
    in_title = Counter(tokens(title))
    for token, count in in_title.items():
        # A template may leave the title out; then it counts all the same.
        counts[token] = max(counts[token], count) + (TITLE_WEIGHT - 1) * count
    return counts


def _sparse(weights: dict[str, float]) -> SparseVector:
    if not weights:
        return NO_WORDS
    terms: dict[int, float] = {}
    for token, weight in weights.items():
        term = term_id(token)
        terms[term] = terms.get(term, 0.0) + weight
    strongest = sorted(terms.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_TERMS]
    positions, kept = zip(*sorted(strongest), strict=True)
    return SparseVector(positions=positions, weights=kept)


@lru_cache(maxsize=65_536)
def term_id(token: str) -> int:
    """A word's position, the same in every process and release: CRC-32 of its UTF-8 bytes.

    Among 100,000 different words about one pair shares a position, and is then one word to the index.
    """
    return crc32(token.encode("utf-8", "surrogatepass"))


def _folded(text: str) -> str:
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return unicodedata.normalize("NFC", _ACCENTS.sub("", apart)).translate(_LETTERS)


def _tokens(text: str) -> Iterator[str]:
    for run in _RUN.finditer(text):
        if run["cjk"] is None:
            yield run[0]
            continue
        characters = run[0]
        yield from characters
        yield from map("".join, pairwise(characters))
