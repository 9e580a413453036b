"""A backup holds everything that cannot be made again, from either database and into either."""

import shutil
import stat
import time
import zipfile
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib import import_module
from pathlib import Path

import orjson
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import create_engine, inspect, text

from ingest.backup import back_up, restore
from ingest.collection_spec import collection_spec
from ingest.encoder.artifact import MANIFEST, MODEL, read_artifact
from ingest.encoder.library import EncoderLibrary
from ingest.errors import (
    ArtifactError,
    ConflictError,
    DamagedLedgerError,
    HomeInUseError,
    InvalidInputError,
    NotFoundError,
    SettingsError,
    UnavailableError,
)
from ingest.events import Event
from ingest.home import hold_home
from ingest.items import Item
from ingest.keys import Scope
from ingest.queue import NoQueue
from ingest.settings import Settings
from ingest.store.hold import LOOK_SECONDS
from ingest.store.ledger import open_ledger
from ingest.store.migrations import versions
from ingest.store.schema import KNOWN, migrate
from ingest.submit import delete_items, submit_events, submit_items
from tests.artifacts import tiny_artifact
from tests.fakes import installation
from tests.processes import free_port
from tests.services import empty, end_sessions

START = datetime(2026, 1, 1, tzinfo=UTC)


def fill(settings, ledger):
    submit_items(ledger, NoQueue(), settings, [Item(item_id=f"i{n}", title=f"títle {n} \x7f") for n in range(1_500)])
    delete_items(ledger, NoQueue(), settings, ["i7"])
    submit_events(
        ledger,
        settings,
        [
            Event(event_id=f"e{n}", user_id=f"u{n % 9}", item_id=f"i{n}", type="like", timestamp=START + timedelta(n))
            for n in range(50)
        ],
    )
    ledger.users.delete("u3")
    ledger.keys.create("shop", [Scope.QUERY])


def contents(ledger):
    keys = [(key.key_id, key.secret_hash) for key in ledger.keys.list()]
    items = [row for page in ledger.items.pages() for row in page]
    events = [event for history in ledger.events.histories() for event in history]
    return items, events, keys, ledger.users.deleted(["u3"]), ledger.items.get("i7")


@pytest.fixture
def other(tmp_path):
    return Settings(home=tmp_path / "other", min_free_bytes=0, attributes={"year": "integer"})


@pytest.fixture
def server(postgres_url):
    """An empty PostgreSQL, left empty."""
    empty(postgres_url)
    yield postgres_url
    empty(postgres_url)


def test_what_is_restored_is_what_was_backed_up(settings, sqlite_ledger, other, tmp_path):
    fill(settings, sqlite_ledger)
    before = contents(sqlite_ledger)

    report = back_up(settings, tmp_path / "b.zip")
    restored = restore(other, tmp_path / "b.zip")

    assert report.rows == restored.rows
    assert report.rows["items"] == 1_500
    with open_ledger(other.ledger_url) as ledger:
        assert contents(ledger) == before
        # What is written afterwards gets numbers of its own.
        assert ledger.events.add([Event(event_id="new", user_id="u1", item_id="i1", type="like")]) == 1
        # The erased user stays erased: the salt came along.
        assert ledger.events.add([Event(event_id="late", user_id="u3", item_id="i1", type="like")]) == 0


def test_a_backup_goes_from_a_laptop_to_postgresql_and_back(settings, sqlite_ledger, server, other, tmp_path):
    fill(settings, sqlite_ledger)
    there = settings.model_copy(update={"database_url": Settings(database_url=server).database_url})

    back_up(settings, tmp_path / "laptop.zip")
    restore(there, tmp_path / "laptop.zip", force=True)
    with open_ledger(server) as ledger:
        assert contents(ledger) == contents(sqlite_ledger)
        assert ledger.events.add([Event(event_id="new", user_id="u1", item_id="i1", type="like")]) == 1
        after = contents(ledger)
    with pytest.raises(ConflictError):
        restore(there, tmp_path / "laptop.zip")
    back_up(there, tmp_path / "server.zip")
    restore(other, tmp_path / "server.zip")

    with open_ledger(other.ledger_url) as ledger:
        assert contents(ledger) == after


def test_a_backup_is_of_one_moment_and_lets_others_write(settings, sqlite_ledger, tmp_path):
    fill(settings, sqlite_ledger)
    database = sqlite_ledger._database

    with database.snapshot() as connection:
        assert connection.execute(text("SELECT count(*) FROM events")).scalar() == 44
        sqlite_ledger.events.add([Event(event_id="meanwhile", user_id="u1", item_id="i1", type="like")])
        assert connection.execute(text("SELECT count(*) FROM events")).scalar() == 44


def test_the_index_is_built_again_after_a_restore(tmp_path):
    with installation(tmp_path / "home") as akin:
        akin.add_items([Item(item_id=f"i{n}", title=f"title {n}") for n in range(20)])
        back_up(akin.settings, tmp_path / "b.zip")
        akin.add_items([Item(item_id="later", title="later")])
        encoder = next(iter(akin.encoders.encoders.values()))
    restored = restore(akin.settings, tmp_path / "b.zip", force=True)

    assert restored.kept.exists()
    with installation(tmp_path / "home", live=False) as akin:
        akin.encoders.add(encoder)
        generation = akin.ledger.generations.live()
        assert akin.index.names() == []
        assert akin.ledger.pending.count() == 20
        akin.index.create(generation.name, collection_spec(akin.settings, akin.ledger, generation))
        akin.place_all()
        assert sorted(akin.index.open(generation.name).ids()) == sorted(f"i{n}" for n in range(20))


def test_nothing_is_overwritten_unless_it_is_meant(settings, sqlite_ledger, tmp_path):
    file = tmp_path / "b.zip"
    back_up(settings, file)

    with pytest.raises(ConflictError, match="--force"):
        back_up(settings, file)
    with pytest.raises(ConflictError, match="--force"):
        restore(settings, file)
    back_up(settings, file, force=True)
    kept = restore(settings, file, force=True).kept
    assert kept.read_bytes()[:15] == b"SQLite format 3"


def test_a_place_that_cannot_be_written_is_one_sentence(settings, sqlite_ledger, tmp_path):
    with pytest.raises(SettingsError, match="cannot be written"):
        back_up(settings, tmp_path / "no" / "folder" / "b.zip")


@pytest.mark.parametrize("last", [b"the last one", None])
def test_a_backup_that_fails_leaves_no_file_and_the_last_one_as_it_was(settings, tmp_path, last):
    with open_ledger(settings.ledger_url) as ledger:
        fill(settings, ledger)
    damage(settings.home / "ledger.sqlite")
    file = tmp_path / "b.zip"
    if last:
        file.write_bytes(last)

    with pytest.raises(DamagedLedgerError):
        back_up(settings, file, force=True)

    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["b.zip"] * bool(last)
    assert not last or file.read_bytes() == last


def test_only_the_owner_may_read_a_backup(settings, sqlite_ledger, tmp_path):
    back_up(settings, tmp_path / "b.zip")

    assert stat.S_IMODE((tmp_path / "b.zip").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip", "home"]


def test_nothing_is_restored_under_a_running_akin(settings, sqlite_ledger, tmp_path):
    back_up(settings, tmp_path / "b.zip")

    with hold_home(settings.home), pytest.raises(HomeInUseError):
        restore(settings, tmp_path / "b.zip", force=True)


@pytest.mark.parametrize("alone", [True, False])
def test_nothing_is_restored_under_programs_that_run_on_a_database(settings, sqlite_ledger, server, tmp_path, alone):
    fill(settings, sqlite_ledger)
    back_up(settings, tmp_path / "b.zip")
    migrate(server)
    there = settings.model_copy(
        update={"home": tmp_path / "other", "database_url": Settings(database_url=server).database_url}
    )

    with open_ledger(server) as ledger, ledger.hold(alone=alone):
        with pytest.raises(HomeInUseError, match="stop it first"):
            restore(there, tmp_path / "b.zip", force=True)
        assert ledger.items.count() == 0


def test_a_program_that_a_restore_found_disconnected_takes_no_event_of_an_erased_user(
    settings, sqlite_ledger, server, tmp_path
):
    # given a program on a database whose connection broke
    fill(settings, sqlite_ledger)
    back_up(settings, tmp_path / "b.zip")
    migrate(server)
    there = settings.model_copy(
        update={"home": tmp_path / "other", "database_url": Settings(database_url=server).database_url}
    )
    late = Event(event_id="late", user_id="u3", item_id="i1", type="like")
    with open_ledger(server) as ledger, ledger.hold(alone=False):
        end_sessions(server)

        # when a backup with another salt takes its place
        restore(there, tmp_path / "b.zip", force=True)

        # then what it wants to write under its own salt is refused
        time.sleep(LOOK_SECONDS)
        with pytest.raises(UnavailableError, match="start this one again"):
            ledger.events.add([late])
    with open_ledger(server) as ledger, ledger.hold(alone=False):
        assert ledger.events.add([late]) == 0


def rewritten(source, target, change):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            for changed, content in change(name, old.read(name)):
                new.writestr(changed, content)


def newer(name, content):
    if name != "manifest.json":
        return [(name, content)]
    return [(name, orjson.dumps({**orjson.loads(content), "revision": "9999"}))]


def tables_of(revision):
    """The columns of every table as the revisions up to that one made them."""
    folder = Path(versions.__file__).parent
    engine = create_engine("sqlite://")
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        for known in KNOWN[: KNOWN.index(revision) + 1]:
            [file] = folder.glob(f"r{known}_*.py")
            import_module(f"{versions.__name__}.{file.stem}").upgrade()
        looked_at = inspect(connection)
        return {name: {c["name"] for c in looked_at.get_columns(name)} for name in looked_at.get_table_names()}


def as_of(source, target, revision):
    """Write what an akin of an earlier revision would have backed up of the same rows."""
    tables = tables_of(revision)
    with zipfile.ZipFile(source) as new, zipfile.ZipFile(target, "w") as old:
        manifest = orjson.loads(new.read("manifest.json")) | {"revision": revision, "files": {}}
        for name in new.namelist():
            table = name.removeprefix("tables/").removesuffix(".jsonl")
            if name.startswith("tables/") and table in tables:
                header, *rows = map(orjson.loads, new.read(name).splitlines())
                there = [place for place, column in enumerate(header) if column in tables[table]]
                lines = [orjson.dumps([row[place] for place in there]) + b"\n" for row in (header, *rows)]
                old.writestr(name, b"".join(lines))
                manifest["files"][name] = sha256(b"".join(lines)).hexdigest()
        old.writestr("manifest.json", orjson.dumps(manifest))


@pytest.mark.parametrize("revision", KNOWN[KNOWN.index("0004") :])  # the first that could be backed up
@pytest.mark.parametrize("where", ["sqlite", "postgresql"])
def test_what_an_older_akin_backed_up_is_restored(settings, sqlite_ledger, other, tmp_path, revision, where, request):
    fill(settings, sqlite_ledger)
    back_up(settings, tmp_path / "b.zip")
    as_of(tmp_path / "b.zip", tmp_path / "old.zip", revision)
    if where == "postgresql":
        database_url = Settings(database_url=request.getfixturevalue("server")).database_url
        other = other.model_copy(update={"database_url": database_url})

    restored = restore(other, tmp_path / "old.zip")

    assert (restored.rows["items"], restored.rows["rarities"]) == (1_500, 0)
    with open_ledger(other.ledger_url) as ledger:
        assert contents(ledger) == contents(sqlite_ledger)


def test_what_a_newer_akin_backed_up_names_the_way_out(settings, sqlite_ledger, other, tmp_path):
    back_up(settings, tmp_path / "b.zip")
    rewritten(tmp_path / "b.zip", tmp_path / "newer.zip", newer)

    with pytest.raises(InvalidInputError, match="restore it with the akin that made it, or a newer one"):
        restore(other, tmp_path / "newer.zip")


DAMAGE = {
    "a changed row": lambda name, content: [(name, content.replace(b'"i3"', b'"i9"'))],
    "a missing part": lambda name, content: [] if "events" in name else [(name, content)],
    "a part more": lambda name, content: [(name, content), ("extra-" + name.replace("/", "-"), content)],
    "no manifest": lambda name, content: [] if name == "manifest.json" else [(name, content)],
    "another version": newer,
}


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_backup_is_refused_before_anything_is_changed(settings, sqlite_ledger, tmp_path, change):
    submit_items(sqlite_ledger, NoQueue(), settings, [Item(item_id=f"i{n}", title=f"title {n}") for n in range(5)])
    back_up(settings, tmp_path / "b.zip")
    rewritten(tmp_path / "b.zip", tmp_path / "bad.zip", change)

    with pytest.raises(InvalidInputError):
        restore(settings, tmp_path / "bad.zip", force=True)

    assert sqlite_ledger.items.count() == 5


def test_a_cut_or_flipped_file_is_refused(settings, sqlite_ledger, other, tmp_path):
    fill(settings, sqlite_ledger)
    back_up(settings, tmp_path / "b.zip")
    whole = (tmp_path / "b.zip").read_bytes()
    for bad in (b"", b"not a backup", whole[: len(whole) // 2], flipped(whole, len(whole) // 3)):
        (tmp_path / "bad.zip").write_bytes(bad)
        with pytest.raises(InvalidInputError):
            restore(other, tmp_path / "bad.zip")
        assert not other.home.joinpath("ledger.sqlite").exists()
    with pytest.raises(NotFoundError):
        restore(other, tmp_path / "nothing.zip")


def flipped(content, at):
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


def damage(file):
    damaged = bytearray(file.read_bytes())
    for page in range(4, len(damaged) // 4096, 3):
        damaged[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
    file.write_bytes(damaged)


def test_a_damaged_ledger_says_so_and_a_restore_mends_it(settings, tmp_path):
    with open_ledger(settings.ledger_url) as ledger:
        fill(settings, ledger)
        back_up(settings, tmp_path / "b.zip")
        before = contents(ledger)
    damage(settings.home / "ledger.sqlite")

    with pytest.raises(DamagedLedgerError, match="akin restore"), open_ledger(settings.ledger_url) as ledger:
        ledger.check()
    restore(settings, tmp_path / "b.zip", force=True)

    with open_ledger(settings.ledger_url) as ledger:
        ledger.check()
        assert contents(ledger) == before


def test_a_damaged_ledger_that_a_url_names_is_mended_by_a_restore_too(settings, sqlite_ledger, tmp_path):
    fill(settings, sqlite_ledger)
    back_up(settings, tmp_path / "b.zip")
    file = tmp_path / "mine.sqlite"
    file.write_bytes(b"SQLite format 3\0" + b"x" * 20_000)
    there = Settings(home=tmp_path / "other", database_url=f"sqlite:///{file}", min_free_bytes=0)

    with pytest.raises(ConflictError, match="--force"):
        restore(there, tmp_path / "b.zip")
    restored = restore(there, tmp_path / "b.zip", force=True)

    assert restored.kept.read_bytes()[-9:] == b"x" * 9
    with open_ledger(there.ledger_url) as ledger:
        assert contents(ledger) == contents(sqlite_ledger)


def test_what_was_written_last_is_in_the_file_that_a_restore_keeps(settings, tmp_path):
    with open_ledger(settings.ledger_url) as ledger:
        back_up(settings, tmp_path / "b.zip")
        fill(settings, ledger)
        before = contents(ledger)
        log = (settings.home / "ledger.sqlite-wal").read_bytes()
    (settings.home / "ledger.sqlite-wal").write_bytes(log)  # as a killed process leaves it

    kept = restore(settings, tmp_path / "b.zip", force=True).kept

    assert sorted(path.name for path in settings.home.glob("ledger*")) == ["ledger.sqlite", kept.name]
    with open_ledger(f"sqlite:///{kept}") as ledger:
        assert contents(ledger) == before


def test_a_restore_that_cannot_reach_qdrant_changes_nothing(settings, sqlite_ledger, tmp_path):
    back_up(settings, tmp_path / "b.zip")
    fill(settings, sqlite_ledger)
    before, pending = contents(sqlite_ledger), sqlite_ledger.pending.count()
    nobody = f"http://127.0.0.1:{free_port()}"
    away = settings.model_copy(update={"qdrant_url": nobody, "qdrant_write_seconds": 1, "qdrant_timeout_seconds": 1})

    with pytest.raises(UnavailableError):
        restore(away, tmp_path / "b.zip", force=True)

    with open_ledger(settings.ledger_url) as ledger:
        assert contents(ledger) == before
        assert ledger.pending.count() == pending == 1_500
    assert sorted(path.name for path in settings.home.glob("ledger*.sqlite*")) == [
        "ledger.sqlite",
        "ledger.sqlite-shm",
        "ledger.sqlite-wal",
    ]


def test_a_damaged_encoder_at_home_does_not_stand_in_the_way_and_is_mended_where_the_backup_has_it(
    settings, sqlite_ledger, tmp_path
):
    artifact = EncoderLibrary(settings.home).install(tiny_artifact())
    back_up(settings, tmp_path / "b.zip")
    kept = settings.home / "encoders" / artifact.fingerprint
    (kept / MODEL).write_bytes(b"damaged")
    other = kept.with_name("f" * 64)
    other.mkdir()
    (other / MANIFEST).write_bytes(b"damaged")

    restore(settings, tmp_path / "b.zip", force=True)

    assert read_artifact(kept).fingerprint == artifact.fingerprint
    assert sorted(path.name for path in kept.parent.iterdir()) == sorted([artifact.fingerprint, "f" * 64])


def test_a_damaged_encoder_in_the_backup_is_refused_before_anything_is_changed(settings, sqlite_ledger, tmp_path):
    submit_items(sqlite_ledger, NoQueue(), settings, [Item(item_id="i1", title="title")])
    artifact = EncoderLibrary(settings.home).install(tiny_artifact())
    (settings.home / "encoders" / artifact.fingerprint / MODEL).write_bytes(b"damaged")
    back_up(settings, tmp_path / "b.zip")
    shutil.rmtree(settings.home / "encoders")

    with pytest.raises(ArtifactError, match="another backup"):
        restore(settings, tmp_path / "b.zip", force=True)

    assert list((settings.home / "encoders").iterdir()) == []
    assert list(settings.home.glob("*before*")) == []
    assert sqlite_ledger.items.count() == 1


def test_a_file_that_is_no_ledger_says_so(settings):
    settings.home.mkdir(parents=True)
    (settings.home / "ledger.sqlite").write_bytes(b"something else " * 1_000)

    with pytest.raises(DamagedLedgerError):
        open_ledger(settings.ledger_url)


def test_a_check_ends_when_its_time_does(settings):
    with open_ledger(settings.ledger_url) as ledger:
        fill(settings, ledger)

        assert ledger.check()
        assert not ledger.check(0)
        assert ledger.check()
