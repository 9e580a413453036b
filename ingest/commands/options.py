"""Options that several commands take, where their settings come from, and how they end."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.home import check_made
from ingest.sentences import count_of
from ingest.settings import Settings, load_settings

if TYPE_CHECKING:
    from ingest.files import FileReport

EXIT_ERROR = 1
EXIT_REJECTS = 3

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
FileArgument = Annotated[str, typer.Argument(help="The file, or - for standard input.")]
MappingOption = Annotated[Path | None, typer.Option("--mapping", help="TOML file that maps columns to fields.")]
MapOption = Annotated[list[str] | None, typer.Option("--map", help="field=column, repeatable; wins over --mapping.")]
FormatOption = Annotated[str | None, typer.Option("--format", help="jsonl, csv or parquet; default: by the name.")]
RejectsOption = Annotated[
    Path | None, typer.Option("--rejects", help="Where refused rows are listed; default FILE.rejects.jsonl here.")
]


def settings_of_what_is_there() -> Settings:
    """The settings, for a command that makes no installation; raises SettingsError where there is none yet."""
    settings = load_settings()
    check_made(settings)
    return settings


def finish(*reports: "FileReport") -> None:
    """Say what was not taken, and exit with 3 when rows were refused."""
    say_what_was_not_taken(*reports)
    if any(report.rejected for report in reports):
        raise typer.Exit(EXIT_REJECTS)


def say_what_was_not_taken(*reports: "FileReport") -> None:
    """Name the columns that nothing was taken of, and the files that list refused rows."""
    for report in reports:
        if report.ignored_columns:
            names = ", ".join(report.ignored_columns)
            how = "--map takes them"
            if report.unmatched is None:  # of items
                how += ", or AKIN_ATTRIBUTES as attributes"
            typer.echo(f"nothing was taken of these columns of {report.file}: {names}; {how}", err=True)
        if report.rejected:
            rows = count_of(report.rejected, "row")
            typer.echo(f"refused {rows} of {report.file}: see {report.rejects_file}", err=True)
