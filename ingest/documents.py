"""Items as they are to be placed: their text, vector, words and attributes as a generation holds them.

Whoever builds, reconciles, evaluates or asks makes them here, and so makes the same. Nothing is stored but vectors, so
that no text is embedded twice.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import cast

import numpy as np

from ingest.attributes import SINGLE, parse_value
from ingest.chunks import chunks
from ingest.encoder.library import EncoderLibrary
from ingest.encoder.protocol import Encoder, Vectors
from ingest.errors import AkinError, InvalidInputError, UnavailableError
from ingest.index.protocol import Point, SparseVector
from ingest.items import AttributeType, AttributeValue, Item
from ingest.readers.cells import attribute_value
from ingest.store.ledger import Ledger
from ingest.store.placements import Placement
from ingest.store.records import Generation
from ingest.text import content_hash, render
from ingest.words import document_words

logger = logging.getLogger(__name__)

KEEP_EVERY = 128  # texts: an item that kills whoever embeds it loses so many with it, twice


@dataclass(frozen=True, kw_only=True)
class Document:
    """An item as it is to be placed: the text to embed and the hash that says whether it changed."""

    item: Item
    version: int
    text: str
    content_hash: str


def document(item: Item, version: int, template: str) -> Document:
    """What is embedded for an item."""
    text = render(template, item)
    return Document(item=item, version=version, text=text, content_hash=content_hash(text))


def embedded(
    ledger: Ledger,
    encoders: EncoderLibrary,
    fingerprint: str,
    documents: Sequence[Document],
    *,
    keep_every: int = KEEP_EVERY,
    trying: Callable[[Sequence[Document]], AbstractContextManager[object]] = nullcontext,
) -> tuple[dict[str, Vectors], dict[str, str]]:
    """Vectors by content hash, and reasons by content hash for those that cannot be embedded.

    Remembered vectors come first; the rest is embedded, each text once, and remembered. Every call of the encoder is
    made within `trying`, so that somebody can count what ends the process.
    """
    known = ledger.placements.vectors(fingerprint, [d.content_hash for d in documents])
    unknown = {d.content_hash: d for d in documents if d.content_hash not in known}
    failed: dict[str, str] = {}
    # By and by, so that what was embedded before a worker is lost need not be embedded again; texts of about one length
    # together, as the encoder is quicker with them.
    for some in chunks(sorted(unknown.values(), key=lambda d: len(d.text)), keep_every):
        encoder = encoders.get(fingerprint)
        with trying(some):
            vectors, refused = embed_each(encoder, some)
        ledger.placements.keep_vectors(fingerprint, vectors)
        known |= vectors
        failed |= refused
    return known, failed


def embed_each(encoder: Encoder, documents: Sequence[Document]) -> tuple[dict[str, Vectors], dict[str, str]]:
    """Vectors by content hash, and reasons by content hash for those that cannot be embedded.

    When a batch fails, each text is tried alone, so that one bad text harms no other.
    """
    try:
        vectors = encoder.embed([d.text for d in documents])
    except UnavailableError:
        raise
    except (AkinError, ValueError, RuntimeError) as error:
        if len(documents) == 1:
            return {}, {documents[0].content_hash: f"it cannot be embedded: {error}"}
        found: dict[str, Vectors] = {}
        failed: dict[str, str] = {}
        for one in documents:
            vector, reason = embed_each(encoder, [one])
            found |= vector
            failed |= reason
        return found, failed
    return {d.content_hash: vector for d, vector in zip(documents, vectors, strict=True)}, {}


def centred(vector: Vectors, mean: Vectors | None) -> Vectors:
    """The unit vector of `vector - mean`: what the index holds. (dimensions,) float32.

    A vector that is the mean itself has no direction then, and stays as it is.
    """
    if mean is None:
        return vector
    shifted = vector - mean
    norm = float(np.linalg.norm(shifted))
    return vector if norm < 1e-6 else (shifted / norm).astype(np.float32)  # noqa: PLR2004 - float32 rounding noise


def declared_attributes(item: Item, attributes: Mapping[str, AttributeType]) -> dict[str, AttributeValue]:
    """The part of an item that filters may use, each value of the type that is declared here.

    An item may have come in under other declarations: texts and numbers are read as one another where that is plain,
    as those of files are. What is of no such type is left out; see `left_out`.
    """
    found: dict[str, AttributeValue] = {}
    for name, value in _declared(item, attributes).items():
        values = [fit for one in _each(value, attributes[name]) if (fit := _fitted(one, attributes[name])) is not None]
        if values:
            found[name] = cast("AttributeValue", values) if isinstance(value, list) else values[0]
    return found


def left_out(items: Iterable[Item], attributes: Mapping[str, AttributeType]) -> Counter[str]:
    """How many of the items have a value that does not fit the type of an attribute, by the attribute's name."""
    return Counter(
        name
        for item in items
        for name, value in _declared(item, attributes).items()
        if any(_fitted(one, attributes[name]) is None for one in _each(value, attributes[name]))
    )


def say_left_out(generation: Generation, found: Mapping[str, int]) -> None:
    """Log what `left_out` found where points for this generation were made."""
    for name, items in found.items():
        logger.warning(
            "attribute values left out", extra={"attribute": name, "items": items, "generation": generation.name}
        )


def words_of(document: Document, average_length: float | None) -> SparseVector | None:
    """The words of an item as a collection with this average length holds them; None where it holds none."""
    return None if average_length is None else document_words(document.item.title, document.text, average_length)


def point_of(
    document: Document,
    vector: Vectors,
    generation: Generation,
    *,
    taste: SparseVector | None,
    average_length: float | None,
) -> Point:
    """The item as the generation's collection holds it, made of its text's vector as the encoder gave it."""
    return Point(
        item_id=document.item.item_id,
        text=centred(vector, generation.mean),
        attributes=declared_attributes(document.item, generation.attributes),
        taste=taste,
        words=words_of(document, average_length),
    )


def placement_of(document: Document, generation: Generation) -> Placement:
    """The fact that this version of the item stands in the generation."""
    return Placement(
        generation=generation.name,
        item_id=document.item.item_id,
        version=document.version,
        content_hash=document.content_hash,
        present=True,
    )


def _declared(item: Item, attributes: Mapping[str, AttributeType]) -> dict[str, AttributeValue]:
    declared = {name: value for name, value in item.attributes.items() if name in attributes}
    return declared | ({"categories": list(item.categories)} if item.categories and "categories" in attributes else {})


def _each(value: AttributeValue, type_: AttributeType) -> Sequence[AttributeValue]:
    """The values that are fitted one by one."""
    return value if isinstance(value, list) and type_ not in SINGLE else [value]


def _fitted(value: AttributeValue, type_: AttributeType) -> AttributeValue | None:
    if type_ is AttributeType.KEYWORD and isinstance(value, float) and not value.is_integer():
        value = str(value)
    try:
        return parse_value(attribute_value(value, type_), type_, "attributes")
    except InvalidInputError:
        return None
