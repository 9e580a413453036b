"""The texts that every engine embeds: one set per question that a catalogue's owner has about speed."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tokenizers import Encoding, Tokenizer  # type: ignore[import-untyped]  # it ships no type hints

from ingest.errors import SettingsError
from ingest.sample import ITEMS

SETS: Mapping[str, str] = {
    "descriptions": "texts of the catalogue as they are",
    "short": "texts of 16 tokens, all of one length",
    "mixed": "8 to 2,000 tokens; everybody reads the first 256",
}
SHORT_TOKENS = 14  # 16 with the two special tokens
LONGEST = 2000
_TRIES = 50  # for each short text, before there are taken to be too few


def catalogue_texts(items: Path | None) -> list[str]:
    """Title and text of every item of a Parquet or JSON Lines file; without one, of the sample catalogue."""
    path = items or ITEMS
    if path.suffix == ".parquet":
        import pyarrow.parquet  # noqa: PLC0415 - an extra

        rows = pyarrow.parquet.read_table(path).to_pylist()
    else:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return [". ".join(str(row[name]) for name in ("title", "text") if row.get(name)) for row in rows]


def text_sets(texts: Sequence[str], tokenizer: Path, n: int, seed: int = 7) -> dict[str, list[str]]:
    """`n` texts a set, by name, the same for the same seed; a catalogue of fewer items is joined anew."""
    model = Tokenizer.from_file(str(tokenizer))
    model.no_padding()
    model.no_truncation()
    chance = random.Random(seed)  # noqa: S311 - reproducible, not secret
    pool = [text for text in texts if text.strip()]

    counts: dict[str, int] = {}

    def length(text: str) -> int:
        if text not in counts:
            counts[text] = len(model.encode(text, add_special_tokens=False))
        return counts[text]

    def joined(tokens: int) -> str:
        parts = [chance.choice(pool)]
        while sum(map(length, parts)) < tokens:
            parts.append(chance.choice(pool))
        return _cut(model, " ".join(parts), tokens)

    def short() -> str:
        words = chance.choice(pool).split()
        return _cut(model, " ".join(words[chance.randrange(len(words)) :]), SHORT_TOKENS)

    return {
        "descriptions": chance.sample(pool, n) if len(pool) >= n else [joined(94) for _ in range(n)],
        "short": _exactly(model, short, n),
        "mixed": [joined(int(8 * (LONGEST / 8) ** chance.random())) for _ in range(n)],
    }


def _cut(model: Tokenizer, text: str, tokens: int) -> str:
    encoding: Encoding = model.encode(text, add_special_tokens=False)
    if len(encoding.ids) <= tokens:
        return text
    return text[: encoding.offsets[tokens - 1][1]]


def _exactly(model: Tokenizer, make: Callable[[], str], n: int) -> list[str]:
    """`n` texts that really have SHORT_TOKENS tokens: a word cut in the middle may be read as fewer or more."""
    found: dict[str, None] = {}  # equal texts are embedded once by akin and not by the peers: a gain of another kind
    tried = 0
    while len(found) < n:
        text, tried = make(), tried + 1
        if tried > _TRIES * n:
            raise SettingsError(f"the texts are too few to cut {n} different short ones from; give more items")
        if len(model.encode(text, add_special_tokens=False)) == SHORT_TOKENS:
            found[text] = None
    return list(found)
