"""What the command line prints of answers and generations: tables for a person, or one JSON object for a machine."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from ingest.commands.output import add_typed, console, print_json

REASONS_SHOWN = 3
_SMALLEST_SHOWN = 0.0005  # of a share, as scores have three places


def show_answer(title: str, answer: Mapping[str, Any], *, as_json: bool) -> None:
    """Items of an answer with their scores, and the reasons where they were asked for."""
    if as_json:
        print_json(answer)
        return
    table = Table(title=title, title_justify="left")
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("item", overflow="fold", ratio=1)  # one under the other: beside each other they are cut or broken
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("source", no_wrap=True)
    for place, item in enumerate(answer["items"], start=1):
        table.add_row(str(place), _described(item), f"{item['score']:.3f}", item["source"])
    console.print(table)


def show_facets(facets: Mapping[str, Mapping[str, Any]]) -> None:
    """How the best items are spread over attributes."""
    table = Table(title="facets", title_justify="left")
    for column in ("attribute", "items", "values"):
        table.add_column(column, justify="right" if column == "items" else "left")
    for name, facet in facets.items():
        table.add_row(name, str(facet["items"]), Text(_spread(facet)))
    console.print(table)


def show_history(title: str, events: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> None:
    """Past events, newest first."""
    table = Table(title=title, title_justify="left")
    for column in ("when", "what", "item"):
        table.add_column(column)
    for event in events:
        value = event.get("value")
        what = f"{event['type']} {value:g}" if value is not None else str(event["type"])
        item = titles.get(event["item_id"]) or event["item_id"]
        table.add_row(str(event.get("timestamp") or "-")[:10], what, Text(item))
    console.print(table)


def show_generations(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Generations, newest first, with what their gate said."""
    if as_json:
        print_json({"generations": rows})
        return
    if not rows:
        console.print("no generations yet; `akin ingest items FILE` or `akin up` makes the first")
        return
    table = Table(title="generations", title_justify="left")
    add_typed(table, "name", [row["name"] for row in rows])
    for column in ("state", "items", "encoder", "gate"):
        table.add_column(column, overflow="fold")
    for row in rows:
        placed = row.get("placed")  # not told of every one; else what it was built with
        items = str(row["items"] if placed is None else placed)
        table.add_row(row["name"], row["state"], items, row["fingerprint"][:12], _gate(row["report"]))
    console.print(table)


def _title(item: Mapping[str, Any]) -> str:
    fields = item.get("fields") or {}
    return str(fields.get("title") or item["item_id"])


def _spread(facet: Mapping[str, Any]) -> str:
    if "values" in facet:
        return ", ".join(f"{one['value']} {one['count']}" for one in facet["values"])
    return f"{facet['min']:g} to {facet['max']:g}" if "min" in facet else "-"


def _described(item: Mapping[str, Any]) -> Text:
    """A line each for the title, the id, and what speaks for it."""
    text = Text(_title(item))
    if _title(item) != item["item_id"]:
        text.append(f"\n{item['item_id']}", style="dim")
    if reasons := _reasons(item):
        text.append(f"\nbecause of {reasons}", style="dim")
    return text


def _reasons(item: Mapping[str, Any]) -> str:
    """The past items that speak most for this one; several events with one item are told together."""
    shares: defaultdict[str, float] = defaultdict(float)
    for reason in item.get("because") or ():
        shares[reason.get("title") or reason["item_id"]] += reason["share"]
    strongest = sorted(shares.items(), key=lambda pair: -pair[1])[:REASONS_SHOWN]
    return "; ".join(f"{title} {share:+.3f}" for title, share in strongest if abs(share) >= _SMALLEST_SHOWN)


def _gate(report: Mapping[str, Any]) -> str:
    checks = report.get("checks", [])
    said = [f"{check['name']} {check['value']:g}{'' if check['passed'] else ' FAILED'}" for check in checks]
    return ", ".join(said) or str(report.get("reason", "-"))
