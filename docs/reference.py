"""Writes the reference pages from the code itself when the site is built, so that they cannot grow stale."""

from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation

import akin
from ingest.ledger_metrics import GAUGES
from ingest.metrics import Described, described
from ingest.settings import Settings
from serving.api.app import create_app

_FIRST = ("index.md", "quickstart.md", "concepts.md", "how to", "reference", "evaluation.md", "benchmarks.md")
_LAST = ("limits.md", "contributing.md", "decisions")
_ORDER = {name: place for place, name in enumerate(_FIRST)} | {name: 100 + place for place, name in enumerate(_LAST)}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those in the folder."""
    for name, content in (("settings", settings()), ("commands", commands()), ("http", http()), ("metrics", metrics())):
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> None:
    """First what a newcomer reads, last why it is so; what is named nowhere stands between the two."""
    del config, files
    nav.items.sort(key=lambda item: _ORDER.get(_name(item), 50))


def _name(item: Any) -> str:
    if item.children:
        return str(item.title).lower()
    return str(item.file.src_uri)


def settings() -> str:
    """Every setting with its sentence and default."""
    lines = [
        "# Settings",
        "",
        "Each is read from the variable, then from the TOML file that `AKIN_CONFIG` names (there without prefix, in",
        "lower case), then its default. `akin doctor` shows what is in force.",
        "",
        "| variable | means | default |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "" if default is None else f"`{_escaped(default)}`"
        lines.append(f"| `AKIN_{name.upper()}` | {_escaped(field.description or '')} | {shown} |")
    return "\n".join(lines) + "\n"


def commands() -> str:
    """Every command with its arguments and options, from the help texts."""
    group = typer.main.get_command(akin.app)
    lines = ["# Commands", "", (group.help or "").replace("\n\n", "\n\n")]
    _describe(group, "akin", lines)
    return "\n".join(lines) + "\n"


def _describe(command: Any, path: str, lines: list[str]) -> None:
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            _describe(inner, f"{path} {name}", lines)
        return
    lines += ["", f"## {path}", "", (command.help or "").strip(), ""]
    lines += [_parameter(parameter) for parameter in command.params if parameter.name != "help"]


def _parameter(parameter: Any) -> str:
    """One argument or option: its names, that to switch it off too, what it means, and what holds without it."""
    names = (
        [*parameter.opts, *parameter.secondary_opts] if parameter.opts[0].startswith("-") else [parameter.name.upper()]
    )
    said = getattr(parameter, "help", None) or ""
    if parameter.required:
        without = " Required."
    elif parameter.default in (None, (), False) or callable(parameter.default):
        without = ""
    else:
        without = f" Default: `{_switched(parameter)}`."
    return f"- {', '.join(f'`{name}`' for name in names)}: {said}{without}"


def _switched(parameter: Any) -> Any:
    return parameter.opts[0] if parameter.default is True else parameter.default


def http() -> str:
    """Every route with its first sentence; the whole description is at /docs of a running akin."""
    document = create_app(None).openapi()  # type: ignore[arg-type] - describing asks no service
    lines = ["# HTTP", "", "Bodies, parameters and answers are described at `/docs` of a running akin.", ""]
    lines += ["| call | does |", "|---|---|"]
    for path, methods in sorted(document["paths"].items()):
        for method, route in methods.items():
            sentence = (route.get("description") or route.get("summary", "")).split("\n", 1)[0]
            lines.append(f"| `{method.upper()} {path}` | {_escaped(sentence)} |")
    return "\n".join(lines) + "\n"


def metrics() -> str:
    """Every metric with its sentence and labels, of a ledger that knows something of each."""
    lines = [
        "# Metrics",
        "",
        "In Prometheus' text format at `/metrics` of the API, and on `AKIN_METRICS_PORT` of a worker",
        "([how to watch](../how-to/monitoring.md)). Beside these there are the client library's `process_*` and",
        "`python_*` of programs that are one process.",
        "",
        "| name | type | labels | means |",
        "|---|---|---|---|",
    ]
    asked = [Described(name=name, kind="gauge", labels=labels, means=means) for name, (means, labels) in GAUGES.items()]
    for one in [*described(), *asked]:
        labels = ", ".join(f"`{label}`" for label in one.labels)
        lines.append(f"| `{one.name}` | {one.kind} | {labels} | {_escaped(one.means)} |")
    return "\n".join(lines) + "\n"


def _escaped(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
