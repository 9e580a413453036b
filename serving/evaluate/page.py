"""The report as one HTML page that needs nothing else: tables, and bars with their intervals as inline SVG."""

import math
from collections.abc import Sequence
from html import escape

from serving.evaluate.report import Report, StrategyResult
from serving.evaluate.table import number, summary

PLOTS = ("ndcg@10", "recall@10", "mrr@10", "novelty@10", "diversity@10")
BAR, GAP, LABEL, WIDTH = 18, 8, 150, 640  # pixels

STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem; text-align: right; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
small { opacity: .7; white-space: nowrap; }
.scroll { overflow-x: auto; }
svg { max-width: 100%; height: auto; }
svg text { fill: currentColor; font: 12px system-ui, sans-serif; }
.akin { fill: #2563eb; } .other { fill: #94a3b8; }
.interval { stroke: currentColor; stroke-width: 1.5; }
"""


def html_page(report: Report) -> str:
    """The whole page; akin's strategies are marked by colour."""
    sentences = "".join(f"<p>{escape(line)}</p>" for line in summary(report).splitlines())
    plots = "".join(f"<h3>{escape(name)}</h3>{bars(report.strategies, name)}" for name in PLOTS)
    fitted = (f"{result.name}: {result.note}" for result in report.strategies if result.note)
    notes = "".join(f"<li>{escape(note)}</li>" for note in (*fitted, *report.notes))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>akin: offline evaluation</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><h1>Offline evaluation</h1>{sentences}"
        f"<h2>All users</h2>{_overall(report.strategies)}{plots}"
        f"<h2>nDCG@10 by slice</h2>{_slices(report)}<ul>{notes}</ul></body></html>\n"
    )


def bars(results: Sequence[StrategyResult], measure: str) -> str:
    """One bar per strategy with its interval, as an SVG element."""
    known = [result for result in results if not math.isnan(result.measures[measure].mean)]
    longest = max((result.measures[measure].high for result in known), default=0.0) or 1.0
    scale = (WIDTH - LABEL - 60) / longest
    rows = "".join(_bar(result, measure, place, scale) for place, result in enumerate(known))
    height = len(known) * (BAR + GAP)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        f'aria-label="{escape(measure)} by strategy">{rows}</svg>'
    )


def _bar(result: StrategyResult, measure: str, place: int, scale: float) -> str:
    estimate = result.measures[measure]
    top, middle = place * (BAR + GAP), place * (BAR + GAP) + BAR / 2
    low, high = LABEL + estimate.low * scale, LABEL + estimate.high * scale
    return (
        f'<text x="{LABEL - 8}" y="{middle + 4}" text-anchor="end">{escape(result.name)}</text>'
        f'<rect class="{"akin" if result.is_akin else "other"}" x="{LABEL}" y="{top}" '
        f'width="{max(estimate.mean * scale, 0):.1f}" height="{BAR}"/>'
        f'<line class="interval" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>'
        f'<text x="{high + 6:.1f}" y="{middle + 4}">{number(estimate.mean)}</text>'
    )


def _overall(results: Sequence[StrategyResult]) -> str:
    if not results:
        return ""
    names = [*results[0].measures, *results[0].coverage]
    rows = []
    for result in results:
        cells = [_cell(e.mean, e.low, e.high) for e in result.measures.values()]
        rows.append([escape(result.name), *cells, *map(number, result.coverage.values())])
    return _table(["strategy", *map(escape, names)], rows)


def _slices(report: Report) -> str:
    if not report.strategies:
        return ""
    parts = report.strategies[0].slices
    head = [
        f"{escape(name)}<br><small>{part.users:,} users: {escape(report.slices[name])}</small>"
        for name, part in parts.items()
    ]
    rows = []
    for result in report.strategies:
        found = [part.measures["ndcg@10"] for part in result.slices.values()]
        rows.append([escape(result.name), *(_cell(e.mean, e.low, e.high) for e in found)])
    return _table(["strategy", *head], rows)


def _cell(mean: float, low: float, high: float) -> str:
    return f"{number(mean)}<br><small>{number(low)} to {number(high)}</small>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
