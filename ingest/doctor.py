"""Checking what akin depends on, one question at a time, without changing anything."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ingest.encoder.artifact import read_artifact
from ingest.errors import AkinError
from ingest.home import is_held
from ingest.settings import Settings
from ingest.store.ledger import open_ledger
from ingest.submit import check_free_space
from ingest.text import check_template


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check and what it found."""

    name: str
    ok: bool
    detail: str


def examine(settings: Settings) -> list[Finding]:
    """Every check, none stopping the others."""
    return [_find(name, check) for name, check in _checks(settings)]


def _checks(settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "text template", lambda: _template(settings)
    yield "disk", lambda: _disk(settings)
    yield "encoder", lambda: _encoder(settings)
    yield "ledger", lambda: _ledger(settings)
    yield "data folder", lambda: "held by a running akin" if is_held(settings.home) else "free"


def _find(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name=name, ok=True, detail=check())
    except AkinError as error:
        return Finding(name=name, ok=False, detail=str(error))


def _template(settings: Settings) -> str:
    check_template(settings.text_template, settings.attributes)
    return "all its fields are known"


def _disk(settings: Settings) -> str:
    check_free_space(settings)
    return f"more than {settings.min_free_bytes:,} bytes are free"


def _encoder(settings: Settings) -> str:
    manifest = read_artifact(settings.encoder_folder).manifest
    return f"{manifest.source}, {manifest.recipe}, {manifest.dimensions} dimensions, {manifest.max_tokens} tokens"


def _ledger(settings: Settings) -> str:
    with open_ledger(settings.ledger_url) as ledger:
        ledger.check()
        live = ledger.generations.live()
        return (
            f"{ledger.items.count()} items, {ledger.events.count()} events, {ledger.pending.count()} pending, "
            f"live generation {live.name if live else 'none yet'}"
        )
