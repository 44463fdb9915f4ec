"""The only door to the database: promises and what came of them, drift verdicts, queues, leases.

SQLite, or PostgreSQL by URL. Knows no models, no prices but those it is handed, and no settings.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError

from contracts import (
    CheckRequest,
    DriftVerdict,
    FinishedTraining,
    JobRecord,
    LogUnavailable,
    Performance,
    Prices,
    Promise,
    Settlement,
    TrainingRequest,
)
from records import performance as scoring
from records import promising, retention, settling
from records.database import Database
from records.leases import Lease, is_held
from records.requests import RequestQueue
from records.schema import CHECK_REQUESTS, DRIFT_CHECKS, OUTCOMES, PROMISES, TRAINING_REQUESTS
from records.schema import UtcDateTime as UtcDateTime
from records.writer import ForecastWriter as ForecastWriter

log = logging.getLogger(__name__)

VERDICT_FORM: TypeAdapter[DriftVerdict] = TypeAdapter(DriftVerdict)


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
    """One database. Nothing is opened or created before the first call that needs it.

    Safe to share by threads; processes share the database. Every call may raise LogUnavailable:
    the database is away, locked, read-only, or of a newer version.
    """

    def __init__(self, url: str) -> None:
        """Take an address such as `sqlite:///forecasts.db` or `postgresql+psycopg://...`.

        Raises:
            BadSettings: no address, or of a database whose driver is not installed.
        """
        self._database = Database(url)
        self._trainings = RequestQueue(self._database, TRAINING_REQUESTS)
        self._checks = RequestQueue(self._database, CHECK_REQUESTS)

    def close(self) -> None:
        """Give every connection back. Close writers first."""
        self._database.close()

    # Promises

    def writer(self) -> ForecastWriter:
        """A writer of served forecasts, with a thread of its own from its first forecast on."""
        return ForecastWriter(self._database)

    def promises(
        self, ticker: str, first: date | None = None, last: date | None = None
    ) -> tuple[Promise, ...]:
        """What was promised of a ticker, origins from `first` through `last`, earliest first."""
        with self._database.reading(PROMISES) as connection:
            return promising.read(connection, ticker, first, last) if connection else ()

    def settle(self, prices: Prices, today: date) -> Settlement:
        """Put these prices beside what was promised for their sessions. Idempotent.

        Args:
            prices: the whole history of one ticker as it is known now.
            today: bars of later days are not looked at.
        """
        with self._database.writing() as connection:
            self._database.serialise(connection, f"settle {prices.ticker}")
            found = settling.settle(connection, prices, today, self._database.now(connection))
        log.info(
            "settled ticker=%s through=%s settled=%d waiting=%d revised=%d skipped=%d",
            *(found.ticker, found.through, found.settled),
            *(found.waiting, found.revised, found.skipped),
        )
        return found

    def performance(self, ticker: str) -> Performance:
        """How what was served of a ticker turned out, by model version and step."""
        with self._database.reading(PROMISES) as connection:
            if connection is None:
                return scoring.empty(ticker)
            return scoring.performance(connection, ticker)

    def settled_at(self, ticker: str) -> datetime | None:
        """When an outcome of a ticker was last written, in UTC; None where there is none."""
        newest = sa.select(sa.func.max(OUTCOMES.c.settled_at)).where(OUTCOMES.c.ticker == ticker)
        with self._database.reading(OUTCOMES) as connection:
            return None if connection is None else connection.scalar(newest)

    def purge(self, older_than_days: int) -> int:
        """Delete promises made longer ago, with their outcomes; how many promises there were.

        Args:
            older_than_days: 0 deletes nothing.
        """
        if older_than_days <= 0:
            return 0
        with self._database.writing() as connection:
            before = self._database.now(connection) - timedelta(days=older_than_days)
            gone = retention.purge(connection, before)
        log.info("purged promises=%d older_than_days=%d", gone, older_than_days)
        return gone

    # Drift verdicts

    def record_verdict(self, verdict: DriftVerdict) -> None:
        """Append one verdict."""
        row = {
            "ticker": verdict.ticker,
            "checked_at": verdict.checked_at,
            "alarm": verdict.alarm,
            "verdict": json.loads(verdict_json(verdict)),
        }
        with self._database.writing() as connection:
            connection.execute(sa.insert(DRIFT_CHECKS).values(row))
        log.info("recorded ticker=%s alarm=%s", verdict.ticker, verdict.alarm)

    def latest_verdict(self, ticker: str) -> DriftVerdict | None:
        """The newest verdict of a ticker; None where it was never checked.

        Reading creates nothing: without a database file or table the answer is None too.

        Raises:
            LogUnavailable: also where the row was not written by this version.
        """
        rows = self._verdict_rows(ticker, 1)
        return self._parsed(ticker, rows[0]) if rows else None

    def verdicts(self, ticker: str, limit: int = 30) -> tuple[DriftVerdict, ...]:
        """The newest verdicts, the newest first; those of other versions are left out."""
        found = []
        for row in self._verdict_rows(ticker, limit):
            try:
                found.append(self._parsed(ticker, row))
            except LogUnavailable:
                log.info("verdict_of_another_version ticker=%s", ticker)
        return tuple(found)

    def _verdict_rows(self, ticker: str, limit: int) -> list[dict[str, Any]]:
        newest = (
            sa.select(DRIFT_CHECKS.c.verdict)
            .where(DRIFT_CHECKS.c.ticker == ticker)
            .order_by(DRIFT_CHECKS.c.checked_at.desc(), DRIFT_CHECKS.c.id.desc())
            .limit(limit)
        )
        with self._database.reading(DRIFT_CHECKS) as connection:
            return [] if connection is None else list(connection.scalars(newest))

    def _parsed(self, ticker: str, row: dict[str, Any]) -> DriftVerdict:
        try:
            return parse_verdict(json.dumps(row))
        except ValidationError as error:
            raise LogUnavailable(
                f"the last drift verdict of {ticker} was not written by this version; "
                f"run: python drift_monitor.py {ticker}"
            ) from error

    # Requests of one process to another

    def ask_training(self, ticker: str, reason: str) -> int:
        """The id of the ticker's open request to be trained, made if there is none."""
        return self._trainings.ask(ticker, reason)

    def take_training(self, worker: str, lease_seconds: float) -> TrainingRequest | None:
        """The oldest request that nobody works at, for so many seconds; None without one."""
        row = self._trainings.take(worker, lease_seconds)
        return None if row is None else TrainingRequest(reason=row["reason"], **_taken(row))

    def renew_training(self, number: int, worker: str, lease_seconds: float) -> bool:
        """Keep a taken request for so long from now; False where it is another's by now."""
        return self._trainings.renew(number, worker, lease_seconds)

    def finish_training(self, number: int, outcome: str, worker: str | None = None) -> bool:
        """Close a request and say what came of it.

        Args:
            number: its id.
            outcome: a line for people.
            worker: then only if it is still this worker's.

        Returns:
            False where it was closed already, or is another worker's by now.
        """
        return self._trainings.finish(number, outcome, worker)

    def trainings(self, ticker: str, limit: int = 30) -> tuple[FinishedTraining, ...]:
        """The newest finished requests of a ticker, the newest first, with what came of each."""
        names = ("ticker", "reason", "asked_at", "finished_at", "outcome")
        rows = self._trainings.finished(ticker, limit)
        return tuple(FinishedTraining(**{name: row[name] for name in names}) for row in rows)

    def trainings_done(self) -> JobRecord:
        """The training that was finished last because somebody asked, and how many wait."""
        return self._trainings.record()

    def ask_check(self, ticker: str, reason: str = "asked for") -> int:
        """The id of the ticker's open request to be checked for drift, made if there is none."""
        return self._checks.ask(ticker, reason)

    def take_check(self, worker: str, lease_seconds: float) -> CheckRequest | None:
        """As `take_training`, of drift checks."""
        row = self._checks.take(worker, lease_seconds)
        return None if row is None else CheckRequest(**_taken(row))

    def finish_check(self, number: int, outcome: str = "done", worker: str | None = None) -> bool:
        """As `finish_training`, of a drift check."""
        return self._checks.finish(number, outcome, worker)

    def checks_done(self) -> JobRecord:
        """The drift check that was made last, asked for or not, and how many wait."""
        row = DRIFT_CHECKS.c
        newest = sa.select(row.ticker, row.checked_at).order_by(row.id.desc()).limit(1)
        with self._database.reading(DRIFT_CHECKS) as connection:
            last = None if connection is None else connection.execute(newest).one_or_none()
        waiting = self._checks.record().waiting
        ticker, made = last or (None, None)
        return JobRecord(ticker=ticker, finished_at=made, waiting=waiting)

    def lease(self, name: str, holder: str, seconds: float) -> Lease:
        """`with log.lease("watch", "host-1", 60) as lease:` holds the name alone until the end.

        Entering raises LeaseTaken where somebody holds it; `lease.renew()` before the seconds are
        over keeps it, and raises LeaseLost where it was too late.
        """
        return Lease(self._database, name, holder, seconds)

    def is_held(self, name: str) -> bool:
        """Whether somebody holds the lease of that name; asking takes nothing.

        Raises:
            LogUnavailable: the database is away or locked.
        """
        return is_held(self._database, name)


def _taken(row: Mapping[Any, Any]) -> dict[str, Any]:
    names = ("id", "ticker", "asked_at", "worker", "expires_at", "attempts")
    return {name: row[name] for name in names}
