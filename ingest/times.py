"""Times from outside: RFC 3339 or Unix seconds in, aware UTC out."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # the years 1 to 9999
_FIRST_DATE, _LAST_DATE = 19_000_101, 21_001_231
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)


def parse_time(value: Any) -> datetime:
    """An aware UTC time from RFC 3339 text, a date, Unix seconds or a datetime; no offset means UTC.

    A number such as 20240131 is refused: it is more likely a date than the seconds to a day of 1970.
    Raises ValueError with the rest of a sentence ("must be ...") that does not repeat the value.
    """
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, datetime):
        return _in_utc(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be an RFC 3339 string or Unix seconds")  # noqa: TRY004 - callers catch one kind
    if _reads_as_a_date(value):
        raise ValueError("must be a date like 2024-01-31, or Unix seconds: eight digits could be either")
    if not _FIRST_SECOND <= value <= _LAST_SECOND:  # false for NaN, too
        raise ValueError("must be Unix seconds before the year 10000: milliseconds have to be divided by 1000")
    return _EPOCH + timedelta(seconds=value)


def _reads_as_a_date(number: float) -> bool:
    """Whether a person would read it as year, month and day of this age; as Unix seconds it is a day of 1970."""
    if not _FIRST_DATE <= number <= _LAST_DATE or number != int(number):
        return False
    try:
        date.fromisoformat(str(int(number)))
    except ValueError:
        return False
    return True


def format_time(time: datetime) -> str:
    """An aware time as RFC 3339 in UTC, ending in Z."""
    return time.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def _from_text(text: str) -> datetime:
    text = text.strip().upper()
    if not _RFC_3339.fullmatch(text):
        raise ValueError("must be a time like 2024-05-01T12:30:00Z, or Unix seconds")
    try:
        return _in_utc(datetime.fromisoformat(text))
    except ValueError as error:
        raise ValueError("must be a time that exists, like 2024-05-01T12:30:00Z") from error


def _in_utc(time: datetime) -> datetime:
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must be a time between the years 1 and 9999") from error
