"""Champion bundle and fresh prices in, `Forecast` out, by ONNX Runtime. Knows no HTTP, no training.

`python predict.py AAPL --steps 30` prints the forecast; `--json` prints what `/predict` answers.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from answers import forecast_answer, forecast_table
from calendars import listing_of, sessions_after
from config import Settings, get_settings
from contracts import (
    BadBundle,
    Band,
    Champion,
    DriftVerdict,
    FloatArray,
    Forecast,
    ForecastingError,
    ModelCard,
    ModelFromTheFuture,
    ModelIdentity,
    NoChampion,
    NoDriftCheck,
    NotEnoughHistory,
    Prices,
    SourceUnavailable,
    UnknownTicker,
    parse_ticker,
)
from data_pipeline import StockDataPipeline, refresher, training_bars
from features import denormalise, exponential_average, mid_price, normalise, trailing_extremes
from forecast_log import ForecastLog
from inference import Network
from model_store import NETWORK, ModelStore, Published, read_card


class StockPredictor:
    """The network of one verified bundle."""

    def __init__(self, model_path: str | Path, ticker: str) -> None:
        self.path = Path(model_path)
        self.ticker = parse_ticker(ticker)
        self.card = read_card(self.path)
        if self.card.ticker != self.ticker:
            raise BadBundle(f"{self.path.name} is a model of {self.card.ticker}, not {self.ticker}")
        self.network = Network(self.path / NETWORK)

    def predict_multi_step(self, initial_sequence: FloatArray, steps: int = 30) -> FloatArray:
        """Recursive forecast on the scale of the input: shape (steps,).

        Args:
            initial_sequence: shape (sequence_length,), with or without further axes of size 1;
                normalised mids, oldest first.
            steps: sessions ahead, at least 1.
        """
        start = np.asarray(initial_sequence, dtype=float).reshape(1, -1, 1)
        return np.asarray(self.network.recurse(start, steps)[0])

    def apply_ema_smoothing(self, predictions: FloatArray, span: int = 10) -> FloatArray:
        """Exponential average, alpha = 2 / (span + 1), started at the first value; same shape."""
        return exponential_average(predictions, span)

    def predict_and_smooth(
        self, prices: FloatArray, steps: int = 30, apply_smoothing: bool = True
    ) -> tuple[FloatArray, FloatArray | None]:
        """(raw, smoothed) on the trailing MinMax scale that ends with the last of `prices`.

        Args:
            prices: mid-prices, oldest first, as many as there are.
            steps: sessions ahead.
            apply_smoothing: False gives None for `smoothed`.

        Raises:
            NotEnoughHistory: fewer mids than the network sees.
        """
        sequence, _, _ = self.scaled_input(np.asarray(prices, dtype=float))
        raw = self.predict_multi_step(sequence, steps)
        return raw, self.apply_ema_smoothing(raw) if apply_smoothing else None

    def scaled_input(self, mids: FloatArray) -> tuple[FloatArray, float, float]:
        """The newest sequence, and the (lo, hi) it and its forecast are scaled by."""
        length, window = int(self.card.recipe["unrollings"]), int(self.card.recipe["window_size"])
        if len(mids) < length:
            raise NotEnoughHistory(have=len(mids), need=length)
        lo, hi = (float(side[-1]) for side in trailing_extremes(mids[-window:], window))
        return normalise(mids[-length:], lo, hi), lo, hi

    def generate_predictions(self, steps: int = 30, apply_smoothing: bool = True) -> dict[str, Any]:
        """The fields of `/predict` for the cached prices and this bundle, champion or not."""
        settings = get_settings()
        champion = ModelStore(settings.models_dir).champion(self.ticker)
        served = champion if champion and champion.bundle == self.path.name else None
        version = served.version if served else "unpublished"
        prices = StockDataPipeline(self.ticker, settings).load()
        span = settings.ema_span if apply_smoothing else None
        return forecast_answer(make_forecast(self, version, prices, steps, span))


def make_forecast(
    predictor: StockPredictor, version: str, prices: Prices, steps: int, ema_span: int | None
) -> Forecast:
    """The recursive forecast of one bundle from the last of `prices`, with bands and dates.

    Args:
        predictor: the network and its card.
        version: what the registry calls it.
        prices: bars of the same ticker; those before the card's start date take no part.
        steps: sessions ahead, 1 to 90.
        ema_span: span of the smoothed line; None for no smoothing.

    Raises:
        ModelFromTheFuture: the model has seen sessions later than the last of `prices`.
        NotEnoughHistory: fewer bars than the network sees.
        BadBundle: the network answers a price that is not positive.
    """
    card, as_of = predictor.card, prices.provenance.last_session
    if card.trained_through > as_of:
        raise ModelFromTheFuture(prices.ticker, card.trained_through, as_of)
    bars = training_bars(prices, card.start_date)
    mids = mid_price(bars["High"].to_numpy(), bars["Low"].to_numpy())
    sequence, lo, hi = predictor.scaled_input(mids)
    raw = predictor.predict_multi_step(sequence, steps)
    path = denormalise(raw, lo, hi)
    if not (np.isfinite(path) & (path > 0)).all():
        raise BadBundle(f"{predictor.path.name}: it forecasts a price that is not positive")
    smoothed = None if ema_span is None else predictor.apply_ema_smoothing(raw, ema_span)
    return Forecast(
        ticker=prices.ticker,
        currency=listing_of(prices.ticker).currency,
        as_of=as_of,
        dates=sessions_after(prices.ticker, as_of, steps),
        normalised=_floats(raw),
        prices=_floats(path),
        smoothed_normalised=None if smoothed is None else _floats(smoothed),
        smoothed_prices=None if smoothed is None else _floats(denormalise(smoothed, lo, hi)),
        bands=_bands(card, path),
        last_normalised=float(sequence[-1]),
        last_mid=float(mids[-1]),
        last_close=float(bars["Close"].iloc[-1]),
        provenance=prices.provenance,
        model=identify(predictor.path.name, version, card),
        skill=card.skill,
    )


def identify(bundle: str, version: str, card: ModelCard) -> ModelIdentity:
    """The few facts about a model that every answer carries."""
    return ModelIdentity(
        version=version,
        bundle=bundle,
        recipe=str(card.recipe["name"]),
        trained_at=card.trained_at,
        trained_through=card.trained_through,
    )


def _floats(values: FloatArray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _bands(card: ModelCard, path: FloatArray) -> dict[str, Band]:
    """Every level whose width is known at each step of the path."""
    bands = {}
    for level, widths in card.calibration.widths.items():
        known = widths[: len(path)]
        if len(known) == len(path) and all(width is not None for width in known):
            factor = np.exp(np.asarray(known, dtype=float))
            bands[level] = Band(lower=_floats(path / factor), upper=_floats(path * factor))
    return bands


def check_match(champion: Published, prices: Prices) -> None:
    """Refuse to run a model on prices of another kind than it was trained on.

    Raises:
        NoChampion: it knows only synthetic prices and real ones exist, or prices that are
            adjusted differently; training replaces it.
        SourceUnavailable: it knows real prices and there are only synthetic ones.
        ModelFromTheFuture: it has seen sessions later than the last of `prices`.
    """
    taught, given = champion.card.data, prices.provenance
    if taught.source == "synthetic" and given.source != "synthetic":
        raise NoChampion(prices.ticker, "has only a model of synthetic prices")
    if given.source == "synthetic" and taught.source != "synthetic":
        raise SourceUnavailable(
            f"{prices.ticker} has a model of real prices but no real prices now; bring a file: "
            f"python data_pipeline.py import {prices.ticker} FILE.csv"
        )
    if taught.adjustment != given.adjustment:
        raise NoChampion(
            prices.ticker,
            f"has a model of {taught.adjustment}-adjusted prices, these are {given.adjustment}",
        )
    if champion.card.trained_through > given.last_session:
        raise ModelFromTheFuture(prices.ticker, champion.card.trained_through, given.last_session)


class ForecastDesk:
    """Answers what the API asks, from the model store, the price cache and the forecast log.

    A promoted bundle is picked up when its pointer file changes. Safe to share by threads.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._store = ModelStore(settings.models_dir)
        self._log = ForecastLog(settings.database_url)
        self._loaded: dict[str, tuple[object, Published, StockPredictor]] = {}
        self._loading = threading.Lock()
        self._refresher = refresher(settings)

    def forecast(self, ticker: str, steps: int, smoothing: bool) -> Forecast:
        """The champion's forecast from the cached prices; newer ones are fetched beside it.

        Raises:
            UnknownTicker: neither champion nor prices, and not configured.
            NoChampion: no model, or none that fits the prices there are.
            SourceUnavailable: a model, but no prices it may run on.
            ForecastingError: as `make_forecast`, or a bundle that does not verify.
        """
        ticker = parse_ticker(ticker)
        try:
            published, predictor, prices = self._usable(ticker)
        finally:  # with or without an answer
            self._refresher.ask(ticker)
        span = self.settings.ema_span if smoothing else None
        return make_forecast(predictor, published.version, prices, steps, span)

    def champion(self, ticker: str) -> Champion:
        """The published model of a ticker.

        Raises:
            UnknownTicker: no model and not configured.
            NoChampion: configured, but no model yet.
        """
        ticker = parse_ticker(ticker)
        if (loaded := self._champion(ticker)) is None:
            if ticker not in self.settings.tickers:
                raise UnknownTicker(ticker)
            raise NoChampion(ticker)
        return loaded[0].champion()

    def tickers(self) -> tuple[str, ...]:
        """Configured tickers in their order, then any other that has a champion."""
        return tuple(dict.fromkeys((*self.settings.tickers, *self._store.tickers())))

    def readiness(self) -> Mapping[str, ForecastingError | None]:
        """Each configured ticker: None when it can answer, else why not."""
        return {ticker: self._problem(ticker) for ticker in self.settings.tickers}

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

    def close(self) -> None:
        """Give the database connections back; a download that hangs is not waited for."""
        self._refresher.close()
        self._log.close()

    def _problem(self, ticker: str) -> ForecastingError | None:
        try:
            self._usable(ticker)
        except ForecastingError as error:
            return error
        return None

    def _usable(self, ticker: str) -> tuple[Published, StockPredictor, Prices]:
        loaded = self._champion(ticker)
        try:
            prices = StockDataPipeline(ticker, self.settings).read()
        except UnknownTicker:
            if loaded is None:
                raise
            raise SourceUnavailable(
                f"{ticker} has a model but no prices; run: python train.py {ticker}"
            ) from None
        if loaded is None:
            raise NoChampion(ticker)
        check_match(loaded[0], prices)
        return *loaded, prices

    def _champion(self, ticker: str) -> tuple[Published, StockPredictor] | None:
        try:
            facts = self._store.pointer_path(ticker).stat()
        except FileNotFoundError:
            return None
        mark = (facts.st_mtime_ns, facts.st_ino)
        with self._loading:
            held = self._loaded.get(ticker)
            if held is None or held[0] != mark:
                published = self._store.champion(ticker)
                if published is None:
                    return None
                held = (mark, published, StockPredictor(published.path, ticker))
                self._loaded[ticker] = held
        return held[1], held[2]


def main(argv: list[str] | None = None) -> int:
    """Print the champion's forecast of a ticker."""
    parser = argparse.ArgumentParser(prog="predict.py", description=main.__doc__)
    parser.add_argument("ticker", help="symbol, such as AAPL")
    parser.add_argument("--steps", type=_steps, help="sessions ahead, 1 to 90 (default 30)")
    parser.add_argument("--no-smoothing", action="store_true", help="leave the EMA line out")
    parser.add_argument("--json", action="store_true", help="print what /predict answers")
    arguments = parser.parse_args(argv)
    try:
        settings = get_settings().model_copy(update={"refresh": False})  # nobody would wait for it
        desk = ForecastDesk(settings)
        steps = arguments.steps or settings.prediction_steps
        forecast = desk.forecast(arguments.ticker, steps, not arguments.no_smoothing)
        desk.close()
    except ForecastingError as error:
        print(f"predict.py: {error}", file=sys.stderr)
        return 2
    answer = forecast_answer(forecast)
    print(json.dumps(answer, indent=2) if arguments.json else forecast_table(forecast))
    return 0


def _steps(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 90:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of sessions from 1 to 90")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
