"""`akin bench encoder`; imports what it needs only when it runs."""

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from ingest.benchmark import Device
from ingest.errors import SettingsError
from ingest.extras import to_install
from ingest.outputs import check_output

_TEXTS: Mapping[Device, int] = {"cpu": 300, "cuda": 2_000}
# The peers' int8 graph is made by optimum; on a GPU none is read.
_NEEDED: Mapping[Device, tuple[str, ...]] = {"cpu": ("onnx", "optimum", "matplotlib"), "cuda": ("onnx", "matplotlib")}

app = typer.Typer(no_args_is_help=True, help="Measure this machine.")


@app.callback()
def _bench() -> None:
    """Measure this machine."""


@app.command("encoder")
def encoder(
    items: Annotated[Path | None, typer.Option(help="Parquet or JSON Lines items; default the sample.")] = None,
    source: Annotated[str | None, typer.Option(help="Hub id or folder; default all-MiniLM-L6-v2.")] = None,
    work: Annotated[Path, typer.Option(help="Where the models and texts are kept.")] = Path("build/bench"),
    only: Annotated[list[str] | None, typer.Option("--set", help="A text set; repeat for more; default all.")] = None,
    device: Annotated[Device, typer.Option(help="cuda: akin's fp16 and sentence-transformers' on a GPU.")] = "cpu",
    texts: Annotated[int | None, typer.Option(min=16, help="Texts a set; default 300, on a GPU 2,000.")] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Repetitions; medians are shown.")] = 3,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
    plot_file: Annotated[Path | None, typer.Option("--plot", help="Draw the figures here (.png, .svg).")] = None,
) -> None:
    """Compare akin's encoder with sentence-transformers, fastembed and plain onnxruntime on the same texts."""
    for module in _NEEDED[device]:
        if importlib.util.find_spec(module) is None:
            raise SettingsError(f"the benchmark needs {module}; {to_install('bench', 'export')}")
    if device == "cuda":
        _check_cuda()
    check_output(json_file, "--json")
    check_output(plot_file, "--plot")
    from rich.console import Console  # noqa: PLC0415 - as the module says

    from ingest.benchmark.encoder import measure  # noqa: PLC0415
    from ingest.benchmark.report import plot, show  # noqa: PLC0415
    from ingest.benchmark.texts import SETS  # noqa: PLC0415

    unknown = sorted(set(only or ()) - set(SETS))
    if unknown:
        raise SettingsError(f"there is no text set {unknown[0]!r}; use one of {', '.join(SETS)}")
    told = Console(stderr=True)
    results = measure(
        items,
        work,
        source=source,
        device=device,
        sets=only or list(SETS),
        texts=texts or _TEXTS[device],
        repeat=repeat,
        tell=told.print,
    )
    show(results, Console(width=200))
    if json_file:
        json_file.write_text(json.dumps(results.as_json(), indent=1) + "\n", encoding="utf-8")
    if plot_file:
        plot(results, plot_file)


def _check_cuda() -> None:
    from ingest.encoder.session import offers_cuda  # noqa: PLC0415 - as the module says

    if not offers_cuda():
        raise SettingsError("onnxruntime has no CUDA here: install onnxruntime-gpu in the place of onnxruntime")
