"""The report for a person at a terminal."""

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from serving.evaluate.report import Estimate, Report, StrategyResult

SHOWN = ("ndcg@10", "recall@10", "mrr@10", "ndcg@20", "recall@20")
WITH_INTERVAL = ("ndcg@10", "recall@10")


def print_report(report: Report, console: Console) -> None:
    """Two tables, both sorted by nDCG@10: everything over all users, and nDCG@10 over the slices."""
    console.print(Text(summary(report)))
    console.print(_overall(report.strategies))
    console.print(_slices(report))
    fitted = (f"{result.name}: {result.note}" for result in report.strategies if result.note)
    for note in (*(f"{name}: {words}" for name, words in report.slices.items()), *fitted, *report.notes):
        console.print(Text(note, style="dim"))


def summary(report: Report) -> str:
    """What was measured, in two sentences."""
    return (
        f"{report.users:,} users, {report.items:,} items, {report.train_events:,} training events, "
        f"{report.held_out:,} held-out items; full-catalogue ranking without seen items, 95 % bootstrap intervals.\n"
        f"Split {report.split_description}."
    )


def number(value: float) -> str:
    """Three digits, or a dash for what could not be measured."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def _overall(results: Sequence[StrategyResult]) -> Table:
    table = Table(title="all users", title_justify="left")
    table.add_column("strategy")
    for name in (*SHOWN, "coverage@10", "novelty@10", "diversity@10"):
        table.add_column(name, justify="right")
    for result in results:
        cells = [_cell(result.measures[name], interval=name in WITH_INTERVAL) for name in SHOWN]
        beyond = (result.coverage["coverage@10"], *(result.measures[m].mean for m in ("novelty@10", "diversity@10")))
        table.add_row(_name(result), *cells, *map(number, beyond))
    return table


def _slices(report: Report) -> Table:
    table = Table(title="nDCG@10 by slice", title_justify="left")
    table.add_column("strategy")
    first = report.strategies[0].slices if report.strategies else {}
    for name, part in first.items():
        table.add_column(f"{name}\n{part.users:,} users", justify="right")
    for result in report.strategies:
        parts = result.slices.values()
        cells = [_cell(part.measures["ndcg@10"], interval=True) if part.users else "-" for part in parts]
        table.add_row(_name(result), *cells)
    return table


def _cell(estimate: Estimate, *, interval: bool) -> str:
    bounds = f" {number(estimate.low)}..{number(estimate.high)}" if interval else ""
    return number(estimate.mean) + bounds


def _name(result: StrategyResult) -> Text:
    return Text(result.name, style="bold" if result.is_akin else "")
