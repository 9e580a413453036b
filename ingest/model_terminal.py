"""Exporting and measuring an encoder, with progress for a person who waits at a terminal."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ingest import readers
from ingest.encoder_report import EncoderReport, Sample, draw_sample, examine_encoder
from ingest.files import FileSource
from ingest.progress import spinner
from ingest.settings import Provider, Settings


def export(source: str | None, folder: Path, **chosen: Any) -> dict[str, Any]:
    """Export an encoder under a spinner, with the options of `export_model`; returns what its manifest says."""
    from ingest.encoder.export import export_model  # noqa: PLC0415 - only an export needs the exporter's libraries

    with spinner("export") as say:
        return asdict(export_model(source, folder, progress=say, **chosen))


def sample_texts(settings: Settings, source: FileSource) -> Sample:
    """Texts of an items file as they would be embedded."""
    with spinner("reading"):
        return draw_sample(source.items(settings, readers.Progress()), settings.text_template)


def examine(folder: Path, sample: Sample, provider: Provider) -> EncoderReport:
    """How an encoder does on these texts, under a spinner."""
    with spinner("encoder") as say:
        return examine_encoder(folder, sample, say, provider)
