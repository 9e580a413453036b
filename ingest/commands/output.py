"""What the command line prints: tables for a person, or one JSON object for a machine."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

console = Console()


def print_json(values: Mapping[str, Any]) -> None:
    """One JSON object on standard output."""
    print(orjson.dumps(dict(values), default=str).decode())  # noqa: T201 - this is the output


def show(values: Mapping[str, Any], *, as_json: bool) -> None:
    """Names and values, one a line; to a person, nothing of what is not there."""
    if as_json:
        print_json(values)
        return
    if not values:
        console.print("none")
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")  # a hash is longer than a line, and no part of it may be missing
    for name, value in values.items():
        if value is not None:
            table.add_row(Text(name, style="bold"), Text(_in_words(value) or "-"))
    console.print(table)


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def show_keys(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """API keys by what may be shown of them."""
    if as_json:
        print_json({"keys": rows})
        return
    if not rows:
        console.print("no keys yet, so none is asked for; `akin keys create NAME --scope admin` makes one")
        return
    table = Table(title="keys", title_justify="left")
    add_typed(table, "id", [row["id"] for row in rows])
    for column in ("name", "scopes", "made", "revoked"):
        table.add_column(column, overflow="fold")
    for row in rows:
        revoked = f"{row['revoked_at']:%Y-%m-%d %H:%M}" if row["revoked_at"] else "-"
        table.add_row(
            row["id"], Text(row["name"]), " ".join(row["scopes"]), f"{row['created_at']:%Y-%m-%d %H:%M}", revoked
        )
    console.print(table)


def show_rejects(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """What was refused on its way in, as the API lists it: when, of which item or event, and why."""
    if as_json:
        print_json({"rejects": rows})
        return
    if not rows:
        console.print("none")
        return
    table = Table(title="rejects", title_justify="left")
    table.add_column("when", no_wrap=True)
    for column in ("subject", "source", "reason"):
        table.add_column(column, overflow="fold")
    for row in rows:
        when = f"{row['rejected_at']:%Y-%m-%d %H:%M:%S}"
        source = f"{row['source']} {row['position']}"
        table.add_row(when, Text(row["subject_id"] or "-"), Text(source), Text(f"{row['code']}: {row['detail']}"))
    console.print(table)


def add_typed(table: Table, heading: str, values: Sequence[str]) -> None:
    """A column of what a person types into the next command: on one line while half of the terminal has room for it."""
    fits = max(map(len, values), default=0) <= console.width // 2
    table.add_column(heading, no_wrap=fits, overflow="fold")
