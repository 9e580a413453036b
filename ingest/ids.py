"""The one rule for ids that come from outside: items, users, events and recommendations all obey it."""

from typing import Any

from ingest.errors import InvalidInputError

MAX_ID_CHARS = 256


def check_id(value: Any, field: str, most: int = MAX_ID_CHARS) -> str:
    """The id as it came: 1 to `most` printable characters, not only spaces. Raises InvalidInputError naming `field`."""
    if value is None or value == "":
        raise InvalidInputError(f"{field}_missing", f"{field} is missing: it must be a string", field)
    if not isinstance(value, str):
        raise InvalidInputError("wrong_type", f"{field} must be a string", field)
    if len(value) > most:
        raise InvalidInputError(f"{field}_too_long", f"{field} has more than {most} characters", field)
    if not value.isprintable():
        raise InvalidInputError(
            f"{field}_unprintable", f"{field} holds a character that is not printable, such as a line break", field
        )
    if value.isspace():
        raise InvalidInputError(f"{field}_missing", f"{field} is empty but for spaces", field)
    return value
