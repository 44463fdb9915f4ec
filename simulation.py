"""Walks session by session through past prices, as the services would have: round, then training.

Nothing is pretended: the same rounds, queue, trainer and gate as in the services, each with
STOCK_AS_OF set to the session it stands on. Knows no live prices and computes no score.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial

from calendars import sessions_between
from config import Settings
from contracts import BadSettings, DriftVerdict, TrainingRequest
from data_pipeline import StockDataPipeline
from drift_monitor import DriftMonitor
from forecast_log import ForecastLog
from recording import Outcome
from rounds import RoundReport, Rounds, Watcher
from train import MLflowTrainer, recipe_of
from training_queue import TrainingQueue

log = logging.getLogger(__name__)

LONGEST_BREAK = timedelta(days=40)  # no exchange stays shut for longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is walked."""

    tickers: tuple[str, ...]
    first: date
    last: date
    retrain_every: int = 0  # sessions; 0 leaves it to the loop's own reasons

    def sessions(self) -> tuple[date, ...]:
        """Every session of any of the tickers, the earliest first."""
        each = (sessions_between(ticker, self.first, self.last) for ticker in self.tickers)
        return tuple(sorted({day for days in each for day in days}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something the loop did or found."""

    day: date
    ticker: str
    kind: str  # `promoted`, `refused`, `alarm`, `asked` or `failed`
    text: str

    def __str__(self) -> str:
        return f"{self.day}  {self.ticker:6} {self.kind:9} {self.text}"


class QuietMonitor(DriftMonitor):
    """The same check without its pages, which take longer than all the rest of a session."""

    draws = False


def watched_quietly(ticker: str, settings: Settings, requests: ForecastLog) -> DriftVerdict:
    """One drift check, recorded; nobody is told."""
    verdict = QuietMonitor(ticker, settings).check()
    requests.record_verdict(verdict)
    return verdict


class Simulation:
    """One walk in a project folder of its own, which `settings` name."""

    def __init__(self, settings: Settings, plan: Plan, watcher: Watcher = watched_quietly) -> None:
        self.settings = settings
        self.plan = plan
        self.requests = ForecastLog(settings.database_url)
        self.events: list[Event] = []
        self._watcher = watcher
        self._seen: dict[str, date] = {}  # the episode that was told last

    def close(self) -> None:
        """Give the database connections back."""
        self.requests.close()

    def begin(self) -> None:
        """A champion for each ticker, as of the evening before the walk.

        Raises:
            BadSettings: prices do not cover the walk.
            ForecastingError: no champion can be made.
        """
        for ticker in self.plan.tickers:
            eve = sessions_between(
                ticker, self.plan.first - LONGEST_BREAK, self.plan.first - timedelta(days=1)
            )[-1]
            self._covered(ticker)
            self._note(eve, self._trained(ticker, self._as_of(eve)))

    def walk(self, sessions: Iterable[date]) -> None:
        """Live through sessions, the earliest first."""
        for number, day in enumerate(sessions, start=1):
            settings = self._as_of(day)
            rounds = Rounds(settings, self.requests, self._watcher)
            for ticker in self.plan.tickers:
                if sessions_between(ticker, day, day):
                    self._told(day, rounds.run(ticker))
                    if self.plan.retrain_every and number % self.plan.retrain_every == 0:
                        self.requests.ask_training(ticker, f"the plan's, on {day}")
            TrainingQueue(self.requests, partial(self._answered, settings)).serve_all()

    def _answered(self, settings: Settings, asked: TrainingRequest) -> str:
        outcome = self._trained(asked.ticker, settings)
        assert settings.as_of is not None
        self._note(settings.as_of, outcome, f" (asked for: {asked.reason})")
        return outcome.ruling.reason

    def _trained(self, ticker: str, settings: Settings) -> Outcome:
        prices = StockDataPipeline(ticker, settings).read()
        return MLflowTrainer(ticker, settings).run(prices, recipe_of(settings))

    def _note(self, day: date, outcome: Outcome, why: str = "") -> None:
        kind = "promoted" if outcome.ruling.promoted else "refused"
        text = f"version {outcome.version}: {outcome.ruling.reason}{why}"
        self.events.append(Event(day=day, ticker=outcome.ticker, kind=kind, text=text))

    def _told(self, day: date, report: RoundReport) -> None:
        """Alarms by their episode, not by the sessions they last."""
        found = [("asked", report.asked)] if report.asked else []
        found += [("failed", text) for text in report.failures]
        for verdict in report.verdicts:
            since = verdict.episode or verdict.as_of
            if verdict.alarm and self._seen.get(report.ticker) != since:
                self._seen[report.ticker] = since
                found.insert(0, ("alarm", verdict.summary))
        self.events += [
            Event(day=day, ticker=report.ticker, kind=kind, text=text) for kind, text in found
        ]

    def _as_of(self, day: date) -> Settings:
        return self.settings.model_copy(update={"as_of": day})

    def _covered(self, ticker: str) -> None:
        """Refuse to walk beyond the prices there are."""
        last = StockDataPipeline(ticker, self.settings).read().provenance
        sessions = sessions_between(ticker, self.plan.first, self.plan.last)
        if last.source == "synthetic" or not sessions or last.last_session < sessions[-1]:
            raise BadSettings(
                f"{ticker}: no real prices through {self.plan.last}, they end on "
                f"{last.last_session}; run: python data_pipeline.py import {ticker} FILE.csv"
            )
