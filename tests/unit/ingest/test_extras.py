"""What is said where an extra is missing."""

from ingest.extras import to_install


def test_an_extra_is_installed_from_a_checkout_and_not_from_an_index():
    assert to_install("export") == "install akin's extra `export` (from a checkout: pip install '.[export]')"
    assert "pip install '.[bench,export]'" in to_install("bench", "export")
