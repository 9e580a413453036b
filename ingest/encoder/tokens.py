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


_CHARACTERS_PER_TOKEN = 4  # a text of more is likely to be longer than a piece; about what they are in English
_CHARACTERS_ENOUGH = 8  # for each token of a beginning; where that is too few, the whole text is read
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
            read, encodings = self._beginnings(clean)
        else:
            read, encodings = clean, self._encodings(clean)
        return [
            piece
            for row, (text, encoding) in enumerate(zip(read, encodings, strict=True))
            for piece in self._split(row, text, encoding)
        ]

    def _encodings(self, texts: Sequence[str]) -> list[Encoding]:
        """Every text's tokens; where they are more than a piece holds, with their places in the text."""
        likely = self._limit * _CHARACTERS_PER_TOKEN
        long = [row for row, text in enumerate(texts) if len(text) > likely]
        short = [row for row, text in enumerate(texts) if len(text) <= likely]
        found: dict[int, Encoding] = {}
        # The fast call leaves out the places. All of a kind go in one call, which works on several texts at a time.
        fast = self._tokenizer.encode_batch_fast([texts[row] for row in short], add_special_tokens=False)
        for row, encoding in zip(short, fast, strict=True):
            if len(encoding) > self._limit:
                long.append(row)
            else:
                found[row] = encoding
        placed = self._tokenizer.encode_batch([texts[row] for row in long], add_special_tokens=False)
        found.update(zip(long, placed, strict=True))
        return [found[row] for row in range(len(texts))]

    def _beginnings(self, texts: Sequence[str]) -> tuple[list[str], list[Encoding]]:
        """As much of each text as its first piece can need: reading thousands of tokens to use 256 takes its time."""
        most = _CHARACTERS_ENOUGH * self._limit
        read = [text[:most] for text in texts]
        encodings = self._encodings(read)
        for row, encoding in enumerate(encodings):
            # The last word may be cut, so a few tokens more than fit must be there.
            if len(texts[row]) > most and len(encoding) <= self._limit + _CUT_WORD:
                read[row] = texts[row]
                encodings[row] = self._tokenizer.encode(texts[row], add_special_tokens=False)
        return read, encodings

    def _split(self, row: int, text: str, encoding: Encoding) -> Iterator[Piece]:
        ids = encoding.ids
        if len(ids) <= self._limit:
            yield self._piece(row, ids)
            return
        offsets = encoding.offsets
        if self._passages == 1:  # nothing behind the first token that does not fit has a say in the first piece
            offsets = offsets[: self._limit + 1]
            text = text[: offsets[-1][1]]
        spans = split_tokens(text, offsets, self._limit)
        if len(spans) > self._passages:
            spans = [spans[int(position)] for position in np.linspace(0, len(spans) - 1, self._passages)]
        for first, end in spans:
            yield self._piece(row, ids[first:end])

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
