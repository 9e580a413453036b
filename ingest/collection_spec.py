"""What the collection of a generation has to hold, read from the catalogue as it is now."""

from ingest.index.protocol import CollectionSpec
from ingest.settings import Settings
from ingest.store.ledger import Ledger
from ingest.store.records import Generation
from ingest.text import render
from ingest.words import AVERAGE_LENGTH, document_length

SAMPLE = 5_000  # items whose lengths are averaged: what more would change is within rounding
SAMPLE_PAGE = 500


def collection_spec(settings: Settings, ledger: Ledger, generation: Generation) -> CollectionSpec:
    """What a new collection of this generation holds; its word weights are scaled by the catalogue as it is now."""
    lengths: list[int] = []
    for page in ledger.items.pages(SAMPLE_PAGE):
        lengths += [document_length(row.item.title, render(settings.text_template, row.item)) for row in page]
        if len(lengths) >= SAMPLE:
            break
    average = max(1.0, sum(lengths) / len(lengths)) if lengths else AVERAGE_LENGTH
    return CollectionSpec(dimensions=generation.dimensions, attributes=generation.attributes, average_length=average)
