"""Promises with their steps and outcomes, the two queues, and leases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from records.schema import UtcDateTime

revision = "r0002"
down_revision = "r0001"
KEY = (
    *("ticker", "origin", "version", "bundle", "mode"),
    *("cold_start", "source", "adjustment", "data_sha256"),
)
MADE = (
    *("leases", "check_requests", "training_requests"),
    *("outcomes", "promised_steps", "promises"),
)


def upgrade() -> None:
    """Six tables."""
    _promises()
    _steps()
    _outcomes()
    _queue("training_requests", "training_open_once")
    _queue("check_requests", "check_open_once")
    op.create_table(
        "leases",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("holder", sa.String(128), nullable=False),
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
    )


def downgrade() -> None:
    """Give up all that was promised."""
    for table in MADE:
        op.drop_table(table)


def _promises() -> None:
    op.create_table(
        "promises",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("ticker", sa.String(32), nullable=False),
        sa.Column("origin", sa.Date, nullable=False),
        sa.Column("version", sa.String(128), nullable=False),
        sa.Column("bundle", sa.String(255), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("cold_start", sa.Boolean, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("adjustment", sa.String(16), nullable=False),
        sa.Column("data_sha256", sa.String(64), nullable=False),
        sa.Column("currency", sa.String(8), nullable=False),
        sa.Column("last_mid", sa.Double, nullable=False),
        sa.Column("last_close", sa.Double, nullable=False),
        sa.Column("made_at", UtcDateTime, nullable=False),
        sa.Column("served_at", UtcDateTime, nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.UniqueConstraint(*KEY, name="promises_once"),
    )
    op.create_index("promises_by_day", "promises", ["made_at"])


def _steps() -> None:
    op.create_table(
        "promised_steps",
        sa.Column(
            "promise_id",
            sa.Integer,
            sa.ForeignKey("promises.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("step", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("date", sa.Date, nullable=False),
        sa.Column("point", sa.Double, nullable=False),
        sa.Column("lower_80", sa.Double),
        sa.Column("upper_80", sa.Double),
        sa.Column("lower_95", sa.Double),
        sa.Column("upper_95", sa.Double),
        sqlite_with_rowid=False,
    )


def _outcomes() -> None:
    op.create_table(
        "outcomes",
        sa.Column("ticker", sa.String(32), primary_key=True),
        sa.Column("synthetic", sa.Boolean, primary_key=True),
        sa.Column("adjustment", sa.String(16), primary_key=True),
        sa.Column("date", sa.Date, primary_key=True),
        sa.Column("revision", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("mid", sa.Double),
        sa.Column("close", sa.Double),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("data_sha256", sa.String(64), nullable=False),
        sa.Column("settled_at", UtcDateTime, nullable=False),
        sqlite_with_rowid=False,
    )


def _queue(table: str, once: str) -> None:
    op.create_table(
        table,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("ticker", sa.String(32), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("asked_at", UtcDateTime, nullable=False),
        sa.Column("worker", sa.String(128)),
        sa.Column("expires_at", UtcDateTime),
        sa.Column("attempts", sa.SmallInteger, nullable=False),
        sa.Column("finished_at", UtcDateTime),
        sa.Column("outcome", sa.Text),
    )
    unfinished = sa.text("finished_at IS NULL")
    op.create_index(
        once,
        table,
        ["ticker"],
        unique=True,
        sqlite_where=unfinished,
        postgresql_where=unfinished,
    )
