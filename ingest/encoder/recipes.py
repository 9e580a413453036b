"""The ways to store a model's weights, and how far each may be from fp32. docs/decisions/0010 has the measurements."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ingest.encoder.artifact import Fidelity
from ingest.errors import ArtifactError

Storage = Literal["fp32", "fp16", "blocks", "int8"]


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The least an export may keep of fp32, measured on the owner's texts or the built-in ones."""

    mean_cosine: float
    p1_cosine: float  # 1st percentile
    neighbour_overlap: float  # of the ten nearest

    def missed(self, found: Fidelity) -> list[str]:
        """What of it is not kept, in words; empty when all is."""
        names = ("mean_cosine", "p1_cosine", "neighbour_overlap")
        pairs = ((name, getattr(found, name), getattr(self, name)) for name in names)
        return [f"{name} {value} is under {least}" for name, value, least in pairs if value < least]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """`int8` stores products of eight-bit weights and inputs, `blocks` eight-bit weights in blocks, inputs in fp32."""

    name: str
    storage: Storage
    floor: Floor
    even_attention: bool = True  # whether channels of what an attention reads are evened out, which costs some speed

    @property
    def quantized(self) -> bool:
        """Whether products run in whole numbers, which some processors cannot do without loss."""
        return self.storage == "int8"


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="int8",
            storage="int8",
            floor=Floor(mean_cosine=0.997, p1_cosine=0.99, neighbour_overlap=0.93),
        ),
        Recipe(
            name="fast",
            storage="int8",
            floor=Floor(mean_cosine=0.993, p1_cosine=0.985, neighbour_overlap=0.89),
            even_attention=False,
        ),
        Recipe(
            name="accurate",
            storage="blocks",
            floor=Floor(mean_cosine=0.9995, p1_cosine=0.999, neighbour_overlap=0.98),
        ),
        Recipe(name="fp32", storage="fp32", floor=Floor(mean_cosine=0.9999, p1_cosine=0.9999, neighbour_overlap=0.999)),
        Recipe(name="fp16", storage="fp16", floor=Floor(mean_cosine=0.9999, p1_cosine=0.9995, neighbour_overlap=0.98)),
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name; raises ArtifactError that lists the names there are."""
    if name not in RECIPES:
        raise ArtifactError(f"there is no recipe {name!r}; use one of {', '.join(RECIPES)}")
    return RECIPES[name]
