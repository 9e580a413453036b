"""Texts to the token ids that a model reads, long texts in pieces."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer  # type: ignore[import-untyped]  # it ships no type hints

from ingest.encoder.artifact import Artifact
from ingest.encoder.passages import split_tokens
from ingest.errors import ArtifactError

Ids = NDArray[np.int64]

# Of a longer text this many pieces, evenly spread, stand for the whole: 64,000 Chinese characters fit, and one text of
# many megabytes cannot hold a worker for minutes.
MAX_PIECES = 256


@dataclass(frozen=True, kw_only=True)
class Piece:
    """As much of a text as the model reads at a time."""

    text: int  # position of its text
    ids: Ids  # (1, tokens), special tokens included
    weight: int  # tokens of the text in it


class TextTokenizer:
    """Texts to pieces of token ids; a thin cover over `tokenizers`, which may be called from several threads."""

    def __init__(self, artifact: Artifact) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(str(artifact.tokenizer))
        except Exception as error:  # `tokenizers` raises plain Exception
            raise ArtifactError(f"{artifact.tokenizer} is no tokenizer file; export the model again") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._before, self._after = self._special_ids()
        self._limit = artifact.manifest.max_tokens - len(self._before) - len(self._after)

    def _special_ids(self) -> tuple[list[int], list[int]]:
        """The special tokens that the model wants before and after a text."""
        sample: Encoding = self._tokenizer.encode("a")
        plain = sample.special_tokens_mask.index(0) if 0 in sample.special_tokens_mask else len(sample.ids)
        inner = len(self._tokenizer.encode("a", add_special_tokens=False).ids)
        return sample.ids[:plain], sample.ids[plain + inner :]

    def pieces(self, texts: Sequence[str]) -> list[Piece]:
        """The pieces of all texts, in order; every text has at least one."""
        clean = [text if text.isascii() else _without_surrogates(text) for text in texts]
        encodings = self._tokenizer.encode_batch_fast(clean, add_special_tokens=False)
        found: list[Piece] = []
        for row, encoding in enumerate(encodings):
            ids = encoding.ids
            if len(ids) <= self._limit:
                found.append(self._piece(row, ids))
            else:
                found.extend(self._split(row, clean[row]))
        return found

    def _split(self, row: int, text: str) -> list[Piece]:
        # The fast call leaves out the offsets, which only these texts need.
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        spans = split_tokens(text, encoding.offsets, self._limit)
        if len(spans) > MAX_PIECES:
            spans = [spans[int(position)] for position in np.linspace(0, len(spans) - 1, MAX_PIECES)]
        ids = encoding.ids
        return [self._piece(row, ids[first:end]) for first, end in spans]

    def _piece(self, row: int, ids: list[int]) -> Piece:
        array = np.array([[*self._before, *ids, *self._after]], np.int64)
        return Piece(text=row, ids=array, weight=len(ids))


def token_ids(artifact: Artifact, texts: Sequence[str]) -> list[Ids]:
    """What the artifact's model is fed for these texts: one (1, tokens) int64 array per piece."""
    return [piece.ids for piece in TextTokenizer(artifact).pieces(texts)]


def _without_surrogates(text: str) -> str:
    """The text with lone surrogates, which no tokenizer takes, replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return text
