"""Invents daily bars from a seed and a market regime, on the sessions of a ticker.

Knows no real price, no setting and no clock; whoever serves its bars labels them `synthetic`.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from calendars import sessions_between
from contracts import BAR_COLUMNS, FloatArray

SESSIONS_A_YEAR = 252
INTRADAY_STEPS = 13  # half hours of a New York session
OVERNIGHT_SHARE = 0.25  # of a day's variance, about what large US stocks show


@dataclass(frozen=True, slots=True)
class Regime:
    """A market's temper. GARCH(1,1): v[t+1] = omega + alpha * r[t]^2 + beta * v[t].

    `drift` and `volatility` are per year, of the log price; omega follows from `volatility`,
    the long-run mean. Bollerslev (1986) for the variance, Bollerslev (1987) for Student-t
    innovations; alpha, beta and the degrees of freedom are of the size he and later
    authors estimate on daily stock and index returns.
    """

    drift: float
    volatility: float
    alpha: float = 0.08
    beta: float = 0.90
    degrees: float = 5.0


REGIMES = {
    "calm": Regime(drift=0.06, volatility=0.14, alpha=0.05, beta=0.93, degrees=8.0),
    "normal": Regime(drift=0.07, volatility=0.25),
    "turbulent": Regime(drift=0.0, volatility=0.55, alpha=0.12, beta=0.86, degrees=4.0),
    "bull": Regime(drift=0.25, volatility=0.22),
    "bear": Regime(drift=-0.25, volatility=0.35),
}
DEFAULT_REGIME = "normal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to invent. The walk begins at `start`; `days` keeps the latest ones of it."""

    start: date
    end: date
    days: int | None = None
    regime: str = DEFAULT_REGIME


def generate_synthetic_stock_data(
    ticker: str,
    start_date: str | date,
    end_date: str | date,
    num_days: int | None = 1500,
    regime: str = DEFAULT_REGIME,
) -> pd.DataFrame:
    """Daily bars on every session of the ticker's exchange, start and end included.

    The walk always begins at `start_date`, and its seed is a digest of ticker and regime: the
    same day has the same bar, bit for bit, whatever `end_date` and `num_days` are.

    Args:
        ticker: Yahoo's symbol; decides the calendar and the seed.
        start_date: a date or `YYYY-MM-DD`.
        end_date: the same, not before `start_date`.
        num_days: how many sessions at most, the latest ones; None for all.
        regime: a key of REGIMES.

    Returns:
        Columns of BAR_COLUMNS with a RangeIndex; Date is a naive midnight, ascending; prices
        are positive, Low <= Open, Close <= High; Adj Close equals Close (no dividends).

    Raises:
        ValueError: no session fits, `num_days` is below 1, or an unknown regime.
    """
    if regime not in REGIMES:
        raise ValueError(f"no regime is called {regime!r}; choose one of: {', '.join(REGIMES)}")
    if num_days is not None and num_days < 1:
        raise ValueError(f"num_days must be at least 1, not {num_days}")
    first, last = _as_date(start_date), _as_date(end_date)
    days = sessions_between(ticker, first, last)
    if not days:
        raise ValueError(f"{ticker} has no session from {first} through {last}")
    bars = _walk(len(days), _streams(ticker, regime), REGIMES[regime])
    bars.insert(0, "Date", pd.to_datetime(pd.Series(days)).astype("datetime64[ns]"))
    kept = bars if num_days is None else bars.tail(num_days)
    return kept[list(BAR_COLUMNS)].reset_index(drop=True)


def _as_date(day: str | date) -> date:
    return date.fromisoformat(day) if isinstance(day, str) else day


def _streams(ticker: str, regime: str) -> list[np.random.Generator]:
    """One generator per quantity, so that none shifts when another is drawn for more days."""
    digest = hashlib.sha256(f"{ticker.upper()}|{regime}".encode()).digest()
    seed = np.random.SeedSequence(int.from_bytes(digest[:16], "big"))
    return [np.random.default_rng(child) for child in seed.spawn(5)]


def _walk(days: int, streams: Sequence[np.random.Generator], regime: Regime) -> pd.DataFrame:
    """`days` bars without dates. Each row depends on the rows before it only."""
    level, shocks, gaps, paths, trades = streams
    standard = shocks.standard_t(regime.degrees, days)
    standard = standard * np.sqrt((regime.degrees - 2) / regime.degrees)  # variance 1
    sigma = _volatility(standard, regime)
    returns = sigma * standard + regime.drift / SESSIONS_A_YEAR
    close = np.log(level.uniform(20, 300)) + np.cumsum(returns)
    noise = np.sqrt(OVERNIGHT_SHARE * (1 - OVERNIGHT_SHARE)) * sigma
    gap = OVERNIGHT_SHARE * returns + noise * gaps.standard_normal(days)
    opening = close - returns + gap
    step = sigma * np.sqrt((1 - OVERNIGHT_SHARE) / INTRADAY_STEPS)
    moves = step[:, None] * paths.standard_normal((days, INTRADAY_STEPS))
    prices = np.exp(_bridges(opening, close, moves))
    busy = np.exp(0.25 * np.abs(standard) + 0.3 * trades.standard_normal(days))
    return pd.DataFrame(
        {
            "Open": prices[:, 0],
            "High": prices.max(axis=1),
            "Low": prices.min(axis=1),
            "Close": prices[:, -1],
            "Adj Close": prices[:, -1],
            "Volume": np.rint(level.uniform(1e6, 5e7) * busy).astype(np.int64),
        }
    )


def _volatility(standard: FloatArray, regime: Regime) -> FloatArray:
    """Daily standard deviation per day, shape kept; the first day has the long-run one."""
    long_run = regime.volatility**2 / SESSIONS_A_YEAR
    omega = long_run * (1 - regime.alpha - regime.beta)
    variance, path = long_run, np.empty(len(standard))
    for day, shock in enumerate(standard.tolist()):
        path[day] = variance
        variance = omega + variance * (regime.alpha * shock * shock + regime.beta)
    return np.asarray(np.sqrt(path))


def _bridges(opening: FloatArray, close: FloatArray, moves: FloatArray) -> FloatArray:
    """Log-price paths (days, steps + 1) that begin at `opening` and end at `close` exactly."""
    free = np.cumsum(moves, axis=1)
    share = np.arange(1, moves.shape[1] + 1) / moves.shape[1]
    tied = opening[:, None] + free + share * (close - opening - free[:, -1])[:, None]
    tied[:, -1] = close
    return np.hstack([opening[:, None], tied])


def main(argv: Sequence[str] | None = None) -> int:
    """Write invented bars of one ticker into the synthetic place."""
    from config import get_settings
    from contracts import ForecastingError, parse_ticker
    from data_pipeline import invent_file, today

    parser = argparse.ArgumentParser(prog="generate_synthetic_data.py", description=main.__doc__)
    parser.add_argument("ticker", help="symbol the bars are for, such as DEMO")
    parser.add_argument("--start", type=date.fromisoformat, help="first day (STOCK_START_DATE)")
    parser.add_argument("--end", type=date.fromisoformat, help="last day (last ended session)")
    parser.add_argument("--days", type=int, help="at most so many sessions, the latest (all)")
    parser.add_argument("--regime", choices=sorted(REGIMES), default=DEFAULT_REGIME)
    arguments = parser.parse_args(argv)
    try:
        settings, ticker = get_settings(), parse_ticker(arguments.ticker)
        wish = Wish(
            start=arguments.start or settings.start_date,
            end=arguments.end or today(ticker, settings),
            days=arguments.days,
            regime=arguments.regime,
        )
        fact = invent_file(ticker, wish, settings).provenance
    except (ForecastingError, ValueError) as error:
        print(f"generate_synthetic_data.py: {error}", file=sys.stderr)
        return 2
    span = f"{fact.first_session} to {fact.last_session}"
    print(f"{ticker}: {fact.rows} synthetic bars, {span}, sha256 {fact.sha256[:12]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
