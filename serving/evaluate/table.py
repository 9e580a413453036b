"""The report for a person at a terminal, as wide as that is."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ingest.sentences import count_of
from serving.evaluate.report import Estimate, Report, StrategyResult

WITH_INTERVAL = ("ndcg@10", "recall@10")
PLAIN = ("mrr@10", "coverage@10", "diversity@10", "novelty@10", "ndcg@20", "recall@20")  # what goes last, first


@dataclass(frozen=True)
class _Column:
    name: str
    heading: str
    cells: Sequence[str]


def print_report(report: Report, console: Console) -> None:
    """Two tables, both sorted by nDCG@10: over all users, and nDCG@10 over the slices; what does not fit is named.

    Of the slices, intervals go first, then the headings are folded: all five fit a terminal of 80 columns.
    """
    console.print(Text(summary(report)))
    names = [_name(result) for result in report.strategies]
    whole = list(_overall(report.strategies))
    shown = _most_that_fit("all users", names, whole, console)
    for interval, folded in ((True, False), (False, False), (False, True)):
        slices = list(_slices(report, interval=interval, folded=folded))
        if _fitting("nDCG@10 by slice", names, slices, console) == len(slices):
            break
    shown_slices = _most_that_fit("nDCG@10 by slice", names, slices, console)
    left_out = [column.name for column in (*whole[shown:], *slices[shown_slices:])]
    if left_out:
        console.print(Text(f"wider terminals, --json and --html also show {', '.join(left_out)}", style="dim"))
    fitted = (f"{result.name}: {result.note}" for result in report.strategies if result.note)
    for note in (*(f"{name}: {words}" for name, words in report.slices.items()), *fitted, *report.notes):
        console.print(Text(note, style="dim"))


def summary(report: Report) -> str:
    """What was measured, in two sentences."""
    return (
        f"{count_of(report.users, 'user')}, {count_of(report.items, 'item')}, "
        f"{count_of(report.train_events, 'training event')}, {count_of(report.held_out, 'held-out item')}; "
        "full-catalogue ranking without seen items, 95 % bootstrap intervals.\n"
        f"Split {report.split_description}."
    )


def number(value: float) -> str:
    """Three digits, or a dash for what could not be measured."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def _overall(results: Sequence[StrategyResult]) -> Iterator[_Column]:
    for name in WITH_INTERVAL:
        yield _Column(name, name, [_cell(result.measures[name], interval=True) for result in results])
    for name in PLAIN:
        means = (result.coverage.get(name) for result in results)
        values = (
            result.measures[name].mean if mean is None else mean for result, mean in zip(results, means, strict=True)
        )
        yield _Column(name, name, [number(value) for value in values])


def _slices(report: Report, *, interval: bool, folded: bool) -> Iterator[_Column]:
    first = report.strategies[0].slices if report.strategies else {}
    for name, part in first.items():
        parts = [result.slices[name] for result in report.strategies]
        cells = [_cell(one.measures["ndcg@10"], interval=interval) if one.users else "-" for one in parts]
        heading = f"{name}\n{count_of(part.users, 'user')}"
        yield _Column(name, heading.replace(" ", "\n") if folded else heading, cells)


def _most_that_fit(title: str, names: Sequence[Text], columns: Sequence[_Column], console: Console) -> int:
    """Print the table of as many columns as the terminal has room for; returns how many those are."""
    shown = _fitting(title, names, columns, console)
    console.print(_table(title, names, columns[:shown]))
    return shown


def _fitting(title: str, names: Sequence[Text], columns: Sequence[_Column], console: Console) -> int:
    for count in range(len(columns), 1, -1):
        table = _table(title, names, columns[:count])
        if Measurement.get(console, console.options.update(width=10_000), table).maximum <= console.width:
            return count
    return min(1, len(columns))


def _table(title: str, names: Sequence[Text], columns: Sequence[_Column]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("strategy", overflow="fold")
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for row, name in enumerate(names):
        table.add_row(name, *(column.cells[row] for column in columns))
    return table


def _cell(estimate: Estimate, *, interval: bool) -> str:
    bounds = f" {number(estimate.low)}..{number(estimate.high)}" if interval else ""
    return number(estimate.mean) + bounds


def _name(result: StrategyResult) -> Text:
    return Text(result.name, style="bold" if result.is_akin else "")
