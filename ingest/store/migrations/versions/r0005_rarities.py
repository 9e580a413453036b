"""How far the text of an item stands apart."""

from alembic import op
from sqlalchemy import Column, Float, String

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "rarities",
        Column("item_id", String(256), primary_key=True),
        Column("rarity", Float, nullable=False),
    )
