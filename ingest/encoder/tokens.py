"""Texts to the token ids that a model reads, long texts in pieces."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer  # type: ignore[import-untyped]  # it ships no type hints

from ingest.encoder.artifact import Artifact
from ingest.encoder.passages import split_tokens
from ingest.errors import ArtifactError

Ids = NDArray[np.int64]


_CHARACTERS_PER_TOKEN = 8  # of a text whose beginning is wanted; where it is too few, the whole text is read
_CUT_WORD = 64  # tokens that a word cut in two may be read as


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
        self._passages = artifact.manifest.passages
        self._limit = artifact.manifest.max_tokens - len(self._before) - len(self._after)

    @property
    def pad(self) -> int:
        """The id that fills what a batch has no tokens for; the mask hides it."""
        found = self._tokenizer.token_to_id("[PAD]")
        return self._tokenizer.token_to_id("<pad>") or 0 if found is None else int(found)

    def _special_ids(self) -> tuple[list[int], list[int]]:
        """The special tokens that the model wants before and after a text."""
        sample: Encoding = self._tokenizer.encode("a")
        plain = sample.special_tokens_mask.index(0) if 0 in sample.special_tokens_mask else len(sample.ids)
        inner = len(self._tokenizer.encode("a", add_special_tokens=False).ids)
        return sample.ids[:plain], sample.ids[plain + inner :]

    def pieces(self, texts: Sequence[str]) -> list[Piece]:
        """The pieces of all texts, in order; every text has at least one."""
        clean = [text if text.isascii() else _without_surrogates(text) for text in texts]
        if self._passages == 1:
            return [self._first_piece(row, *one) for row, one in enumerate(self._beginnings(clean))]
        found: list[Piece] = []
        # The fast call leaves out the offsets, which only long texts need.
        for row, encoding in enumerate(self._tokenizer.encode_batch_fast(clean, add_special_tokens=False)):
            ids = encoding.ids
            if len(ids) <= self._limit:
                found.append(self._piece(row, ids))
            else:
                found.extend(self._split(row, clean[row]))
        return found

    def _beginnings(self, texts: list[str]) -> Iterator[tuple[str, Encoding]]:
        """As much of each text as its first piece can need: reading thousands of tokens to use 256 takes its time."""
        most = _CHARACTERS_PER_TOKEN * self._limit
        short = [text[:most] for text in texts]
        for text, cut, encoding in zip(
            texts, short, self._tokenizer.encode_batch(short, add_special_tokens=False), strict=True
        ):
            # The last word may be cut, so a few tokens more than fit must be there.
            if len(text) <= most or len(encoding.ids) > self._limit + _CUT_WORD:
                yield cut, encoding
            else:
                yield text, self._tokenizer.encode(text, add_special_tokens=False)

    def _first_piece(self, row: int, text: str, encoding: Encoding) -> Piece:
        ids = encoding.ids
        if len(ids) <= self._limit:
            return self._piece(row, ids)
        end = split_tokens(text, encoding.offsets[: self._limit + 1], self._limit)[0][1]
        return self._piece(row, ids[:end])

    def _split(self, row: int, text: str) -> list[Piece]:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        spans = split_tokens(text, encoding.offsets, self._limit)
        if len(spans) > self._passages:
            spans = [spans[int(position)] for position in np.linspace(0, len(spans) - 1, self._passages)]
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
