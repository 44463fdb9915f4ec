"""One bundle's network as the specification's class, and the forecast as a command. Knows no HTTP.

`python predict.py AAPL --steps 30` prints the forecast; `--json` prints what `/predict` answers.
`python predict.py --all --out forecasts.parquet` writes those of every ticker.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from answers import forecast_answer, forecast_table
from config import Settings, chosen_tickers, get_settings
from contracts import (
    BadBundle,
    FloatArray,
    ForecastingError,
    NotEnoughHistory,
    parse_ticker,
)
from data_pipeline import StockDataPipeline
from desk import ForecastDesk
from features import exponential_average, normalise, trailing_bounds
from forecast_all import AT_ONCE, forecast_all, written
from inference import Network, TrainedModel
from model_store import NETWORK, ModelStore, read_card
from served import Served
from serving import make_forecast


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


def main(argv: list[str] | None = None) -> int:
    """Print the champion's forecast of a ticker, or write those of all tickers into a file.

    With --all, exit 1 where a ticker could not be forecast; the others are in the file.
    """
    arguments = _parsed(argv)
    try:
        settings = get_settings().model_copy(update={"refresh": False})  # nobody would wait for it
        steps, smoothing = arguments.steps or settings.prediction_steps, not arguments.no_smoothing
        if arguments.all:
            failed, told = _write_all(arguments, settings, steps, smoothing)
            print(told)
            for ticker, error in failed.items():
                print(f"predict.py: {ticker}: {error}", file=sys.stderr)
            return int(bool(failed))
        desk = ForecastDesk(settings, promising=False)
        forecast = desk.forecast(arguments.ticker, steps, smoothing)
        desk.close()
    except ForecastingError as error:
        print(f"predict.py: {error}", file=sys.stderr)
        return 2
    answer = forecast_answer(forecast)
    print(json.dumps(answer, indent=2) if arguments.json else forecast_table(forecast))
    return 0


def _write_all(
    arguments: argparse.Namespace, settings: Settings, steps: int, smoothing: bool
) -> tuple[dict[str, ForecastingError], str]:
    """Every ticker's forecast into the file; why some could not be made, and what was done."""
    few = settings.model_copy(update={"cached_answers": AT_ONCE})  # none is asked for twice
    desk = ForecastDesk(few, promising=False)
    tickers = chosen_tickers([], arguments.tickers_file) or desk.tickers()
    failed: dict[str, ForecastingError] = {}
    shown = tqdm(total=len(tickers), desc="forecasting", unit="ticker", disable=None)
    with closing(desk), shown, written(arguments.out) as write:
        for some in forecast_all(desk, tickers, steps, smoothing):
            write(some)
            failed |= {name: said for name, said in some if isinstance(said, ForecastingError)}
            shown.update(len(some))
    made = len(tickers) - len(failed)
    told = f"{made} forecasts of {steps} sessions in {arguments.out}"
    return failed, f"{told}; {len(failed)} failed" if failed else told


def _parsed(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="predict.py", description=main.__doc__)
    parser.add_argument("ticker", nargs="?", help="symbol, such as AAPL")
    parser.add_argument("--all", action="store_true", help="every ticker there is, into a file")
    parser.add_argument("--tickers-file", type=Path, help="of --all: only these, one a line")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("forecasts.parquet"),
        help="of --all: .parquet or .csv, a row per session, or .json (default forecasts.parquet)",
    )
    parser.add_argument("--steps", type=_steps, help="sessions ahead, 1 to 90 (default 30)")
    parser.add_argument("--no-smoothing", action="store_true", help="leave the EMA line out")
    parser.add_argument("--json", action="store_true", help="print what /predict answers")
    arguments = parser.parse_args(argv)
    if (arguments.ticker is None) != arguments.all:
        parser.error("give a ticker, or --all")
    return arguments


def _steps(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 90:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of sessions from 1 to 90")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
