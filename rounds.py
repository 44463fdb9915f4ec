"""What is done for one ticker after a session: refresh, promise, settle, track, check, ask.

Every step may be done again without harm, so a round that was killed is simply run again. A step
that fails is told and the next ones go on. Knows neither the clock's schedule nor who trains.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import TypeVar

from calendars import sessions_between
from config import Settings
from contest import usable_champion
from contracts import DriftVerdict, ForecastingError, Prices
from data_pipeline import StockDataPipeline, refresh_many
from drift_monitor import DriftMonitor
from forecast_log import ForecastLog
from inference import Network, TrainedModel
from leasing import worker_name
from model_store import NETWORK, ModelStore, Published
from registry import Registry
from retraining import Policy, Standing, reason_to_train
from served import Served
from serving import make_forecast

log = logging.getLogger(__name__)

STEPS = 30  # sessions ahead that a round promises
PATIENCE_EACH = 1.0  # seconds per ticker to wait for sources that want to be left alone
CAUGHT_UP = 10  # missed sessions that are checked one by one; a check replays earlier ones itself
ASKED_BEFORE = 50  # finished requests whose reasons are remembered

REQUEST = "watch"  # who asked for the loop's own forecasts
CHECK_SECONDS = 300.0  # a check that was taken and not finished is another's after so long

Result = TypeVar("Result")
Watcher = Callable[[str, Settings, ForecastLog], DriftVerdict]  # checks, tells and records


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundReport:
    """What one round of one ticker did."""

    ticker: str
    through: date | None  # last session with prices; None where there are none
    settled: int = 0
    verdicts: tuple[DriftVerdict, ...] = ()
    asked: str | None = None  # why a training was asked for
    failures: tuple[str, ...]  # what did not go, by step

    def __str__(self) -> str:
        said = [f"prices through {self.through}", f"{self.settled} outcomes settled"]
        said += [f"{v.as_of} drift {v.severity}" for v in self.verdicts]
        said += [f"training asked for: {self.asked}"] if self.asked else []
        return f"{self.ticker}: " + "; ".join([*said, *self.failures])


def watched(ticker: str, settings: Settings, requests: ForecastLog) -> DriftVerdict:
    """One drift check, recorded; an alarm is in the log and, where there is one, at the webhook."""
    return DriftMonitor(ticker, settings).watch(requests)


class Rounds:
    """Rounds of any ticker with one database."""

    def __init__(
        self, settings: Settings, requests: ForecastLog, watcher: Watcher = watched
    ) -> None:
        self.settings = settings
        self.requests = requests
        self._watcher = watcher

    def refresh(self, tickers: Sequence[str]) -> None:
        """Fetch what their price caches lack, in turn; who met a failure keeps what it has."""
        for one in refresh_many(tickers, self.settings, PATIENCE_EACH * len(tickers)):
            if one.reason is not None:
                log.warning("not_fresh ticker=%s reason=%r", one.ticker, one.reason)

    def run(self, ticker: str) -> RoundReport:
        """One round of the prices at hand, as of now or of STOCK_AS_OF; missed sessions are
        checked in their order."""
        failures: list[str] = []
        prices = self._try(failures, "prices", StockDataPipeline(ticker, self.settings).read)
        if prices is None:
            return RoundReport(ticker=ticker, through=None, failures=tuple(failures))
        if prices.provenance.stale:
            behind = prices.provenance.sessions_behind
            failures.append(f"prices are {behind} sessions behind and no newer ones were to be had")
        champion = usable_champion(ModelStore(self.settings.models_dir), prices)
        self._try(failures, "promise", lambda: self._promise(champion, prices))
        settled = self._try(failures, "settling", lambda: self._settle(prices))
        self._try(failures, "tracking", lambda: self._track(ticker))
        verdicts = self._verdicts(failures, prices, champion)
        asked = self._try(failures, "asking", lambda: self._ask(prices, champion))
        return RoundReport(
            ticker=ticker,
            through=prices.provenance.last_session,
            settled=settled or 0,
            verdicts=verdicts,
            asked=asked,
            failures=tuple(failures),
        )

    def serve_check(self) -> str | None:
        """Make one drift check that was asked for; what came of it, or None if none is waiting."""
        request = self.requests.take_check(worker_name(), CHECK_SECONDS)
        if request is None:
            return None
        failures: list[str] = []
        verdict = self._try(failures, "check", lambda: self._checked(request.ticker, self.settings))
        outcome = verdict.summary if verdict else failures[0]
        self.requests.finish_check(request.id, outcome, request.worker)
        return f"{request.ticker}: {outcome}"

    def _try(
        self, failures: list[str], step: str, work: Callable[[], Result | None]
    ) -> Result | None:
        try:
            return work()
        except ForecastingError as error:
            log.warning("step_failed step=%s code=%s reason=%s", step, error.code, error)
            failures.append(f"{step} failed: {error}")
            return None

    def _promise(self, champion: Published | None, prices: Prices) -> None:
        """One forecast from every session, so that the live record has no gaps."""
        if champion is None:
            return
        model = TrainedModel(Network(champion.path / NETWORK), champion.card.recipe)
        served = Served.of_card(champion.path, champion.version, champion.card, model)
        forecast = make_forecast(served, prices, STEPS, None)
        writer = self.requests.writer()
        writer.put(forecast, REQUEST)
        writer.close()

    def _settle(self, prices: Prices) -> int:
        return self.requests.settle(prices, prices.provenance.last_session).settled

    def _track(self, ticker: str) -> None:
        performance = self.requests.performance(ticker)
        if performance.settled:
            Registry(self.settings.mlflow_tracking_uri).record_settlement(performance)

    def _verdicts(
        self, failures: list[str], prices: Prices, champion: Published | None
    ) -> tuple[DriftVerdict, ...]:
        """A check as of every session since the last one, the earliest first."""
        found = []
        newest = prices.provenance.last_session
        for session in self._unchecked(prices, champion):
            then = self.settings.model_copy(update={"as_of": session})
            settings = self.settings if session == newest else then
            check = partial(self._checked, prices.ticker, settings)
            verdict = self._try(failures, "check", check)
            found += [verdict] if verdict else []
        return tuple(found)

    def _checked(self, ticker: str, settings: Settings) -> DriftVerdict:
        return self._watcher(ticker, settings, self.requests)

    def _unchecked(self, prices: Prices, champion: Published | None) -> tuple[date, ...]:
        """Sessions that lack a check by this champion; the newest again while bars are refused."""
        if champion is None:
            return ()
        newest = prices.provenance.last_session
        before = self._newest_verdict(prices.ticker)
        if before is None or before.model_version != champion.version:
            return (newest,)
        missed = sessions_between(prices.ticker, before.as_of + timedelta(days=1), newest)
        seen = tuple(day for day in missed if day >= champion.card.trained_through)[-CAUGHT_UP:]
        return seen or ((newest,) if prices.provenance.quarantined else ())

    def _newest_verdict(self, ticker: str) -> DriftVerdict | None:
        """None also for one that another version of this software wrote."""
        newest = self.requests.verdicts(ticker, 1)
        return newest[0] if newest else None

    def _ask(self, prices: Prices, champion: Published | None) -> str | None:
        past = self.requests.trainings(prices.ticker, ASKED_BEFORE)
        standing = Standing(
            as_of=prices.provenance.last_session,
            version=champion.version if champion else None,
            card=champion.card if champion else None,
            verdict=self._newest_verdict(prices.ticker),
            performance=self.requests.performance(prices.ticker),
            answered=tuple(one.reason for one in past),
        )
        after, least = self.settings.retrain_after_days, self.settings.retrain_least_settled
        policy = Policy(after_days=after, least_settled=least)
        if (reason := reason_to_train(standing, policy)) is not None:
            self.requests.ask_training(prices.ticker, reason)
        return reason
