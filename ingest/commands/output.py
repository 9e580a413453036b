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
    """Names and values, one a line."""
    if as_json:
        print_json(values)
        return
    if not values:
        console.print("none")
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in values.items():
        table.add_row(Text(name, style="bold"), Text(str(value)))
    console.print(table)


def show_keys(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """API keys by what may be shown of them."""
    if as_json:
        print_json({"keys": rows})
        return
    table = Table(title="keys", title_justify="left")
    for column in ("id", "name", "scopes", "made", "revoked"):
        table.add_column(column)
    for row in rows:
        revoked = f"{row['revoked_at']:%Y-%m-%d %H:%M}" if row["revoked_at"] else "-"
        table.add_row(
            row["id"], Text(row["name"]), " ".join(row["scopes"]), f"{row['created_at']:%Y-%m-%d %H:%M}", revoked
        )
    console.print(table)
