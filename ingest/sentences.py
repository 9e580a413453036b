"""Numbers as parts of a sentence for a person."""


def count_of(number: int, one: str) -> str:
    """How many of a thing whose plural ends in s: `1 row`, `2,000 rows`."""
    return f"{number:,} {one}" if number == 1 else f"{number:,} {one}s"
