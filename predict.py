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
from bases import shipped_bases
from config import Settings, get_settings
from contracts import (
    BadBundle,
    Champion,
    DriftVerdict,
    Event,
    FloatArray,
    Forecast,
    ForecastingError,
    NoChampion,
    NoDriftCheck,
    NotEnoughHistory,
    Prices,
    Probability,
    SourceUnavailable,
    UnknownTicker,
    parse_ticker,
)
from data_pipeline import StockDataPipeline, refresher
from features import exponential_average, normalise, trailing_bounds
from forecast_log import ForecastLog
from inference import Network, TrainedModel
from model_store import NETWORK, ModelStore, Published, read_card
from recipes import find_recipe
from serving import Served, check_match, make_forecast, make_probability


class StockPredictor:
    """The network of one verified bundle."""

    def __init__(self, model_path: str | Path, ticker: str) -> None:
        self.path = Path(model_path)
        self.ticker = parse_ticker(ticker)
        self.card = read_card(self.path)
        if self.card.ticker != self.ticker:
            raise BadBundle(f"{self.path.name} is a model of {self.card.ticker}, not {self.ticker}")
        self.model = TrainedModel(Network(self.path / NETWORK), self.card.recipe)

    def served(self, version: str) -> Served:
        """The model as answers name it."""
        return Served.of_card(self.path, version, self.card, self.model)

    def predict_multi_step(self, initial_sequence: FloatArray, steps: int = 30) -> FloatArray:
        """The forecast on the scale of the input: shape (steps,).

        A network that is fed whole bars is told of a close, range, overnight move and volume
        that it has nothing to say about; `generate_predictions` gives it the bars.

        Args:
            initial_sequence: shape (sequence_length,), with or without further axes of size 1;
                normalised mids, oldest first.
            steps: sessions ahead, at least 1.
        """
        return self.model.continue_levels(np.asarray(initial_sequence, float).ravel(), steps)

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
        length, window = self.model.length, self.model.window_size
        if len(mids) < length:
            raise NotEnoughHistory(have=len(mids), need=length)
        bounds = trailing_bounds(mids[-window:], window, self.model.scaling)
        lo, hi = (float(side[-1]) for side in bounds)
        return normalise(mids[-length:], lo, hi), lo, hi

    def generate_predictions(self, steps: int = 30, apply_smoothing: bool = True) -> dict[str, Any]:
        """The fields of `/predict` for the cached prices and this bundle, champion or not."""
        settings = get_settings()
        champion = ModelStore(settings.models_dir).champion(self.ticker)
        served = champion if champion and champion.bundle == self.path.name else None
        version = served.version if served else "unpublished"
        prices = StockDataPipeline(self.ticker, settings).load()
        span = settings.ema_span if apply_smoothing else None
        return forecast_answer(make_forecast(self.served(version), prices, steps, span))


class ForecastDesk:
    """Answers what the API asks, from the model store, the price cache and the forecast log.

    A promoted bundle is picked up when its pointer file changes. Safe to share by threads.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._store = ModelStore(settings.models_dir)
        self._log = ForecastLog(settings.database_url)
        self._loaded: dict[str, tuple[object, Published, Served]] = {}
        self._bases: tuple[Served, ...] | None = None  # read when first needed, the newest last
        self._loading = threading.Lock()
        self._refresher = refresher(settings)

    def forecast(self, ticker: str, steps: int, smoothing: bool) -> Forecast:
        """The champion's forecast from the cached prices; newer ones are fetched beside it.

        A ticker with prices but no champion that fits them is answered by a base.

        Raises:
            UnknownTicker: neither champion nor prices, and not configured.
            NoChampion: no model, none that fits the prices there are, and no base either.
            SourceUnavailable: a model, but no prices it may run on.
            ForecastingError: as `make_forecast`, or a bundle that does not verify.
        """
        served, prices = self._asked(ticker)
        span = self.settings.ema_span if smoothing else None
        return make_forecast(served, prices, steps, span)

    def probability(self, ticker: str, steps: int, event: Event, level: float) -> Probability:
        """How likely the mid-price is above or below a level then, or touches it until then.

        Raises:
            ForecastingError: as `forecast`.
        """
        served, prices = self._asked(ticker)
        return make_probability(served, prices, steps, (event, level))

    def _asked(self, ticker: str) -> tuple[Served, Prices]:
        ticker = parse_ticker(ticker)
        try:
            return self._usable(ticker)
        finally:  # with or without an answer
            self._refresher.ask(ticker)

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
            served, _ = self._usable(ticker)
        except ForecastingError as error:
            return error
        return self._lacking(ticker) if served.identity.cold_start else None

    def _lacking(self, ticker: str) -> ForecastingError:
        """Why a base answers where a champion should."""
        loaded = self._champion(ticker)
        try:
            if loaded is not None:
                check_match(loaded[0], StockDataPipeline(ticker, self.settings).read())
        except ForecastingError as error:
            return error
        return NoChampion(ticker)

    def _usable(self, ticker: str) -> tuple[Served, Prices]:
        loaded = self._champion(ticker)
        try:
            prices = StockDataPipeline(ticker, self.settings).read()
        except UnknownTicker:
            if loaded is None:
                raise
            raise SourceUnavailable(
                f"{ticker} has a model but no prices; run: python train.py {ticker}"
            ) from None
        try:
            if loaded is None:
                raise NoChampion(ticker)
            check_match(loaded[0], prices)
        except NoChampion:
            if (base := self._cold_start(prices)) is None:
                raise
            return base, prices
        return loaded[1], prices

    def _cold_start(self, prices: Prices) -> Served | None:
        """The newest base that has seen nothing later; none for invented prices."""
        if prices.provenance.source == "synthetic":
            return None
        with self._loading:
            if self._bases is None:
                shipped = shipped_bases(self.settings, find_recipe("panel"))
                self._bases = tuple(Served.of_base(base) for base in shipped)
        as_of = prices.provenance.last_session
        usable = [b for b in self._bases if b.identity.trained_through <= as_of]
        return usable[-1] if usable else None

    def _champion(self, ticker: str) -> tuple[Published, Served] | None:
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
                served = StockPredictor(published.path, ticker).served(published.version)
                held = (mark, published, served)
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
