"""Where an item stands in any generation, and what any encoder made of a text: what a deletion looks for."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add both indexes."""
    op.create_index("placements_item", "placements", ["item_id"])
    op.create_index("vectors_content", "vectors", ["content_hash"])
