"""The one form in which filters compare the values of an attribute, and in which the index stores them."""

import math
from typing import Any, cast

from ingest.attributes import LARGEST_INTEGER, AttributeType, parse_point
from ingest.errors import InvalidInputError
from ingest.times import parse_time

Scalar = str | int | float | bool


def normal_scalar(value: Any, type_: AttributeType) -> Scalar | None:
    """The one form of a value of this type that filters compare and the index stores; None when it is none.

    Floats are finite; datetimes, as an item may have them, become RFC 3339 strings in UTC with microseconds, whose
    order is the order of time.
    """
    match type_:
        case AttributeType.KEYWORD:
            return value if isinstance(value, str) and "\0" not in value and _is_unicode(value) else None
        case AttributeType.BOOLEAN:
            return value if isinstance(value, bool) else None
        case AttributeType.INTEGER:
            whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_INTEGER
            return cast("int", value) if whole else None
        case AttributeType.FLOAT:
            return _finite(value)
        case AttributeType.DATETIME:
            return _normal_datetime(value)
    return None


def normal_point(value: Any) -> tuple[float, float] | None:
    """Latitude and longitude of `{"lat", "lon"}` when both are in range, else None."""
    try:
        point = parse_point(value, "point")
    except InvalidInputError:
        return None
    return point["lat"], point["lon"]


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _normal_datetime(value: Any) -> str | None:
    try:
        moment = parse_time(value)
    except ValueError:
        return None
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
