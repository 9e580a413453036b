"""Text as akin keeps and embeds it: cleaned, put together from a template, hashed. Knows nothing of models."""

import re
import unicodedata
from collections.abc import Collection, Mapping
from functools import lru_cache, partial
from hashlib import sha256
from html import unescape
from html.entities import html5
from typing import Any, Protocol

from ingest.errors import SettingsError
from ingest.markup import strip_tags

_TEXT_FIELDS = ("title", "text", "categories")
_ROUNDS = 8

_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\ufeff\ud800-\udfff]")
_CONTROL_SPACE = re.compile("[\t-\r\x1c-\x1f\x85\u2028\u2029]")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Describable(Protocol):
    """What a template can be filled from; an `Item` is one."""

    @property
    def title(self) -> str:
        """The title, or empty."""

    @property
    def text(self) -> str:
        """The long text, or empty."""

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories, in the catalogue's order."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Attribute values by name."""


def clean(text: str) -> str:
    """Text without markup, entities, control characters and lone surrogates, in NFC, with single spaces.

    Line and paragraph breaks become one newline each. `clean(clean(x)) == clean(x)` for every x: escaped markup is
    unwrapped until nothing changes, and what is still nested after eight rounds loses its `<` and `&`.
    """
    text = _tidy(text)
    for _ in range(_ROUNDS):
        if "<" not in text and "&" not in text:
            return text
        stripped = _tidy(_ENTITY.sub(_unescape, strip_tags(text)))
        if stripped == text:
            return text
        text = stripped
    return _tidy(text.replace("<", " ").replace("&", " "))


def clean_line(text: str) -> str:
    """`clean`, on one line: what titles and categories are kept as."""
    return clean(text).replace("\n", " ")


def plain(text: str) -> str:
    """An attribute's string in NFC: tabs and line breaks are spaces, other control characters and surrogates gone."""
    if text.isascii() and text.isprintable():
        return text
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", _CONTROL_SPACE.sub(" ", text)))


def content_hash(text: str) -> str:
    """SHA-256, in hex, of the text after normalising its spaces and its Unicode form."""
    return sha256(_tidy(text).encode()).hexdigest()


def check_template(template: str, attributes: Collection[str]) -> None:
    """Raise SettingsError unless every name in braces is title, text, categories or one of `attributes`."""
    known = dict.fromkeys((*_TEXT_FIELDS, *attributes))
    names = _PLACEHOLDER.findall(template)
    if not names:
        raise SettingsError("text_template has no field in braces; {title} and {text} would do")
    for name in names:
        if name not in known:
            raise SettingsError(
                f"text_template names {{{name}}}, which is no field and no declared attribute; "
                f"it may name {', '.join(known)}"
            )
    if set("{}") & set(_PLACEHOLDER.sub("", template)):
        raise SettingsError("text_template has a brace that belongs to no field; write fields as {title}")


def render(template: str, item: Describable) -> str:
    """The text of an item that is embedded. A line all of whose fields are empty is left out."""
    lines = []
    for line, names in _template_lines(template):
        values = {name: _as_text(_value(item, name)) for name in names}
        if names and not any(values.values()):
            continue
        lines.append(_PLACEHOLDER.sub(partial(_value_of, values), line))
    return "\n".join(lines)


def _value_of(values: Mapping[str, str], match: re.Match[str]) -> str:
    return values[match[1]]


@lru_cache(maxsize=32)
def _template_lines(template: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((line, tuple(_PLACEHOLDER.findall(line))) for line in template.splitlines())


def _value(item: Describable, name: str) -> Any:
    return getattr(item, name) if name in _TEXT_FIELDS else item.attributes.get(name)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(str(part) for part in value.values())
    if isinstance(value, list | tuple):
        return ", ".join(_as_text(part) for part in value)
    return str(value)


def _tidy(text: str) -> str:
    if text.isascii() and text.isprintable():  # nearly every text is, and needs nothing but this
        return " ".join(text.split())
    text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    return "\n".join(line for line in (" ".join(line.split()) for line in text.splitlines()) if line)


def _unescape(match: re.Match[str]) -> str:
    entity = match[0]
    # Only entities that end in a semicolon: "&sect=1" in a link is no paragraph sign.
    return unescape(entity) if entity[1] == "#" else html5.get(entity[1:], entity)
