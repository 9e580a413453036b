"""What the command line shows a person: tables and progress bars. Machines get `--json` instead."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

REASONS_SHOWN = 3

console = Console()
stderr = Console(stderr=True)


def pairs(values: Mapping[str, Any]) -> None:
    """Names and values, one a line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in values.items():
        table.add_row(Text(name, style="bold"), Text(str(value)))
    console.print(table)


def answer(title: str, items: Sequence[Mapping[str, Any]]) -> None:
    """Items of an answer with their scores, and the reasons where they were asked for."""
    table = Table(title=title, title_justify="left")
    table.add_column("#", justify="right")
    table.add_column("item")
    table.add_column("score", justify="right")
    table.add_column("source")
    reasoned = any(item.get("because") for item in items)
    if reasoned:
        table.add_column("because of")
    for place, item in enumerate(items, start=1):
        row = [str(place), Text(_name(item)), f"{item['score']:.3f}", item["source"]]
        table.add_row(*row, *([Text(_reasons(item))] if reasoned else []))
    console.print(table)


def history(title: str, events: Sequence[Mapping[str, Any]]) -> None:
    """Past events, newest first."""
    table = Table(title=title, title_justify="left")
    for column in ("when", "what", "item"):
        table.add_column(column)
    for event in events:
        value = event.get("value")
        what = f"{event['type']} {value:g}" if value is not None else str(event["type"])
        table.add_row(str(event.get("timestamp") or "-")[:10], what, Text(_name(event)))
    console.print(table)


def generations(rows: Sequence[Mapping[str, Any]]) -> None:
    """Generations, newest first, with what their gate said."""
    table = Table(title="generations", title_justify="left")
    for column in ("name", "state", "items", "encoder", "gate"):
        table.add_column(column)
    for row in rows:
        gate = row.get("report", {}).get("checks", [])
        said = ", ".join(f"{check['name']} {check['value']:g}{'' if check['passed'] else ' FAILED'}" for check in gate)
        reason = str(row.get("report", {}).get("reason", ""))
        table.add_row(row["name"], row["state"], str(row["items"]), row["fingerprint"][:12], said or reason or "-")
    console.print(table)


@contextmanager
def progress_bar(what: str, total: float | None) -> Iterator[Callable[[float, float | None], None]]:
    """A bar on standard error; call what it gives with how much is done and, when it changed, the total."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=stderr, transient=not stderr.is_terminal) as bars:
        task = bars.add_task(what, total=total)

        def show(done: float, total: float | None = None) -> None:
            bars.update(task, completed=done, total=total)

        yield show


@contextmanager
def spinner(what: str) -> Iterator[Callable[[str], None]]:
    """A spinner on standard error for work whose length is not known; call what it gives with the present step."""
    with stderr.status(what) as status:
        yield lambda step: status.update(f"{what}: {step}")


def _name(entry: Mapping[str, Any]) -> str:
    fields = entry.get("fields") or {}
    return str(fields.get("title") or entry.get("title") or entry["item_id"])


def _reasons(item: Mapping[str, Any]) -> str:
    shown = (item.get("because") or [])[:REASONS_SHOWN]
    return ", ".join(f"{reason.get('title') or reason['item_id']} {reason['share']:+.2f}" for reason in shown)
