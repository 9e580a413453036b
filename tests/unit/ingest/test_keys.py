"""API keys as they are made and recognised."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.keys import ApiKey, Scope, hash_secret, id_of, new_secret


def key(secret: str) -> ApiKey:
    return ApiKey(
        key_id="k",
        name="n",
        scopes=frozenset(Scope),
        secret_hash=hash_secret(secret),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_a_secret_says_whose_it_is_and_holds_256_random_bits():
    key_id, secret = new_secret()

    assert id_of(secret) == key_id
    assert len(secret.removeprefix(f"akin_{key_id}_")) == 43  # base64 of 32 bytes


@pytest.mark.parametrize("text", ["", "akin", "akin_", "akin__x", "akin_a", "akin_a_", "other_a_b"])
def test_what_is_no_key_has_no_id(text):
    assert id_of(text) is None


@given(st.text())
def test_only_the_secret_itself_opens(text):
    assert key("akin_k_right").opens_with(text) == (text == "akin_k_right")
