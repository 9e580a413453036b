"""The spec of a collection as both engines keep it beside the collection."""

from collections.abc import Mapping
from typing import Any

from ingest.index.protocol import CollectionSpec
from ingest.items import AttributeType


def spec_as_json(spec: CollectionSpec) -> dict[str, Any]:
    """What both engines keep beside a collection, so that opening it needs nothing else."""
    return {
        "dimensions": spec.dimensions,
        "attributes": {name: str(type_) for name, type_ in spec.attributes.items()},
        "average_length": spec.average_length,
    }


def spec_from_json(stored: Mapping[str, Any]) -> CollectionSpec:
    """The reverse of `spec_as_json`; raises KeyError or ValueError when it is something else."""
    attributes = {name: AttributeType(type_) for name, type_ in stored["attributes"].items()}
    average = stored.get("average_length")  # collections made before there were words have none
    return CollectionSpec(
        dimensions=int(stored["dimensions"]),
        attributes=attributes,
        average_length=None if average is None else float(average),
    )
