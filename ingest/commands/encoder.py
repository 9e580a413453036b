"""`akin export-model` and `akin doctor --encoder`: making an encoder artifact, and measuring one on texts."""

from pathlib import Path
from typing import Annotated

import typer

from ingest.commands.options import EXIT_ERROR, JsonOption, MappingOption
from ingest.settings import Settings, load_settings


def export_model_command(
    source: Annotated[str | None, typer.Option(help="Hub id or folder; default all-MiniLM-L6-v2.")] = None,
    out: Annotated[Path | None, typer.Option(help="Artifact folder; default AKIN_ENCODER.")] = None,
    revision: Annotated[str | None, typer.Option(help="Pinned revision of a hub model.")] = None,
    recipe: Annotated[
        str, typer.Option(help="int8, fast or accurate for processors, fp16 for GPUs, or fp32.")
    ] = "int8",
    texts: Annotated[str | None, typer.Option(help="Your items file: set up and measured on it.")] = None,
    mapping: MappingOption = None,
    layers: Annotated[
        int | None, typer.Option(min=1, help="Keep so many layers, spread evenly: faster, less exact.")
    ] = None,
    dimensions: Annotated[int | None, typer.Option(min=2, help="Shorten vectors to their main directions.")] = None,
    passages: Annotated[
        int, typer.Option(min=1, max=256, help="Most pieces read of a long text; 1 reads its beginning only.")
    ] = 256,
    force: Annotated[bool, typer.Option("--force", help="Write it even when it is below its fidelity floor.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Export a BERT-type model to ONNX, quantize it, verify it against fp32, and write an encoder artifact.

    With --texts, `akin doctor --encoder --texts` says afterwards how it does on your catalogue, and where least.
    """
    from ingest import model_terminal
    from ingest.commands.output import show
    from ingest.encoder.export import Shape
    from ingest.files import file_source

    settings = load_settings()
    folder = out or settings.encoder_folder
    sample = None if texts is None else model_terminal.sample_texts(settings, file_source(texts, mapping=mapping))
    manifest = model_terminal.export(
        source,
        folder,
        revision=revision,
        recipe=recipe,
        texts=None if sample is None else sample.texts,
        shape=Shape(layers=layers, dimensions=dimensions, passages=passages),
        force=force,
    )
    report = {}
    if sample is not None:
        report["on your texts"] = model_terminal.examine(folder, sample, settings.encoder_provider).as_json()
    show({"folder": folder, **manifest, **report}, as_json=as_json)


def show_encoder(settings: Settings, texts: str | None, *, mapping: Path | None, as_json: bool) -> None:
    """Show how the encoder does on these texts, or the sample's; exits with 1 when it keeps less than it promises."""
    from ingest import model_terminal, sample
    from ingest.commands.output import show
    from ingest.files import file_source

    drawn = model_terminal.sample_texts(settings, file_source(texts or str(sample.ITEMS), mapping=mapping))
    report = model_terminal.examine(settings.encoder_folder, drawn, settings.encoder_provider)
    show(report.as_json(), as_json=as_json)
    if report.missed:
        raise typer.Exit(EXIT_ERROR)
