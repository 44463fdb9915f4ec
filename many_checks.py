"""Drift checks of many tickers as one job: workers check, this process tells and records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from config import Settings
from contracts import DriftVerdict
from data_pipeline import today
from drift_check import Checked, Watched, check_ticker
from drift_monitor import DriftMonitor
from engines import EngineChoice
from engines.job import Job, Summary
from forecast_log import ForecastLog, parse_verdict, verdict_json
from many import Work, refreshed, worked


class Checks:
    """One check of each ticker.

    Args:
        tickers: whose champions.
        history: newest sessions of the replay that each verdict keeps.
        settings: where prices, champions and reports are.
    """

    def __init__(self, tickers: tuple[str, ...], history: int, settings: Settings) -> None:
        self.tickers, self.history, self.settings = tickers, history, settings

    def job(self, *, afresh: bool = False) -> Job:
        """All of them, where they stand.

        Raises:
            LeaseTaken: another process is at them.
        """
        about = {
            "history": self.history,
            "seed": self.settings.seed,
            "through": str(today(self.tickers[0], self.settings)),
        }
        folder = self.settings.models_dir / "jobs" / "drift"
        return Job(folder, "drift", self.tickers, about, afresh=afresh)

    def run(self, job: Job, choice: EngineChoice, records: ForecastLog) -> Iterator[DriftVerdict]:
        """Check what the job lacks; each verdict as it is recorded.

        Raises:
            LogUnavailable: the database is away; what is done stays done.
            EngineUnavailable: the engine cannot be started.
        """

        def prepare(ticker: str) -> tuple[Watched, DriftMonitor]:
            monitor = DriftMonitor(ticker, self.settings)
            return monitor.watched(self.history), monitor

        def write(monitor: DriftMonitor, checked: Checked) -> Mapping[str, Any]:
            verdict = monitor.written(checked)
            known = recorded_since(records, monitor.ticker, job.since)
            found: dict[str, Any] = json.loads(
                verdict_json(known or monitor.told(verdict, records))
            )
            return found

        work: Work[Watched, DriftMonitor, Checked] = Work(prepare, check_ticker, write)
        refreshed(job.pending(), self.settings)
        for _, record in worked(job, choice, work):
            yield verdict_of(record)


def check_all(
    checks: Checks, records: ForecastLog, choice: EngineChoice, *, afresh: bool
) -> tuple[list[DriftVerdict], Summary]:
    """Check them all; the verdict of each that could be checked, and how the job ended.

    Raises:
        LeaseTaken: another process is at it.
        LogUnavailable, EngineUnavailable: as `Checks.run`.
    """
    with checks.job(afresh=afresh) as job:
        for _ in checks.run(job, choice, records):
            pass
        verdicts = [verdict_of(record) for record in job.records().values()]
        return verdicts, job.finish()


def recorded_since(records: ForecastLog, ticker: str, since: datetime) -> DriftVerdict | None:
    """A verdict that this job recorded and was killed before it could say so."""
    known = records.latest_verdict(ticker)
    return known if known is not None and known.checked_at >= since else None


def verdict_of(record: Mapping[str, Any]) -> DriftVerdict:
    """The verdict that a job's record holds."""
    return parse_verdict(json.dumps(record))
