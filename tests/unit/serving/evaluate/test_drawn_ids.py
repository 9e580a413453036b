"""Items of an evaluation have drawn ids: what is tied is in no order that means anything."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from msgspec import structs

from ingest.files import file_source
from ingest.query_settings import Boost, Scenario
from ingest.readers import Progress, RowError
from ingest.settings import Settings
from serving.evaluate.drawn_ids import DrawnSource, drawn_id, with_drawn_ids

IDS = [f"i{n:03}" for n in range(100)]


@pytest.fixture
def items(tmp_path: Path) -> Path:
    file = tmp_path / "items.jsonl"
    file.write_bytes(b"\n".join([*(orjson.dumps({"item_id": i, "title": f"title of {i}"}) for i in IDS), b"{}"]))
    return file


@pytest.fixture
def events(tmp_path: Path) -> Path:
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\n".join(orjson.dumps({"user_id": "u", "item_id": i, "type": "view"}) for i in IDS))
    return file


def test_items_and_events_have_the_same_drawn_ids_and_nothing_else_changes(items, events):
    for file, read in ((items, "items"), (events, "events")):
        source = file_source(str(file))
        given = list(getattr(source, read)(Settings(), Progress()))
        drawn = list(getattr(DrawnSource.of(source, 1), read)(Settings(), Progress()))
        change = replace if read == "items" else structs.replace
        assert [
            row
            if isinstance(row, RowError)
            else replace(row, value=change(row.value, item_id=drawn_id(row.value.item_id, 1)))
            for row in given
        ] == drawn


def test_drawn_ids_are_in_another_order_by_each_seed():
    orders = [sorted(IDS, key=lambda item_id: drawn_id(item_id, seed)) for seed in (1, 1, 2)]

    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert IDS not in orders
    assert len({drawn_id(item_id, 1) for item_id in IDS}) == len(IDS)


def test_scenarios_name_the_items_by_their_drawn_ids():
    boost = Boost(item_ids=["i002"], by=1)
    settings = Settings(scenarios={"home": Scenario(pinned=["i001"], boosts=[boost], explore=0.1)})

    found = with_drawn_ids(settings, 1).scenarios["home"]

    assert found.pinned == [drawn_id("i001", 1)]
    assert found.boosts == [boost.model_copy(update={"item_ids": [drawn_id("i002", 1)]})]
    assert found.model_dump(exclude_unset=True).keys() == {"pinned", "boosts", "explore"}
