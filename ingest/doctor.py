"""Checking what akin depends on, one question at a time, without changing anything."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from ingest.disk import check_free_space
from ingest.documents import left_out
from ingest.encoder.artifact import read_artifact
from ingest.errors import AkinError, SettingsError, UnavailableError
from ingest.home import is_held, is_made
from ingest.index.engines import open_index
from ingest.sentences import count_of
from ingest.settings import Settings, unknown_variables
from ingest.store.ledger import Ledger, open_ledger
from ingest.store.records import Generation

Check = Callable[[], str]  # says what it found; raises AkinError when that is not in order

_NOTHING_YET = "none yet: the first `akin ingest items FILE` or `akin up` makes it"
_NO_CLOCK_YET = "none yet: the first `akin beat` makes it"
_FOR_TESTS = "AKIN_TEST_"
_PAGE = 500  # items
_PAGES = 200


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check and what it found."""

    name: str
    ok: bool
    detail: str


def examine(settings: Settings, more: Mapping[str, Check] | None = None) -> list[Finding]:
    """Every check, `more` among them, none stopping the others."""
    return [_find(name, check) for name, check in {**_checks(settings), **(more or {})}.items()]


def _checks(settings: Settings) -> dict[str, Check]:
    return {
        "variables": _variables,
        "disk": lambda: _disk(settings),
        "encoder": lambda: _encoder(settings),
        "data folder": lambda: "held by a running akin" if is_held(settings.home) else "free",
        "ledger": lambda: _ledger(settings),
        "index": lambda: _index(settings),
        "generation": lambda: _generation(settings),
    }


def _find(name: str, check: Check) -> Finding:
    try:
        return Finding(name=name, ok=True, detail=check())
    except AkinError as error:
        return Finding(name=name, ok=False, detail=str(error))
    except OSError as error:
        return Finding(name=name, ok=False, detail=f"{error.strerror}: {error.filename}")


def _variables() -> str:
    unknown = unknown_variables(name for name in os.environ if not name.startswith(_FOR_TESTS))
    if unknown:
        said = (name + (f" (did you mean {near}?)" if near else "") for name, near in unknown.items())
        raise SettingsError(f"nothing reads {', '.join(said)}")
    return "every AKIN_ variable is a setting"


def _disk(settings: Settings) -> str:
    check_free_space(settings.home, settings.min_free_bytes)
    return f"more than {settings.min_free_bytes:,} bytes are free"


def _encoder(settings: Settings) -> str:
    manifest = read_artifact(settings.encoder_folder).manifest
    return f"{manifest.source}, {manifest.recipe}, {manifest.dimensions} dimensions, {manifest.max_tokens} tokens"


@contextmanager
def _ledger_there(settings: Settings) -> Iterator[Ledger | None]:
    """The ledger; None where there is none, as opening it would make one."""
    if not is_made(settings):
        yield None
        return
    with open_ledger(settings.ledger_url) as ledger:
        yield ledger


def _live(settings: Settings) -> Generation | None:
    with _ledger_there(settings) as ledger:
        return None if ledger is None else ledger.generations.live()


def _ledger(settings: Settings) -> str:
    with _ledger_there(settings) as ledger:
        if ledger is None:
            return f"{_NOTHING_YET} in {settings.home.absolute()}"
        ledger.check()
        events, unmatched = ledger.events.count(), ledger.events.unmatched()
        said = (
            f"{ledger.items.count()} items, {events} events, {ledger.pending.count()} pending, "
            f"{ledger.pending.count_set_aside()} set aside"
        )
        return said + (f"; {unmatched} of {events} events name items that are not there (yet)" if unmatched else "")


def _index(settings: Settings) -> str:
    live = _live(settings)
    if settings.embedded and (live is None or not (settings.home / "index").is_dir()):
        there, mine = set[str](), set[str]()
    else:
        index = open_index(settings)
        try:
            there = set(index.names())
        finally:
            index.shut()
        with _ledger_there(settings) as ledger:
            mine = there if settings.embedded else set() if ledger is None else ledger.generations.own(there)
    if live is not None and live.name not in mine:
        raise UnavailableError(f"the live generation {live.name} is not in it; the next start builds it again")
    others = f"; {count_of(len(there - mine), 'collection')} of other installations" if there - mine else ""
    return (f"generations {', '.join(sorted(mine))}" if mine else _nothing_yet(settings)) + others


def _nothing_yet(settings: Settings) -> str:
    """What makes the first generation: in a cluster not a command that takes items in, which another process places."""
    return _NO_CLOCK_YET if settings.cluster else _NOTHING_YET


def _generation(settings: Settings) -> str:
    """What the live generation was built with, and what waits for a reindex: no fault, but worth knowing."""
    with _ledger_there(settings) as ledger:
        live = None if ledger is None else ledger.generations.live()
        if ledger is None or live is None:
            return _nothing_yet(settings)
        unfit = _left_out(ledger, live)
    differs = []
    if live.attributes != settings.attributes:
        names = sorted({name for name, _ in live.attributes.items() ^ settings.attributes.items()})
        differs.append(f"the attributes ({', '.join(names)})")
    if settings.encoder_folder.exists() and read_artifact(settings.encoder_folder).fingerprint != live.fingerprint:
        differs.append("the encoder")
    if differs:
        said = f"{live.name} is live; the settings have changed {' and '.join(differs)} since: `akin reindex` is due"
    else:
        said = f"{live.name} is live, built with the encoder and the attributes of the settings"
    return said + unfit


def _left_out(ledger: Ledger, live: Generation) -> str:
    """What filters do not see, of so many items that nobody waits long for it."""
    found: Counter[str] = Counter()
    for page in islice(ledger.items.pages(_PAGE), _PAGES):
        found += left_out((row.item for row in page), live.attributes)
    return "".join(
        f"; {count_of(n, 'item')} with a value of {name} that is no {live.attributes[name]}, which filters do not see"
        for name, n in sorted(found.items())
    )
