"""A user's newest event in the order of arrival: what a kept taste looks for, with a million events as with ten."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the index."""
    op.create_index("events_user_newest", "events", ["user_id", "sequence"])
