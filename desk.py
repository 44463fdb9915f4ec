"""The desk the API asks: forecasts, probabilities and what there is to say about models.

Knows where models, prices and the log are; no HTTP, no training.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import orjson

from alarms import Alarms
from answers import forecast_answer, forecast_answers
from champions import Champions
from config import Settings
from contracts import (
    Answer,
    Champion,
    DriftVerdict,
    Event,
    Forecast,
    ForecastingError,
    GaugeRow,
    NoChampion,
    NoDriftCheck,
    Probability,
    UnknownTicker,
    parse_ticker,
)
from data_pipeline import refresher, today
from forecast_cache import ForecastCache, SingleFlight
from forecast_log import ForecastLog
from model_store import ModelStore
from parallel import MOST, SharedThreads, processors
from readiness import Readiness
from realised import Realised, Rows
from serving import forecast_from, forecasts_from, probability_from
from standings import Standing, Standings

log = logging.getLogger(__name__)

MEGABYTE = 1 << 20


class ForecastDesk:
    """Answers what the API asks, from the model store, the price cache and the forecast log.

    A promoted bundle and new prices are picked up within a second. Safe to share by threads.

    Args:
        settings: where everything is.
        promising: whether forecasts are written into the log as served.
    """

    def __init__(self, settings: Settings, *, promising: bool = True) -> None:
        self.settings = settings
        self._store = ModelStore(settings.models_dir)
        self._log = ForecastLog(settings.database_url)
        self._promises = self._log.writer() if promising else None
        self._realised = Realised(self._log)
        self._champions = Champions(self._store, settings.loaded_models)
        self._standings = Standings(settings, self._champions)
        self._readiness = Readiness(settings, self._store, self._champions)
        self._cache = ForecastCache(settings.cached_answers, settings.cached_megabytes * MEGABYTE)
        self._flights: SingleFlight[Answer] = SingleFlight()
        self._threads = SharedThreads(settings.batch_threads or min(processors(), MOST))
        self._refresher = refresher(settings)
        self._alarms = Alarms(self._log)

    def at_hand(self, ticker: str, steps: int, smoothing: bool) -> Answer | None:
        """The answer if it is in memory and still holds; reads no file and waits for nobody.

        None too for a ticker that `answer` would have to look up first.
        """
        standing = self._standings.at_hand(ticker)
        if standing is None or (key := (standing.key, steps, smoothing)) not in self._cache:
            return None  # `answer` will count it as a miss
        return self._cache.get(key)

    def answer(self, ticker: str, steps: int, smoothing: bool, request_id: str = "") -> Answer:
        """The champion's forecast from the cached prices, as it is sent; computed at most once.

        Newer prices are fetched beside it. A ticker with prices but no champion that fits them is
        answered by a base.

        Args:
            ticker: symbol.
            steps: sessions ahead, 1 to 90.
            smoothing: with an exponential average beside the prices.
            request_id: whose question it was, for the log of forecasts.

        Raises:
            UnknownTicker: neither champion nor prices, and not configured.
            NoChampion: no model, none that fits the prices there are, and no base either.
            SourceUnavailable: a model, but no prices it may run on.
            ForecastingError: as `make_forecast`, or a bundle that does not verify.
        """
        standing = self._asked(ticker)
        key = (standing.key, steps, smoothing)
        if (answer := self._cache.get(key)) is not None:
            return answer
        return self._flights.do(key, lambda: self._made(standing, steps, smoothing, request_id))

    def forecast(self, ticker: str, steps: int, smoothing: bool) -> Forecast:
        """The forecast of `answer`.

        Raises:
            ForecastingError: as `answer`.
        """
        return self.answer(ticker, steps, smoothing).forecast

    def answers(
        self, tickers: Sequence[str], steps: int, smoothing: bool, request_id: str = ""
    ) -> dict[str, Answer | ForecastingError]:
        """`answer` for each ticker, or why there is none; networks that several share run once.

        Different networks run side by side, on as many processors as there are.
        """
        found: dict[str, Answer | ForecastingError] = {}
        lacking: dict[str, Standing] = {}
        for ticker in tickers:
            try:
                standing = self._asked(ticker)
            except ForecastingError as error:
                found[ticker] = error
                continue
            answer = self._cache.get((standing.key, steps, smoothing))
            if answer is None:
                lacking[ticker] = standing
            else:
                found[ticker] = answer
        span = self.settings.ema_span if smoothing else None
        asked = [(standing.served, standing.seen) for standing in lacking.values()]
        made = forecasts_from(asked, steps, span, self._threads.map)
        good = [forecast for forecast in made if isinstance(forecast, Forecast)]
        told = iter(forecast_answers(good))
        for (ticker, standing), forecast in zip(lacking.items(), made, strict=True):
            if isinstance(forecast, Forecast):
                answer = Answer.of(forecast, orjson.dumps(next(told)))
                found[ticker] = self._kept((standing.key, steps, smoothing), answer, request_id)
            else:
                found[ticker] = forecast
        return found

    def probability(self, ticker: str, steps: int, event: Event, level: float) -> Probability:
        """How likely the mid-price is above or below a level then, or touches it until then.

        Raises:
            ForecastingError: as `answer`.
        """
        standing = self._asked(ticker)
        return probability_from(standing.served, standing.seen, steps, (event, level))

    def champion(self, ticker: str) -> Champion:
        """The published model of a ticker.

        Raises:
            UnknownTicker: no model and not configured.
            NoChampion: configured, but no model yet.
            BadBundle: it does not verify.
        """
        ticker = parse_ticker(ticker)
        if (loaded := self._champions.get(ticker)) is None:
            if ticker not in self.settings.tickers:
                raise UnknownTicker(ticker)
            raise NoChampion(ticker)
        return loaded.published.champion()

    def tickers(self) -> tuple[str, ...]:
        """Configured tickers in their order, then any other that has a champion."""
        return tuple(dict.fromkeys((*self.settings.tickers, *self._store.tickers())))

    def readiness(self) -> Mapping[str, ForecastingError | None]:
        """Each configured ticker: None when it can answer, else why not."""
        return {ticker: self._readiness.problem(ticker) for ticker in self.settings.tickers}

    def refused(self) -> Mapping[str, ForecastingError]:
        """Tickers that go on with an older version, and why the newest one was refused."""
        found = {ticker: self._readiness.refused(ticker) for ticker in self.settings.tickers}
        return {ticker: error for ticker, error in found.items() if error}

    def drift(self, ticker: str) -> DriftVerdict:
        """The newest verdict of the monitor.

        Raises:
            UnknownTicker: a ticker that is neither configured nor served.
            NoDriftCheck: no check has been made yet.
        """
        ticker = parse_ticker(ticker)
        if verdict := self._log.latest_verdict(ticker):
            return verdict
        raise (NoDriftCheck if ticker in self.tickers() else UnknownTicker)(ticker)

    def gauges(self) -> Mapping[str, GaugeRow]:
        """Ages and alarms of every ticker that has been asked for; reads no model and no price."""
        return {t: self._gauge(t, standing) for t, standing in self._standings.known().items()}

    def realised(self) -> Mapping[str, Rows]:
        """How forecasts of the models that answer turned out, as it was known a minute ago."""
        standings = self._standings.known()
        return self._realised.at_hand({t: s.served.identity.version for t, s in standings.items()})

    def cache_counts(self) -> tuple[int, int]:
        """(hits, misses) of the answers kept."""
        return self._cache.counts()

    def written(self) -> tuple[int, int, int]:
        """Served forecasts (written, waiting to be, lost) since the start."""
        promises = self._promises
        return (promises.written, promises.pending, promises.lost) if promises else (0, 0, 0)

    def close(self) -> None:
        """Give the database connections back; a download that hangs is not waited for."""
        self._refresher.close()
        self._threads.close()
        self._standings.close()
        self._alarms.close()
        self._realised.close()
        if self._promises is not None:
            self._promises.close()
        self._log.close()

    def _asked(self, ticker: str) -> Standing:
        ticker = parse_ticker(ticker)
        try:
            return self._standings.of(ticker)
        finally:  # with or without an answer
            self._refresher.ask(ticker)

    def _made(self, standing: Standing, steps: int, smoothing: bool, request_id: str) -> Answer:
        span = self.settings.ema_span if smoothing else None
        forecast = forecast_from(standing.served, standing.seen, steps, span)
        answer = Answer.of(forecast, orjson.dumps(forecast_answer(forecast)))
        return self._kept((standing.key, steps, smoothing), answer, request_id)

    def _kept(self, key: tuple[object, ...], answer: Answer, request_id: str) -> Answer:
        self._cache.put(key, answer)
        if self._promises is not None:
            self._promises.put(answer.forecast, request_id)
        return answer

    def _gauge(self, ticker: str, standing: Standing) -> GaugeRow:
        ended = today(ticker, self.settings)
        return GaugeRow(
            model_age_days=(ended - standing.served.identity.trained_through).days,
            data_age_sessions=standing.seen.provenance.sessions_behind,
            drift_alarm=self._alarms.of(ticker),
        )
