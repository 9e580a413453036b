"""Tells markup from text that only holds a `<`, and takes the markup out in linear time, however it is nested."""

import re
from collections.abc import Mapping

_BLOCK = (
    "address|article|aside|blockquote|body|br|caption|center|dd|details|div|dl|dt|fieldset|figcaption|figure|footer|"
    "form|h[1-6]|head|header|hr|html|li|main|nav|ol|option|p|pre|section|summary|table|tbody|td|tfoot|th|thead|tr|ul"
)
_INLINE = (
    "a|abbr|acronym|audio|b|bdi|bdo|big|button|cite|code|del|dfn|em|embed|font|i|img|input|ins|kbd|label|link|mark|"
    "meta|noscript|object|picture|q|rp|rt|ruby|s|samp|select|small|source|span|strike|strong|sub|sup|svg|template|time|"
    "tt|u|var|video|wbr"
)
_RAW = ("iframe", "script", "style", "textarea", "title")
_DROPPED = "iframe, script, style"
# A tag is a known name followed by its end or by something that reads like an attribute, so that comparisons and
# generics ("x<y", "a <b and c>") stay text. Every alternative looks a few characters ahead at most: linear time.
_TAG = re.compile(
    rf"<(?:/?(?:(?P<block>{_BLOCK})|(?P<inline>{_INLINE})|(?P<raw>{'|'.join(_RAW)}))"
    r"(?=\s{0,8}/?>|\s{1,8}[a-z_:@][\w:.-]{0,40}\s?=|\s(?:allowfullscreen|async|controls|defer|disabled|hidden|open)\b)"
    r"|!doctype\s|\?xml\s|(?P<comment>!--))",
    re.IGNORECASE | re.ASCII,
)


def strip_tags(text: str) -> str:
    """The text without its tags, scripts, styles and comments; entities stay. Without markup, the text itself."""
    flat = _flat_markup(text)
    if flat is None:
        return text
    from selectolax.lexbor import LexborHTMLParser  # noqa: PLC0415 - most catalogues hold no markup at all

    body = LexborHTMLParser(f"<body>{flat}").body
    if body is None:
        return ""
    for node in body.css(_DROPPED):
        node.decompose()
    return str(body.text(deep=True))


def _flat_markup(text: str) -> str | None:
    """The text as HTML that cannot nest, or None when there is no markup in it.

    Block tags become `br` after a newline and inline tags `wbr`, opening and closing alike, because a parser takes
    quadratic time for a hundred thousand open elements. Every `<` and `&` that is not markup is escaped.
    """
    ends = _last_ends(text)
    tags = [match for match in _TAG.finditer(text) if _is_closed(match, ends)]
    if not tags:
        return None
    if any(match["block"] for match in tags):
        text = text.replace("\n", " ")  # in the source of a page a line break is a space
    parts: list[str] = []
    done = 0
    for match in tags:
        opening = "\n<br" if match["block"] else "<wbr" if match["inline"] else match[0]
        parts += [_escape(text[done : match.start()]), opening]
        done = match.end()
    return "".join(parts) + _escape(text[done:])


def _last_ends(text: str) -> Mapping[str, int]:
    lowered = text.lower()
    ends = {name: lowered.rfind(f"</{name}") for name in _RAW}
    return {**ends, "tag": text.rfind(">"), "comment": text.rfind("-->")}


def _is_closed(tag: re.Match[str], last_ends: Mapping[str, int]) -> bool:
    """Whether the tag ends at all: a parser would take all the rest of the text for part of it otherwise."""
    kind = "comment" if tag["comment"] else tag["raw"].lower() if tag["raw"] else "tag"
    return tag.start() <= last_ends[kind]


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
