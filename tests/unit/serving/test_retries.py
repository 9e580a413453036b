"""The client waits as long as a server asks, within bounds, and never less than its own spread."""

import pytest

from serving.client.retries import after


@pytest.mark.parametrize(("hint", "seconds"), [("7", 7.5), ("0", 0.5), ("3600", 30.5), ("9" * 400, 30.5)])
def test_a_number_is_waited_for_on_top_of_the_own_wait(hint: str, seconds: float) -> None:
    assert after(hint, 0.5) == seconds


@pytest.mark.parametrize("hint", [None, "", "soon", "-1", "1.5", "²", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_what_is_no_number_is_no_hint(hint: str | None) -> None:
    assert after(hint, 0.5) == 0.5
