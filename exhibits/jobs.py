"""What works beside the service, trainer and monitor, as the database knows it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from calendars import listing_of, next_close
from config import Settings
from contracts import JobRecord, LogUnavailable
from forecast_log import ForecastLog
from schemas import JobOut

MONITOR = "watch"  # the lease that its loop holds
TRAINER = "train"


class Jobs:
    """Reads leases and queues; safe to share by threads."""

    def __init__(self, settings: Settings, log: ForecastLog) -> None:
        self._settings = settings
        self._log = log

    def now(self, moment: datetime | None = None) -> dict[str, JobOut]:
        """By name, whether each is at work, what it finished last and what waits for it; nothing
        of either while the database is away."""
        try:
            trainer = self._of(TRAINER, "training", self._log.trainings_done())
            monitor = self._of(MONITOR, "drift check", self._log.checks_done())
        except LogUnavailable:
            return {}
        due = self._next_round(moment or datetime.now(UTC)) if monitor.at_work else None
        return {
            "trainer": trainer,
            "monitor": monitor.model_copy(update={"next_round": due}),
        }

    def _of(self, lease: str, deed: str, record: JobRecord) -> JobOut:
        return JobOut(
            at_work=self._log.is_held(lease),
            last_done=record.finished_at,
            last_deed=f"{deed} of {record.ticker}" if record.ticker else None,
            waiting=record.waiting,
            next_round=None,
        )

    def _next_round(self, moment: datetime) -> datetime:
        """When the monitor's loop is next due: a while after the first close of an exchange."""
        delay = timedelta(minutes=self._settings.watch_delay_minutes)
        exchanges = {listing_of(name).calendar: name for name in self._settings.tickers}
        return min(next_close(name, moment - delay) for name in exchanges.values()) + delay
