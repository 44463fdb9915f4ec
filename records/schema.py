"""The tables as this version of the software uses them. `migrations` brings any older form here."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

HEAD = "r0002"  # the newest revision below `migrations`; a test holds the two together


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware moment in, the same moment in UTC out.

    SQLite drops the time zone of what it stores and PostgreSQL keeps it, so both get UTC.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Refuse a moment without a zone: it could mean any of 24."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone; give it in UTC")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """What SQLite returns without a zone is UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


METADATA = sa.MetaData()

DRIFT_CHECKS = sa.Table(
    "drift_checks",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("ticker", sa.String(32), nullable=False),
    sa.Column("checked_at", UtcDateTime, nullable=False),
    sa.Column("alarm", sa.Boolean, nullable=False),
    sa.Column("verdict", sa.JSON, nullable=False),
    sa.Index("drift_checks_by_ticker", "ticker", "checked_at"),
)

# What makes two forecasts one promise.
KEY = (
    *("ticker", "origin", "version", "bundle", "mode"),
    *("cold_start", "source", "adjustment", "data_sha256"),
)
PROMISES = sa.Table(
    "promises",
    METADATA,
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
    sa.Index("promises_by_day", "made_at"),
)

# A table of its own key keeps the thirty rows of a promise side by side in SQLite's file.
PROMISED_STEPS = sa.Table(
    "promised_steps",
    METADATA,
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

# Every price a session was ever known by, the highest revision the latest. No mid: the session
# was withdrawn by a later download.
OUTCOMES = sa.Table(
    "outcomes",
    METADATA,
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


def _request_columns() -> list[sa.Column[object]]:
    """What every queue keeps of a request; it is open until `finished_at`."""
    return [
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("ticker", sa.String(32), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("asked_at", UtcDateTime, nullable=False),
        sa.Column("worker", sa.String(128)),
        sa.Column("expires_at", UtcDateTime),
        sa.Column("attempts", sa.SmallInteger, nullable=False),
        sa.Column("finished_at", UtcDateTime),
        sa.Column("outcome", sa.Text),
    ]


def _open_once(name: str) -> sa.Index:
    unfinished = sa.text("finished_at IS NULL")
    return sa.Index(
        name, "ticker", unique=True, sqlite_where=unfinished, postgresql_where=unfinished
    )


TRAINING_REQUESTS = sa.Table(
    "training_requests", METADATA, *_request_columns(), _open_once("training_open_once")
)
CHECK_REQUESTS = sa.Table(
    "check_requests", METADATA, *_request_columns(), _open_once("check_open_once")
)

LEASES = sa.Table(
    "leases",
    METADATA,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("holder", sa.String(128), nullable=False),
    sa.Column("token", sa.String(32), nullable=False),  # of this taking, not of the holder
    sa.Column("expires_at", UtcDateTime, nullable=False),
)
