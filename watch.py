"""The monitor's loop: a round for each ticker after each close of its exchange. Trains nothing.

`python watch.py` stays; `python watch.py --once` makes one round of every ticker, with what was
missed, and ends. One loop at a time works on a database: the others wait until it is done or dead.
Knows when; `rounds` knows what.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from tqdm import tqdm

from calendars import listing_of, next_close
from config import Settings, get_settings
from contracts import (
    ForecastingError,
    LeaseLost,
    LeaseTaken,
    LogUnavailable,
    TrackingUnavailable,
    parse_ticker,
)
from forecast_log import ForecastLog
from leasing import renewed, worker_name
from registry_commands import said, sync_all
from rounds import Rounds

log = logging.getLogger(__name__)

LEASE = "watch"
LOOK_SECONDS = 10.0  # between two looks for drift checks that were asked for
RETRY_SECONDS = 900.0  # before another round of a ticker whose round failed


class SessionClose(BaseTrigger):  # type: ignore[misc]  # APScheduler 3 ships no types
    """Fires a while after each close of one ticker's exchange, early closes included."""

    def __init__(self, ticker: str, delay: timedelta) -> None:
        self.ticker = ticker
        self.delay = delay

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """The first close whose delay ends after the last firing, or after now."""
        return next_close(self.ticker, (previous_fire_time or now) - self.delay) + self.delay


class Watch:
    """The loop over some tickers; every deed in it may be done again without harm."""

    def __init__(self, tickers: Sequence[str], settings: Settings, rounds: Rounds) -> None:
        self.tickers = tuple(tickers)
        self.settings = settings
        self.rounds = rounds

    def once(self) -> list[str]:
        """One round of every ticker, the alias followed, every waiting check made.

        Returns:
            What could not be done, a line each; empty where all went well.
        """
        failures = self.round(self.tickers)
        failures += self.sync()
        self.serve_checks()
        return failures

    def round(self, tickers: Sequence[str]) -> list[str]:
        """A round of each; one that fails costs only itself. The failures, a line each."""
        failures = []
        self.rounds.refresh(tickers)
        for ticker in tqdm(tickers, desc="watching", unit="ticker", disable=None):
            try:
                report = self.rounds.run(ticker)
            except Exception as error:  # one ticker's bad luck is not the others'
                log.exception("round_failed ticker=%s", ticker)
                failures.append(f"{ticker}: {type(error).__name__}: {error}")
                continue
            log.warning("round %s", report)
            failures += [f"{ticker}: {text}" for text in report.failures]
        return failures

    def sync(self) -> list[str]:
        """Follow the aliases; MLflow away, or a refused version, is a line and no more."""
        try:
            found = sync_all(self.tickers, self.settings)
        except TrackingUnavailable as error:
            log.warning("sync_failed reason=%s", error)
            return [f"sync: {error}"]
        for one in found:
            if isinstance(one, ForecastingError):
                log.warning("sync_refused reason=%s", one)
            elif one.deed != "kept":
                log.warning("synced %s", said(one))
        return [str(one) for one in found if isinstance(one, ForecastingError)]

    def serve_checks(self) -> None:
        """Make every drift check that was asked for."""
        try:
            while (outcome := self.rounds.serve_check()) is not None:
                log.warning("check_served %s", outcome)
        except LogUnavailable as error:
            log.warning("checks_not_served reason=%s", error)

    def purge(self) -> None:
        """Delete promises that are older than is kept."""
        try:
            self.rounds.requests.purge(self.settings.forecast_log_days)
        except LogUnavailable as error:
            log.warning("not_purged reason=%s", error)

    def schedule(self) -> BackgroundScheduler:
        """Everything the loop does, one deed at a time; not yet started."""
        scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
            timezone=UTC,
        )
        delay = timedelta(minutes=self.settings.watch_delay_minutes)
        for name, tickers in self.by_exchange().items():
            scheduler.add_job(
                self.round_or_retry,
                SessionClose(tickers[0], delay),
                args=[scheduler, tickers],
                id=f"rounds of {name}",
            )
        scheduler.add_job(self.sync, "interval", minutes=self.settings.watch_sync_minutes)
        scheduler.add_job(self.serve_checks, "interval", seconds=LOOK_SECONDS)
        scheduler.add_job(self.purge, "interval", days=1)
        return scheduler

    def by_exchange(self) -> dict[str, tuple[str, ...]]:
        """Tickers by the calendar they trade on."""
        calendars = {ticker: listing_of(ticker).calendar for ticker in self.tickers}
        return {
            name: tuple(ticker for ticker in self.tickers if calendars[ticker] == name)
            for name in dict.fromkeys(calendars.values())
        }

    def round_or_retry(self, scheduler: BackgroundScheduler, tickers: tuple[str, ...]) -> None:
        """A round; once more later for those with a failure, and so on until it goes."""
        failed = {line.partition(":")[0] for line in self.round(tickers)}
        if again := tuple(ticker for ticker in tickers if ticker in failed):
            scheduler.add_job(
                self.round_or_retry,
                "date",
                run_date=datetime.now(UTC) + timedelta(seconds=RETRY_SECONDS),
                args=[scheduler, again],
            )


@contextmanager
def alone(requests: ForecastLog, seconds: float, leave: threading.Event) -> Iterator[None]:
    """Hold the loop's lease while the body runs; wait for it first. Losing it sets `leave`.

    Raises:
        LeaseTaken: `leave` was set while waiting.
    """
    while True:
        try:
            lease = requests.lease(LEASE, worker_name(), seconds).__enter__()
            break
        except LeaseTaken as error:
            log.warning("waiting reason=%s", error)
            if leave.wait(min(5.0, seconds / 4)):
                raise

    def renew() -> bool:
        """False, and the loop told to leave, where another has taken over."""
        try:
            lease.renew()
        except LeaseLost as error:
            log.error("lease_lost reason=%s", error)
            leave.set()
        return not leave.is_set()

    try:
        with renewed(renew, seconds):
            yield
    finally:
        lease.__exit__()


def somebody_watches(requests: ForecastLog) -> bool:
    """Whether a loop holds its lease now."""
    return requests.is_held(LEASE)


def stay(watch: Watch, leave: threading.Event) -> list[str]:
    """Catch up, then do everything in its time until `leave` is set; what runs is finished."""
    scheduler = watch.schedule()
    scheduler.add_job(watch.round_or_retry, args=[scheduler, watch.tickers])
    scheduler.start()
    leave.wait()
    scheduler.shutdown(wait=True)
    return []


def main(argv: list[str] | None = None) -> int:
    """Watch tickers: after each session close refresh prices, settle what was promised, check for
    drift, ask for training. Exit 1 if something failed with --once, 2 on bad input."""
    parser = argparse.ArgumentParser(prog="watch.py", description=main.__doc__)
    parser.add_argument("tickers", nargs="*", help="symbols; default: STOCK_TICKERS")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="one round of each, then end")
    how.add_argument("--alive", action="store_true", help="exit 0 if a loop is at work, 1 if none")
    arguments = parser.parse_args(argv)
    leave = threading.Event()
    try:
        settings = get_settings()
        logging.basicConfig(level=settings.log_level, format="%(levelname)s %(name)s %(message)s")
        tickers = tuple(parse_ticker(name) for name in arguments.tickers) or settings.tickers
        requests = ForecastLog(settings.database_url)
        if arguments.alive:
            return 0 if somebody_watches(requests) else 1
        _until_told(leave.set)
        with alone(requests, settings.watch_lease_seconds, leave):
            watch = Watch(tickers, settings, Rounds(settings, requests))
            failures = watch.once() if arguments.once else stay(watch, leave)
        requests.close()
    except ForecastingError as error:
        print(f"watch.py: {error}", file=sys.stderr)
        return 2
    for line in failures:
        print(f"watch.py: {line}", file=sys.stderr)
    return 1 if failures else 0


def _until_told(stop: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())


if __name__ == "__main__":
    sys.exit(main())
