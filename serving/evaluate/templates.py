"""Text templates that tell an attribute more than the present one does: what a tuning tries."""

from collections.abc import Iterator

from ingest.items import AttributeType
from ingest.settings import Settings

_READ = (
    AttributeType.KEYWORD,
    AttributeType.INTEGER,
)  # names and years say something to an encoder, other values little


def missing_attributes(settings: Settings) -> Iterator[str]:
    """The declared attributes that the text template does not name and that might say what an item is about."""
    for name, type_ in settings.attributes.items():
        if type_ in _READ and f"{{{name}}}" not in settings.text_template:
            yield name


def with_line_for(name: str, template: str) -> str:
    """The template with a line for that attribute behind its first line: the end of a long text counts less."""
    first, *rest = template.split("\n")
    return "\n".join([first, f"{{{name}}}", *rest])
