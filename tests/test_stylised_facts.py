"""Invented bars beside real ones: the facts every daily stock series shares (Cont 2001)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from generate_synthetic_data import generate_synthetic_stock_data

REAL = ("AAPL", "MSFT", "GOOGL", "IBM")
SEEDS = tuple(f"DEMO{number}" for number in range(12))
# How far beyond the range of the four real stocks one invented stock may lie (a factor), and
# the median of all: single walks of 16 years differ widely, most of all in their fat tails.
BANDS = {
    "excess kurtosis of returns": (4.0, 1.0),
    "|return| autocorrelation, lag 1": (2.0, 1.0),
    "|return| autocorrelation, lag 5": (2.0, 1.15),
    "|return| autocorrelation, lag 20": (3.0, 1.15),
    "Parkinson / close-to-close volatility": (1.1, 1.02),
    "volume with |return|": (1.2, 1.0),
    "share of overnight variance": (1.25, 1.05),
}


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def facts(bars: pd.DataFrame) -> dict[str, float]:
    """The facts of BANDS, in its order, of bars with Open to Close and Volume."""
    opening, high, low, close = (
        np.log(bars[name].to_numpy(dtype=float)) for name in ("Open", "High", "Low", "Close")
    )
    returns, night = np.diff(close), opening[1:] - close[:-1]
    day, size = close[1:] - opening[1:], np.abs(returns)
    standard = (returns - returns.mean()) / returns.std()
    parkinson = np.sqrt(np.mean((high - low)[1:] ** 2) / (4 * np.log(2)))
    values = (
        np.mean(standard**4) - 3,
        *(correlation(size[lag:], size[:-lag]) for lag in (1, 5, 20)),
        parkinson / returns.std(),
        correlation(bars["Volume"].to_numpy(dtype=float)[1:], size),
        night.var() / (night.var() + day.var()),
    )
    return dict(zip(BANDS, values, strict=True))


@pytest.fixture(scope="module")
def invented() -> pd.DataFrame:
    """One row per seed."""
    walks = (
        generate_synthetic_stock_data(name, "2010-01-01", "2025-12-31", None) for name in SEEDS
    )
    return pd.DataFrame([facts(bars) for bars in walks], index=SEEDS)


@pytest.fixture(scope="module")
def real(real_data) -> pd.DataFrame:
    """One row per real stock, 2010 to 2025."""
    rows = []
    for ticker in REAL:
        bars = pd.read_csv(real_data / "yahoo" / f"{ticker}.csv", parse_dates=["Date"])
        rows.append(facts(bars[bars["Date"].dt.year.between(2010, 2025)]))
    return pd.DataFrame(rows, index=REAL)


@pytest.mark.real_data
@pytest.mark.parametrize("fact", BANDS)
def test_an_invented_stock_shows_what_real_ones_show(fact, real, invented):
    single, _ = BANDS[fact]
    lowest, highest = real[fact].min() / single, real[fact].max() * single
    strays = invented[fact][~invented[fact].between(lowest, highest)]
    assert strays.empty, f"{fact}: {strays.to_dict()} outside {lowest:.3f} to {highest:.3f}"


@pytest.mark.real_data
@pytest.mark.parametrize("fact", BANDS)
def test_the_typical_invented_stock_lies_among_the_real_ones(fact, real, invented):
    _, typical = BANDS[fact]
    lowest, highest = real[fact].min() / typical, real[fact].max() * typical
    assert lowest <= invented[fact].median() <= highest


@pytest.mark.real_data
def test_independent_normal_steps_would_not_pass(real):
    rng = np.random.default_rng(0)
    steps = rng.normal(0, 0.016, (4000, 2))
    close = 100 * np.exp(np.cumsum(steps.sum(axis=1)))
    opening = close * np.exp(-steps[:, 1])
    plain = facts(
        pd.DataFrame(
            {
                "Open": opening,
                "High": np.maximum(opening, close),
                "Low": np.minimum(opening, close),
                "Close": close,
                "Volume": rng.lognormal(15, 0.3, 4000),
            }
        )
    )
    missed = [
        fact
        for fact, (single, _) in BANDS.items()
        if not real[fact].min() / single <= plain[fact] <= real[fact].max() * single
    ]
    assert len(missed) >= 6
