"""ARIMA(5,1,0) and the two naive forecasts. Knows nothing of the LSTM.

`python baseline_arima.py AAPL` prints the next sessions and how it did one step ahead.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from typing import Any

import numpy as np
from statsmodels.tools.sm_exceptions import ConvergenceWarning
from statsmodels.tsa.arima.model import ARIMA

from contracts import FloatArray, ForecastingError, NotEnoughHistory

ORDER = (5, 1, 0)
FIT_SESSIONS = 1160  # the judged form: fitted once on this many mids before the first origin


def last_value(last: FloatArray, steps: int) -> FloatArray:
    """The naive forecast: each origin's last known price at every step; shape (n, steps)."""
    return np.repeat(np.asarray(last, dtype=float)[:, None], steps, axis=1)


def fit(mids: FloatArray, order: tuple[int, int, int] = ORDER) -> Any:
    """Maximum-likelihood ARIMA on mid-price levels; the statsmodels result.

    Raises:
        NotEnoughHistory: fewer than 30 mids.
    """
    if len(mids) < 30:
        raise NotEnoughHistory(have=len(mids), need=30, what="mid-prices")
    with warnings.catch_warnings():
        # Start values are only a guess and a flat optimum is still a forecast.
        warnings.simplefilter("ignore", category=UserWarning)
        warnings.simplefilter("ignore", category=ConvergenceWarning)
        return ARIMA(np.asarray(mids, dtype=float), order=order).fit()


def fit_by(mids: FloatArray, origin: int) -> Any:
    """The judged form: fitted on the FIT_SESSIONS mids that end at position `origin`.

    Raises:
        NotEnoughHistory: fewer than 30 of them.
    """
    return fit(mids[max(0, origin + 1 - FIT_SESSIONS) : origin + 1])


def one_step(
    mids: FloatArray, first_origin: int, fitted: Any = None
) -> tuple[FloatArray, dict[str, float]]:
    """One-step forecasts at every origin from `first_origin` to the last but one.

    Fitted once by `first_origin`; from there the state is brought up to each origin without
    refitting, so the forecast of position t + 1 uses mids up to t only.

    Args:
        mids: shape (T,).
        first_origin: position of the first origin.
        fitted: what `fit_by` gave of the same two, if that has been asked before.

    Returns:
        Forecasts of positions first_origin + 1 .. T - 1, and `aic` and `bic` of the fit.
    """
    start = max(0, first_origin + 1 - FIT_SESSIONS)
    fitted = fitted or fit_by(mids, first_origin)
    later = fitted.append(mids[first_origin + 1 :], refit=False)
    forecasts = later.predict(start=first_origin + 1 - start, end=len(mids) - start - 1)
    return np.asarray(forecasts), {"aic": float(fitted.aic), "bic": float(fitted.bic)}


def paths(
    fitted: Any, mids: FloatArray, origins: np.ndarray, steps: int
) -> tuple[FloatArray, FloatArray]:
    """Forecasts from many origins with the parameters of one fit.

    An ARIMA(p,1,0) knows its state exactly after p + 1 mids: the forecast is the recursion of its
    coefficients on the last p differences, its variance the sum of squared psi weights (Box and
    Jenkins 1976); the same numbers as statsmodels' Kalman filter, for all origins at once.

    Args:
        fitted: a result of `fit` of order (p, 1, 0).
        mids: shape (T,).
        origins: shape (n,), positions, each at least p.
        steps: sessions ahead.

    Returns:
        Mean (n, steps) and standard deviation (steps,), in the unit of the mids.
    """
    weights = np.asarray(fitted.arparams)
    lags = len(weights)
    changes = np.diff(mids)
    # newest first: the change into the origin, the one before, ...
    recent = np.stack([changes[origins - 1 - lag] for lag in range(lags)], axis=1)
    psi, memory = np.empty(steps), np.zeros(lags)
    mean = np.empty((len(origins), steps))
    for step in range(steps):
        following = recent @ weights
        psi[step] = 1.0 if step == 0 else memory @ weights
        recent = np.column_stack([following, recent[:, :-1]])
        memory = np.concatenate([[psi[step]], memory[:-1]])
        mean[:, step] = following
    level = np.asarray(mids)[origins][:, None] + mean.cumsum(axis=1)
    sigma2 = float(fitted.params[-1])
    return level, np.sqrt(sigma2 * np.square(psi.cumsum()).cumsum())


class ARIMABaseline:
    """ARIMA behind the specification's calls."""

    def __init__(self, ticker: str) -> None:
        self.ticker = ticker
        self._fitted: Any = None

    def train(self, train_data: FloatArray, order: tuple[int, int, int] = ORDER) -> ARIMABaseline:
        """Fit on mid-prices, shape (T,), oldest first."""
        self._fitted = fit(np.asarray(train_data, dtype=float).ravel(), order)
        return self

    def predict(self, steps: int = 30) -> FloatArray:
        """Mid-prices of the next `steps` sessions, shape (steps,)."""
        return np.asarray(self._result().forecast(steps))

    def get_metrics(self) -> dict[str, float]:
        """Information criteria of the fit: `aic` and `bic`."""
        return {"aic": float(self._result().aic), "bic": float(self._result().bic)}

    def _result(self) -> Any:
        if self._fitted is None:
            raise ForecastingError(f"{self.ticker}: call train() with mid-prices first")
        return self._fitted


def main(argv: list[str] | None = None) -> int:
    """Print ARIMA's forecast of a ticker and its one-step error next to the last close's."""
    parser = argparse.ArgumentParser(prog="baseline_arima.py", description=main.__doc__)
    parser.add_argument("ticker", help="symbol, such as AAPL")
    parser.add_argument("--steps", type=int, default=30, help="sessions ahead (default 30)")
    arguments = parser.parse_args(argv)
    try:
        print(_report(arguments.ticker, arguments.steps))
    except ForecastingError as error:
        print(f"baseline_arima.py: {error}", file=sys.stderr)
        return 2
    return 0


def _report(ticker: str, steps: int) -> str:
    from calendars import sessions_after
    from config import get_settings
    from contracts import parse_ticker
    from data_pipeline import StockDataPipeline, training_bars
    from features import mid_price, split_rows
    from metrics import rmse

    ticker, settings = parse_ticker(ticker), get_settings()
    prices = StockDataPipeline(ticker, settings).load()
    bars = training_bars(prices, settings.start_date)
    mids = mid_price(bars["High"].to_numpy(), bars["Low"].to_numpy())
    # the origins train.py judges on: the targets of its test sequences
    count = len(mids) - settings.unrollings
    split = split_rows(count, settings.train_test_split, settings.validation_split)
    origin = split.test.start + settings.unrollings - 1
    forecasts, criteria = one_step(mids, origin)
    closes = bars["Close"].to_numpy(dtype=float)[origin:-1]
    baseline = ARIMABaseline(ticker).train(mids[-FIT_SESSIONS:])
    as_of = prices.provenance.last_session
    actual = mids[origin + 1 :]
    lines = [
        f"{ticker}: ARIMA{ORDER} on mid-prices through {as_of} ({prices.provenance.source})",
        f"one step ahead over the last {len(forecasts)} sessions: RMSE "
        f"{rmse(actual, forecasts):.4f}, last close {rmse(actual, closes):.4f}",
        f"AIC {criteria['aic']:.1f}  BIC {criteria['bic']:.1f}",
        "",
    ]
    dates = sessions_after(ticker, as_of, steps)
    lines += [
        f"{day}  {price:12.4f}" for day, price in zip(dates, baseline.predict(steps), strict=True)
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
