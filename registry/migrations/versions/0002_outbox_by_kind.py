"""An index of the outbox by kind: each step of a revocation asks for a few of a hundred thousand rows."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the index."""
    op.create_index("ix_outbox_kind", "outbox", ["kind"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_outbox_kind", "outbox")
