"""What a run found, as a person reads it: a table a set and mode, and a plot."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ingest.benchmark.encoder import Figure, Results
from ingest.benchmark.peak import Peak
from ingest.benchmark.texts import SETS


def show(results: Results, console: Console) -> None:
    """Print every table, the fidelity of the recipes, and what was left out."""
    console.print(f"int8 peak: {_peak(results.peak) if results.peak else 'not measured'}")
    for name, modes in results.figures.items():
        for mode, figures in modes.items():
            console.print(_speed(f"{name} ({SETS[name]}), {mode}", figures))
        console.print(_fidelity(f"{name}: akin against its own fp32", results, name))
    for engine, reason in results.skipped.items():
        console.print(f"skipped {engine}: {reason}", markup=False)  # a reason may name an extra in brackets


def _speed(title: str, figures: Mapping[str, Figure]) -> Table:
    peers = [engine for engine in figures if not engine.startswith("akin-")]
    table = Table(title=title, title_justify="left")
    for heading in ("engine", "texts/s", "tokens/s", "tokens read", "padding", "of peak", "memory MB"):
        table.add_column(heading, justify="left" if heading == "engine" else "right")
    for peer in peers:
        table.add_column(f"x {peer}", justify="right")
    for engine, figure in figures.items():
        ratios = (f"{figure.texts_per_s / figures[peer].texts_per_s:.2f}" for peer in peers)
        table.add_row(engine, *_cells(figure), *ratios)
    return table


def _peak(peak: Peak) -> str:
    said = f"{peak.macs_per_s / 1e9:.0f} GMAC/s, {peak.method}"
    if peak.tiles_per_s is None:
        return said
    return f"{said}; tiles (AMX) do {peak.tiles_per_s / 1e9:.0f}, so shares of it may be above 100 %"


def _cells(figure: Figure) -> Iterator[str]:
    yield f"{figure.texts_per_s:.1f}"
    yield f"{figure.tokens_per_s:.0f}"
    yield str(figure.tokens)
    yield f"{figure.padding:.1%}"
    yield "-" if figure.peak_share is None else f"{figure.peak_share:.1%}"
    yield f"{figure.memory / 2**20:.0f}"


def _fidelity(title: str, results: Results, name: str) -> Table:
    table = Table("recipe", "mean cosine", "1st percentile", "top-10 overlap", title=title, title_justify="left")
    for recipe, found in results.fidelity[name].items():
        table.add_row(recipe, f"{found.mean_cosine:.4f}", f"{found.p1_cosine:.4f}", f"{found.neighbour_overlap:.3f}")
    return table


def plot(results: Results, path: Path) -> None:
    """Texts per second of every engine, a panel a set, a bar a mode."""
    import matplotlib as mpl  # noqa: PLC0415 - an extra

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend

    figure, panels = plt.subplots(1, len(results.figures), figsize=(5 * len(results.figures), 4), squeeze=False)
    for panel, (name, modes) in zip(panels[0], results.figures.items(), strict=True):
        for position, (mode, figures) in enumerate(modes.items()):
            rows = [row + 0.4 * position for row in range(len(figures))]
            panel.barh(rows, [one.texts_per_s for one in figures.values()], height=0.4, label=mode)
            panel.set_yticks(rows, list(figures))
        panel.set(title=name, xlabel="texts per second")
        panel.invert_yaxis()
    panels[0][0].legend()
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
