"""Erased is gone: from the answers, from the ledger's file and from the files of the index, by a search for its bytes."""

import json
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

import akin as program
from ingest.catalogue import open_catalogue
from ingest.erasure import LEAST_BYTES, Needle, Trace, needles_of_item, needles_of_user, search
from ingest.errors import NotFoundError
from ingest.events import Event
from ingest.items import Item
from ingest.settings import Settings
from ingest.store.ledger import open_ledger
from ingest.store.records import LoggedRecommendation
from serving.commands.erasing import erase_item
from serving.recommend import RecommendRequest
from tests.artifacts import tiny_artifact
from tests.fakes import HashingEncoder, installation

USER = "margarete.von.waldheim"
ITEM = "the-orange-lighthouse"
TEXT = "A keeper paints the tower orange so that gulls stop mistaking it for the moon."


@pytest.fixture
def akin(tmp_path):
    with installation(tmp_path / "home") as made:
        made.add_items([Item(item_id=f"item-{n}", title=f"title number {n}", text=f"text {n}") for n in range(60)])
        made.add_items([Item(item_id=ITEM, title="The Orange Lighthouse", text=TEXT, categories=("sea",))])
        made.add_events([_event(n, f"somebody-{n % 7}", f"item-{n % 60}") for n in range(400)])
        made.add_events([_event(n, USER, f"item-{n % 60}") for n in range(1_000, 1_200)])
        yield made


def _event(n, user, item):
    return Event(event_id=f"e{n}", user_id=user, item_id=item, type="like", timestamp=datetime(2026, 1, 1, tzinfo=UTC))


def in_files(folder, content):
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and content in path.read_bytes())


def test_an_erased_user_is_in_no_file(akin):
    akin.recommender.recommend(RecommendRequest(user_id=USER, limit=5))
    akin.log.flush()
    assert in_files(akin.settings.home, USER.encode())

    receipt = akin.users.erase(USER)

    assert (receipt.events, receipt.recommendations) == (200, 1)
    assert in_files(akin.settings.home, USER.encode()) == []
    report = search(akin.settings, akin.ledger, needles_of_user(USER))
    assert report.as_json()["clean"]
    assert report.files > 3
    assert report.bytes > 100_000


def test_the_search_finds_a_user_who_was_not_erased_in_freed_space_only(akin):
    # A row stands there rightly: what the search looks for is what no row accounts for.
    assert search(akin.settings, akin.ledger, needles_of_user(USER)).traces == ()

    with sqlite3.connect(akin.ledger.file) as careless:  # one that deletes without overwriting
        careless.execute("PRAGMA secure_delete = OFF")
        careless.execute("DELETE FROM events WHERE user_id = ?", [USER])
    careless.close()
    akin.ledger.scrub()

    assert USER.encode() in akin.ledger.file.read_bytes()
    # Found, swept out by writing the file anew, and searched for again.
    assert search(akin.settings, akin.ledger, needles_of_user(USER)).traces == ()
    assert USER.encode() not in akin.ledger.file.read_bytes()


def test_where_nothing_could_be_searched_nothing_is_called_clean(akin):
    too_short = search(akin.settings, akin.ledger, needles_of_user("ada"))
    elsewhere = search(akin.settings.model_copy(update={"qdrant_url": "http://q"}), akin.ledger, needles_of_user(USER))
    nowhere = replace(elsewhere, looked=False)

    assert too_short.searched_for == ()
    assert too_short.as_json()["clean"] is None
    assert elsewhere.as_json()["clean"] is True  # the ledger's file is here
    assert nowhere.as_json()["clean"] is None
    assert replace(nowhere, traces=(Trace(what="user id", where="notes.txt", times=1),)).as_json()["clean"] is False


@pytest.mark.parametrize(("user", "code", "clean"), [("ada", 1, None), (USER, 0, True)])
def test_the_command_says_that_it_could_search_nothing(tmp_path, user, code, clean):
    home = {"AKIN_HOME": str(tmp_path), "AKIN_ENCODER": str(tiny_artifact()), "AKIN_MIN_FREE_BYTES": "0"}
    with open_catalogue(Settings(home=tmp_path, encoder=tiny_artifact(), min_free_bytes=0)):
        pass

    erased = CliRunner().invoke(program.app, ["erase", user, "--verify", "--json"], env=home)
    again = CliRunner().invoke(program.app, ["erase", user, "--verify"], env=home)

    assert (erased.exit_code, again.exit_code) == (code, code)
    assert json.loads(erased.stdout)["clean"] is clean
    assert ("unknown: nothing could be searched" in again.stdout) is (clean is None)


def test_the_search_finds_what_lies_in_another_file(akin):
    akin.users.erase(USER)
    (akin.settings.home / "notes.txt").write_text(f"{USER} and again {USER}")

    (trace,) = search(akin.settings, akin.ledger, needles_of_user(USER)).traces

    assert (trace.what, trace.where, trace.times) == ("user id", "notes.txt", 2)


def test_a_user_whose_id_begins_anothers_is_told_apart(akin):
    akin.add_events([_event(2_000, USER + "-the-younger", "item-1")])

    akin.users.erase(USER)

    assert search(akin.settings, akin.ledger, needles_of_user(USER)).traces == ()
    assert akin.ledger.events.count() == 401


def test_an_id_too_short_to_search_for_is_said_to_be(akin):
    report = search(akin.settings, akin.ledger, needles_of_user("bo"))

    assert report.searched_for == ()
    assert f"fewer than {LEAST_BYTES} bytes" in report.not_searched[0]


def test_an_erased_item_is_in_no_file_once_the_next_generation_is_there(akin):
    needles = needles_of_item(akin.ledger, ITEM)
    # Nothing is centred in so small a catalogue: the vector in the index is the text's.
    assert [needle.what for needle in needles] == ["item id", "title", "text", "vector in first"]
    assert all(in_files(akin.settings.home, needle.content) for needle in needles)

    akin.delete_items([ITEM])
    before = search(akin.settings, akin.ledger, needles)
    _next_generation(akin)
    after = search(akin.settings, akin.ledger, needles)

    # Deleting marks a point; its bytes stay until its generation goes.
    assert {trace.where.split("/")[0] for trace in before.traces} == {"index"}
    assert after.traces == ()


def test_other_items_that_share_a_word_with_the_erased_one_are_no_trace(akin):
    akin.add_items([Item(item_id=f"{ITEM}-ii", title="Another", categories=(f"about {ITEM}",))])
    needles = needles_of_item(akin.ledger, ITEM)
    akin.delete_items([ITEM])
    _next_generation(akin)

    assert search(akin.settings, akin.ledger, needles).traces == ()


def test_an_item_that_was_deleted_before_is_looked_for_by_its_id_and_found_in_the_old_files(akin):
    akin.delete_items([ITEM])
    needles = needles_of_item(akin.ledger, ITEM)
    assert needles[0].what == "item id"
    assert not {"title", "text"} & {needle.what for needle in needles}  # nobody knows them any more

    before = search(akin.settings, akin.ledger, needles)
    _next_generation(akin)
    after = search(akin.settings, akin.ledger, needles)

    assert {trace.where.split("/")[0] for trace in before.traces} == {"index"}
    assert after.traces == ()


def test_an_item_that_never_was_cannot_be_looked_for(akin):
    with pytest.raises(NotFoundError):
        needles_of_item(akin.ledger, "never-was")


class CollectedMeanwhile:
    """An akin that lists a generation which it has dropped before anybody can have it deleted."""

    def get(self, path):
        if path.startswith("/jobs/"):
            return {"state": "done"}
        return {"generations": [{"name": "new", "state": "live"}, {"name": "old", "state": "retired"}]}

    def post(self, path):
        return {"name": "new"}

    def delete(self, path):
        if path == "/generations/old":
            raise NotFoundError("there is no such generation")
        return {"job_id": "1"}


def test_a_generation_that_went_by_itself_is_as_good_as_deleted():
    done = erase_item(CollectedMeanwhile(), ITEM, everywhere=True)

    assert (done["generation"], done["deleted_generations"]) == ("new", ["old"])


def test_late_answers_of_other_processes_do_not_name_an_erased_user(akin):
    akin.users.erase(USER)
    late = LoggedRecommendation(
        recommendation_id="late",
        user_id=USER,
        generation="first",
        strategy="mean",
        item_ids=("item-1",),
        created_at=datetime.now(UTC),
    )
    with open_ledger(akin.settings.ledger_url) as elsewhere:
        elsewhere.recommendations.log([late])
        assert elsewhere.events.add([_event(9_999, USER, "item-1")]) == 0
    akin.ledger.scrub()

    assert in_files(akin.settings.home, USER.encode()) == []


def test_needles_that_the_ledger_keeps_on_purpose_are_looked_for_elsewhere_only(akin):
    assert search(akin.settings, akin.ledger, [Needle(what="x", content=b"item-1", ledger=False)]).traces == ()


def _next_generation(akin):
    akin.begin_next("second", next(iter(akin.encoders.encoders.values())) or HashingEncoder())
    akin.go_live("second")
    akin.index.drop("first")
    akin.ledger.generations.forget("first")
    akin.ledger.placements.collect_vectors()
