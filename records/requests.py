"""Queues of requests in the database: one open request per ticker, one worker per request.

A request that is taken is leased: a worker that dies keeps it only until its lease ends.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

import sqlalchemy as sa

from contracts import JobRecord
from records.database import Database

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 5  # then a request is given up: it may be what kills its workers
GIVEN_UP = f"given up after {MOST_ATTEMPTS} attempts"


class RequestQueue:
    """The requests of one table. Safe to share by threads and processes."""

    def __init__(self, database: Database, table: sa.Table) -> None:
        self._database = database
        self._table = table

    def ask(self, ticker: str, reason: str) -> int:
        """The id of the ticker's open request, made if there is none."""
        row = self._table.c
        with self._database.writing() as connection:
            self._database.serialise(connection, f"{self._table.name} {ticker}")
            unfinished = (row.ticker == ticker, row.finished_at.is_(None))
            open_one = connection.scalar(sa.select(row.id).where(*unfinished))
            if open_one is not None:
                return int(open_one)
            values = {"asked_at": self._database.now(connection), "attempts": 0}
            made = connection.execute(
                sa.insert(self._table).values(ticker=ticker, reason=reason, **values)
            )
            (number,) = made.inserted_primary_key or (0,)
        log.info("asked queue=%s ticker=%s id=%s", self._table.name, ticker, number)
        return int(number)

    def take(self, worker: str, lease_seconds: float) -> sa.RowMapping | None:
        """Lease the oldest request that nobody works at; None where there is none."""
        with self._database.writing() as connection:
            now = self._database.now(connection)
            while (number := self._oldest(connection, now)) is not None:
                taken = self._taken(connection, number, worker, now, lease_seconds)
                if taken is not None:
                    return taken
        return None

    def renew(self, number: int, worker: str, lease_seconds: float) -> bool:
        """Keep a taken request for so long from now; False where it is no longer the worker's."""
        with self._database.writing() as connection:
            expires = self._database.now(connection) + timedelta(seconds=lease_seconds)
            changed = connection.execute(
                sa.update(self._table).where(*self._held(number, worker)).values(expires_at=expires)
            )
        return changed.rowcount == 1

    def finish(self, number: int, outcome: str, worker: str | None) -> bool:
        """Close a request; False where it is closed already or another worker's by now."""
        with self._database.writing() as connection:
            changed = connection.execute(
                sa.update(self._table)
                .where(*self._held(number, worker))
                .values(finished_at=self._database.now(connection), outcome=outcome)
            )
        return changed.rowcount == 1

    def finished(self, ticker: str, limit: int) -> list[sa.RowMapping]:
        """The newest requests of a ticker that were closed, the newest first."""
        row = self._table.c
        asked = (
            sa.select(self._table)
            .where(row.ticker == ticker, row.finished_at.is_not(None))
            .order_by(row.id.desc())
            .limit(limit)
        )
        with self._database.reading(self._table) as connection:
            return [] if connection is None else list(connection.execute(asked).mappings())

    def record(self) -> JobRecord:
        """How many requests are open, and which was closed last."""
        row = self._table.c
        newest = (
            sa.select(row.ticker, row.finished_at)
            .where(row.finished_at.is_not(None))
            .order_by(row.finished_at.desc())
            .limit(1)
        )
        waiting = sa.select(sa.func.count()).where(row.finished_at.is_(None))
        with self._database.reading(self._table) as connection:
            if connection is None:
                return JobRecord(ticker=None, finished_at=None, waiting=0)
            last = connection.execute(newest).one_or_none() or (None, None)
            open_ones = connection.scalar(waiting) or 0
        return JobRecord(ticker=last[0], finished_at=last[1], waiting=open_ones)

    def _held(self, number: int, worker: str | None) -> list[sa.ColumnElement[bool]]:
        row = self._table.c
        held = [row.id == number, row.finished_at.is_(None)]
        return held if worker is None else [*held, row.worker == worker]

    def _oldest(self, connection: sa.Connection, now: datetime) -> int | None:
        """PostgreSQL passes over what another transaction is just taking; SQLite lets one in."""
        row = self._table.c
        free = sa.or_(row.expires_at.is_(None), row.expires_at <= now)
        found: int | None = connection.scalar(
            sa.select(row.id)
            .where(row.finished_at.is_(None), free)
            .order_by(row.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        return found

    def _taken(
        self, connection: sa.Connection, number: int, worker: str, now: datetime, seconds: float
    ) -> sa.RowMapping | None:
        row = self._table.c
        this = sa.update(self._table).where(row.id == number)
        attempts = connection.scalar(sa.select(row.attempts).where(row.id == number)) or 0
        if attempts >= MOST_ATTEMPTS:
            connection.execute(this.values(finished_at=now, outcome=GIVEN_UP))
            log.error("given_up queue=%s id=%d attempts=%d", self._table.name, number, attempts)
            return None
        lease = {"worker": worker, "expires_at": now + timedelta(seconds=seconds)}
        connection.execute(this.values(attempts=attempts + 1, **lease))
        return connection.execute(sa.select(self._table).where(row.id == number)).mappings().one()
