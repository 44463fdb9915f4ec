"""Verdicts of drift checks: what the first databases hold, made before there were revisions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from records.schema import UtcDateTime

revision = "r0001"
down_revision = None


def upgrade() -> None:
    """Make the table where it is missing; an existing one keeps its rows."""
    op.create_table(
        "drift_checks",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("ticker", sa.String(32), nullable=False),
        sa.Column("checked_at", UtcDateTime, nullable=False),
        sa.Column("alarm", sa.Boolean, nullable=False),
        sa.Column("verdict", sa.JSON, nullable=False),
        if_not_exists=True,
    )
    op.create_index(
        "drift_checks_by_ticker", "drift_checks", ["ticker", "checked_at"], if_not_exists=True
    )


def downgrade() -> None:
    """Give the table up."""
    op.drop_table("drift_checks")
