"""The only door to the database: what each drift check found. SQLite, or PostgreSQL by URL.

Knows no models, no prices and no settings; it is handed an address.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.schema import CreateIndex, CreateTable

from contracts import BadSettings, DriftVerdict, LogUnavailable

log = logging.getLogger(__name__)

BUSY_SECONDS = 5.0  # how long to wait for another writer, or for a server
LOCK_KEY = 5_281_970  # of this log among a PostgreSQL server's advisory locks
VERDICT_FORM: TypeAdapter[DriftVerdict] = TypeAdapter(DriftVerdict)


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


def verdict_json(verdict: DriftVerdict) -> str:
    """A verdict as indented JSON; `parse_verdict` is the exact inverse.

    Raises:
        ValueError: a number is NaN or infinite, which JSON cannot carry.
    """
    plain = VERDICT_FORM.dump_python(verdict, mode="json")
    return json.dumps(plain, indent=2, allow_nan=False, ensure_ascii=False)


def parse_verdict(text: str) -> DriftVerdict:
    """The verdict a JSON text describes: every field of its type, none unknown, and none missing
    that the first version had.

    Raises:
        ValidationError: anything else.
    """
    return VERDICT_FORM.validate_json(text, strict=True, extra="forbid")


class ForecastLog:
    """One database. Nothing is opened or created before the first call that needs it."""

    def __init__(self, url: str) -> None:
        """Take an address such as `sqlite:///forecasts.db` or `postgresql+psycopg://...`.

        Raises:
            BadSettings: no address, or of a database whose driver is not installed.
        """
        try:
            self._url = sa.make_url(url)
            patience = "timeout" if self._is_sqlite else "connect_timeout"
            waiting = {patience: BUSY_SECONDS if self._is_sqlite else int(BUSY_SECONDS)}
            self._engine = sa.create_engine(self._url, connect_args=waiting, pool_pre_ping=True)
        except (ArgumentError, ModuleNotFoundError) as error:
            raise BadSettings(
                "STOCK_DATABASE_URL is not the address of a database that can be used here "
                f"({type(error).__name__}); expected something like sqlite:///forecasts.db"
            ) from error

    def record_verdict(self, verdict: DriftVerdict) -> None:
        """Append one verdict; the table is created when it is missing.

        Raises:
            LogUnavailable: the database is away, locked or read-only.
        """
        row = {
            "ticker": verdict.ticker,
            "checked_at": verdict.checked_at,
            "alarm": verdict.alarm,
            "verdict": json.loads(verdict_json(verdict)),
        }
        with self._explained("written"):
            self._create_tables()
            with self._engine.begin() as connection:
                connection.execute(sa.insert(DRIFT_CHECKS).values(row))
        log.info("recorded ticker=%s alarm=%s", verdict.ticker, verdict.alarm)

    def latest_verdict(self, ticker: str) -> DriftVerdict | None:
        """The newest verdict of a ticker; None where it was never checked.

        Reading creates nothing: without a database file or table the answer is None too.

        Raises:
            LogUnavailable: the database is away or locked, or holds a row this version
                cannot read.
        """
        newest = (
            sa.select(DRIFT_CHECKS.c.verdict)
            .where(DRIFT_CHECKS.c.ticker == ticker)
            .order_by(DRIFT_CHECKS.c.checked_at.desc(), DRIFT_CHECKS.c.id.desc())
            .limit(1)
        )
        if self._no_file_yet:
            return None
        with self._explained("read"):
            if not sa.inspect(self._engine).has_table(DRIFT_CHECKS.name):
                return None
            with self._engine.connect() as connection:
                row: dict[str, Any] | None = connection.scalar(newest)
        return None if row is None else self._parsed(ticker, row)

    def close(self) -> None:
        """Give every connection back."""
        self._engine.dispose()

    @property
    def _is_sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    @property
    def _no_file_yet(self) -> bool:
        name = self._url.database
        in_memory = not name or ":memory:" in name
        return self._is_sqlite and not in_memory and not Path(str(name)).is_file()

    def _create_tables(self) -> None:
        """Make what is missing; safe beside another process doing the same."""
        with self._engine.connect() as connection:
            if self._is_sqlite:  # readers then never wait for a writer; kept in the file
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            else:  # PostgreSQL's IF NOT EXISTS fails when two sessions create at once
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK_KEY)))
            for table in METADATA.sorted_tables:
                connection.execute(CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    connection.execute(CreateIndex(index, if_not_exists=True))
            connection.commit()

    @contextmanager
    def _explained(self, deed: str) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, PoolTimeout) as error:
            where = self._url.render_as_string(hide_password=True)
            cause = str(getattr(error, "orig", None) or type(error).__name__).splitlines()[0]
            raise LogUnavailable(
                f"the forecast log at {where} cannot be {deed} now ({cause}); "
                "see that the database runs and STOCK_DATABASE_URL names it"
            ) from error

    def _parsed(self, ticker: str, row: dict[str, Any]) -> DriftVerdict:
        try:
            return parse_verdict(json.dumps(row))
        except ValidationError as error:
            raise LogUnavailable(
                f"the last drift verdict of {ticker} was not written by this version; "
                f"run: python drift_monitor.py {ticker}"
            ) from error
