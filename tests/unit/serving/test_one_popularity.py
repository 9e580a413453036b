"""What a training takes for popular lately is what answers count."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.events import Event
from ingest.items import Item
from ingest.scoring import present_among
from ingest.taste.cuts import Cut
from ingest.weights import usual, votes
from tests.fakes import installation

START = datetime(2024, 1, 1, tzinfo=UTC)
ITEMS = ("a", "b", "c")

hours = st.integers(0, 60 * 24)
what = (st.sampled_from("uvwxyz"), st.sampled_from(ITEMS), st.none() | st.integers(1, 5))  # None: a view
met = st.tuples(*what, hours)
met_some_time = st.tuples(*what, st.none() | hours)
never = st.tuples(*what, st.none())
some = {"min_size": 1, "max_size": 40}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    histories=st.lists(met, **some) | st.lists(met_some_time, **some) | st.lists(never, **some),
    half_life=st.sampled_from([0.25, 3.0, 14.0]),
)
def test_a_training_and_an_answer_count_alike(histories, half_life):
    events = [
        Event(
            event_id=f"e{n}",
            user_id=user,
            item_id=item,
            type="view" if rating is None else "rating",
            value=rating,
            timestamp=None if hour is None else START + timedelta(hours=hour),
        )
        for n, (user, item, rating, hour) in enumerate(histories)
    ]
    with tempfile.TemporaryDirectory() as folder, installation(Path(folder)) as akin:
        akin.add_items([Item(item_id=item_id, title=item_id) for item_id in ITEMS])
        akin.ledger.events.add(events)
        akin.ledger.learned.keep_usual(usual([events], akin.settings))
        configured = akin.ledger.learned.usual().under(akin.settings)
        served = akin.popularity.recent(half_life).values
        nothing_held_out = datetime.max.replace(tzinfo=UTC)
        cut = Cut(ITEMS, None, configured, since=nothing_held_out)
        for _ in cut.training(akin.ledger.events.histories()):
            pass
        found = dict(zip(ITEMS, cut.priors(half_life), strict=True))
        present = akin.ledger.events.present(votes(configured))

    counted = [event for event in events if event in votes(configured)]
    times = np.array([-np.inf if event.timestamp is None else event.timestamp.timestamp() for event in counted])
    assert present_among(np.sort(times)[::-1]) == (-np.inf if present is None else present.timestamp())

    assert found == {item_id: pytest.approx(served.get(item_id, 0.0)) for item_id in ITEMS}
