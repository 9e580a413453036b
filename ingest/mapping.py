"""Which columns of a file become which fields: read from a TOML file and from `field=column` options.

A field without a mapping is taken from the column of its own name; columns that nothing maps are ignored.
"""

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ingest.errors import InvalidInputError, SettingsError

Columns = Mapping[str, tuple[str, ...]]  # field -> the columns it is made of, in order; () takes it from nowhere

ITEM_FIELDS = ("item_id", "title", "text", "categories", "version")
EVENT_FIELDS = ("event_id", "user_id", "item_id", "type", "value", "timestamp", "dwell_ms", "recommendation_id")


@dataclass(frozen=True, kw_only=True)
class ItemMapping:
    """Columns of items: texts are joined, categories merged; for any other field the first that is filled counts."""

    fields: Columns = field(default_factory=dict)
    attributes: Columns = field(default_factory=dict)
    separators: Mapping[str, str] = field(default_factory=dict)  # column -> what separates the values in its cells

    def columns_of(self, name: str) -> tuple[str, ...]:
        """The columns that the field `name` is made of."""
        return self.fields.get(name, (name,))

    def attribute_columns(self, declared: Collection[str]) -> Columns:
        """The columns of every attribute that is mapped or declared."""
        own = {name: (name,) for name in declared if name not in ITEM_FIELDS}
        return {**own, **self.attributes}

    def columns(self, declared: Collection[str]) -> frozenset[str]:
        """Every column that is looked at."""
        found = {"attributes"}.union(*(self.columns_of(name) for name in ITEM_FIELDS))
        return frozenset(found.union(*self.attribute_columns(declared).values()))

    def mapped(self) -> frozenset[str]:
        """The columns that somebody named."""
        return frozenset[str]().union(*self.fields.values(), *self.attributes.values())

    def check(self, available: Collection[str]) -> None:
        """Raise InvalidInputError when a file with these columns lacks one that is mapped, or the item's id."""
        _check_mapped({**self.fields, **self.attributes}, available)
        _check_required("item_id", self.columns_of("item_id"), available)

    def with_options(self, options: Iterable[str]) -> "ItemMapping":
        """This mapping changed by options: `title=name`, `attributes.year=published`; repeated ones add columns.

        Raises SettingsError for an option it cannot read.
        """
        fields: dict[str, tuple[str, ...]] = {}
        attributes: dict[str, tuple[str, ...]] = {}
        for name, column in map(_split_option, options):
            target, key = (attributes, name[11:]) if name.startswith("attributes.") else (fields, name)
            target[key] = (*target.get(key, ()), *_column_names(column, name))
        _check_names(fields, ITEM_FIELDS, "--map")
        return replace(self, fields={**self.fields, **fields}, attributes={**self.attributes, **attributes})


@dataclass(frozen=True, kw_only=True)
class EventMapping:
    """Columns of events: of several, the first that is filled counts; constants hold for every row."""

    fields: Columns = field(default_factory=dict)
    constants: Mapping[str, str | int | float] = field(default_factory=dict)

    def columns_of(self, name: str) -> tuple[str, ...]:
        """The columns that the field `name` is looked for in."""
        return self.fields.get(name, ("type", "event") if name == "type" else (name,))

    def columns(self) -> frozenset[str]:
        """Every column that is looked at."""
        return frozenset[str]().union(*(self.columns_of(name) for name in EVENT_FIELDS))

    def mapped(self) -> frozenset[str]:
        """The columns that somebody named."""
        return frozenset[str]().union(*self.fields.values())

    def check(self, available: Collection[str]) -> None:
        """Raise InvalidInputError when a file with these columns lacks one that is mapped or necessary."""
        _check_mapped(self.fields, available)
        for name in ("user_id", "item_id", "type"):
            if name not in self.constants:
                _check_required(name, self.columns_of(name), available)

    def with_options(self, options: Iterable[str]) -> "EventMapping":
        """This mapping changed by options such as `user_id=customer`; raises SettingsError for one it cannot read."""
        fields: dict[str, tuple[str, ...]] = {}
        for name, column in map(_split_option, options):
            fields[name] = (*fields.get(name, ()), *_column_names(column, name))
        _check_names(fields, EVENT_FIELDS, "--map")
        constants = {name: value for name, value in self.constants.items() if name not in fields}
        return replace(self, fields={**self.fields, **fields}, constants=constants)


def load_mapping(path: Path) -> tuple[ItemMapping, EventMapping]:
    """Read a mapping file; raises SettingsError saying which part of it is wrong."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"the mapping file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise SettingsError(f"the mapping file {path} is not TOML: {error}") from error
    _check_names(tables, ("items", "events"), str(path))
    return _item_mapping(_table(tables, "items")), _event_mapping(_table(tables, "events"))


def _item_mapping(table: dict[str, Any]) -> ItemMapping:
    attributes = _columns(_table(table, "attributes"), "items.attributes")
    separators = _table(table, "separators")
    if not all(isinstance(separator, str) and separator for separator in separators.values()):
        raise SettingsError('items.separators: every separator must be a string, for example genres = "|"')
    fields = {name: value for name, value in table.items() if name not in {"attributes", "separators"}}
    _check_names(fields, ITEM_FIELDS, "items")
    return ItemMapping(fields=_columns(fields, "items"), attributes=attributes, separators=separators)


def _event_mapping(table: dict[str, Any]) -> EventMapping:
    constants = _table(table, "constants")
    fields = {name: value for name, value in table.items() if name != "constants"}
    _check_names(fields, EVENT_FIELDS, "events")
    _check_names(constants, EVENT_FIELDS, "events.constants")
    both = sorted(constants.keys() & fields.keys())
    if both:
        raise SettingsError(f"events: {both[0]} has both a column and a constant; keep one of them")
    return EventMapping(fields=_columns(fields, "events"), constants=constants)


def _table(tables: dict[str, Any], name: str) -> dict[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise SettingsError(f"{name} must be a table: write [{name}] on a line of its own")
    return table


def _columns(table: dict[str, Any], where: str) -> dict[str, tuple[str, ...]]:
    return {name: _column_names(value, f"{where}.{name}") for name, value in table.items()}


def _column_names(value: Any, where: str) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SettingsError(f"{where} must be the name of a column or a list of names")
    return tuple(name for name in names if name)


def _split_option(option: str) -> tuple[str, str]:
    name, equals, column = option.partition("=")
    if not equals or not name.strip():
        raise SettingsError("--map takes field=column, for example --map title=name")
    return name.strip(), column.strip()


def _check_names(found: Iterable[str], known: Collection[str], where: str) -> None:
    for name in found:
        if name not in known:
            raise SettingsError(f"{where}: {name} is none of {', '.join(known)}")


def _check_mapped(columns: Columns, available: Collection[str]) -> None:
    for name, mapped in columns.items():
        for column in mapped:
            if column not in available:
                raise _missing(f"{name} is mapped to the column {column}, which the file lacks", available)


def _check_required(name: str, columns: tuple[str, ...], available: Collection[str]) -> None:
    if not set(columns) & set(available):
        raise _missing(f"the file has no column {name}; say which one it is with --map {name}=COLUMN", available)


def _missing(sentence: str, available: Collection[str]) -> InvalidInputError:
    return InvalidInputError("missing_column", f"{sentence}. It has: {', '.join(list(available)[:50])}")
