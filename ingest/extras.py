"""The extras of akin: libraries that only some installations need, and how to add them."""


def to_install(*extras: str) -> str:
    """What to do for extras that are missing, as the end of a sentence. akin is on no package index."""
    names = " and ".join(f"`{extra}`" for extra in extras)
    noun = "extra" if len(extras) == 1 else "extras"
    return f"install akin's {noun} {names} (from a checkout: pip install '.[{','.join(extras)}]')"
