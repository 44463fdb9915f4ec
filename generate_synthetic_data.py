"""Invents daily bars from a seed and a market regime, on the sessions of a ticker.

Knows no real price, no setting and no clock; whoever serves its bars labels them `synthetic`.

A day is an overnight jump and a path through the trading hours. Its variance follows a
GJR-GARCH(1,1) (Glosten, Jagannathan & Runkle 1993; Bollerslev 1986) of mean 1, times the
regime's own, which may change from phase to phase (a slow component beside a fast one, as in
Engle & Rangel 2008). Innovations are Student-t (Bollerslev 1987), the overnight ones heavier;
those of the day are drawn as normal steps of a random scale, so that a wild day has a wide
range, and that scale is what makes it busy (Clark 1973). The extremes between two steps are
drawn from the Brownian bridge, so Low <= Open, Close <= High by construction.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from calendars import sessions_between
from contracts import BAR_COLUMNS, FloatArray

SESSIONS_A_YEAR = 252
INTRADAY_STEPS = 13  # half hours of a New York session

# Chosen so that AAPL, MSFT, GOOGL and IBM of 2010-2025 lie in the middle of what comes out
# (tests/test_stylised_facts.py); alpha, gamma, beta of the size published for daily returns.
ALPHA, GAMMA, BETA = 0.055, 0.08, 0.885  # gamma: what a fall adds to alpha
LARGEST_NEWS = 3.5  # deviations: what lies beyond is a jump, and those do not raise volatility
MEAN_NEWS = 0.93  # mean square of a shock cut off there
OVERNIGHT_SHARE = 0.42  # of a day's variance
OVERNIGHT_DEGREES = 3.2  # of freedom: news comes while the exchange is closed
DAY_DEGREES = 6.0
BUSY_MEMORY = 0.97  # per session, of the slow part of log volume
BUSY_SPREAD = 0.35  # its standard deviation
BUSY_NOISE = 0.22
BUSY_WITH_RISK = 0.35  # log volume per log of the day's expected volatility
BUSY_WITH_MOVE = 0.30  # log volume per standard deviation moved


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of one temper; `drift` and `volatility` are per year, of the log price."""

    drift: float
    volatility: float
    sessions: int = 1


@dataclass(frozen=True, slots=True)
class Regime:
    """Phases that follow and repeat one another, from the first session on."""

    phases: tuple[Phase, ...]
    pull: float = 0.0  # share of the distance to the first price that is undone each session


CRASH = float(np.log(0.65))  # log price; the S&P 500 lost 34 % in 23 sessions of early 2020

REGIMES = {
    "normal": Regime((Phase(drift=0.08, volatility=0.26),)),
    "calm": Regime((Phase(drift=0.06, volatility=0.14),)),
    "bull": Regime((Phase(drift=0.30, volatility=0.20),)),
    "bear": Regime((Phase(drift=-0.30, volatility=0.36),)),
    "sideways": Regime((Phase(drift=0.0, volatility=0.20),), pull=0.02),
    "crash_and_recovery": Regime(
        (
            Phase(drift=0.10, volatility=0.18, sessions=250),
            Phase(drift=CRASH / 25 * SESSIONS_A_YEAR, volatility=0.60, sessions=25),
            Phase(drift=-CRASH / 125 * SESSIONS_A_YEAR, volatility=0.30, sessions=125),
        )
    ),
    "high_volatility": Regime((Phase(drift=0.0, volatility=0.60),)),
}
DEFAULT_REGIME = "normal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to invent. The walk begins at `start`; `days` keeps the latest ones of it."""

    start: date
    end: date
    days: int | None = None
    regime: str = DEFAULT_REGIME


@dataclass(frozen=True, slots=True)
class Split:
    """From the first session on or after `day`, `ratio` shares stand for one."""

    day: date
    ratio: float


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


def as_traded(bars: pd.DataFrame, splits: Sequence[Split]) -> pd.DataFrame:
    """Split-adjusted bars as the exchange printed them: dearer and thinner before each split.

    Returns:
        The same rows; Open, High, Low, Close and Volume raw, Adj Close still adjusted, and
        `split_coefficient`, the ratio on a split's session and 1 elsewhere, as Alpha Vantage
        tells it.

    Raises:
        ValueError: a split outside the bars, or of a ratio that changes nothing.
    """
    factor, told = np.ones(len(bars)), np.ones(len(bars))
    for split in splits:
        row = int(bars["Date"].searchsorted(pd.Timestamp(split.day)))
        if not 0 < row < len(bars):
            raise ValueError(f"a split on {split.day} lies outside the bars")
        if not 0 < split.ratio < np.inf or split.ratio == 1:
            raise ValueError(f"a split needs a ratio such as 4 or 0.1, not {split.ratio:g}")
        factor[:row] *= split.ratio
        told[row] *= split.ratio
    raw = {name: bars[name] * factor for name in ("Open", "High", "Low", "Close")}
    volume = np.rint(bars["Volume"] / factor).astype(np.int64)
    return bars.assign(**raw, Volume=volume, split_coefficient=told)


def _as_date(day: str | date) -> date:
    return date.fromisoformat(day) if isinstance(day, str) else day


def _streams(ticker: str, regime: str) -> list[np.random.Generator]:
    """One generator per quantity, so that none shifts when another is drawn for more days."""
    digest = hashlib.sha256(f"{ticker.upper()}|{regime}".encode()).digest()
    seed = np.random.SeedSequence(int.from_bytes(digest[:16], "big"))
    return [np.random.default_rng(child) for child in seed.spawn(8)]


def _walk(days: int, streams: Sequence[np.random.Generator], regime: Regime) -> pd.DataFrame:
    """`days` bars without dates. Each row depends on the rows before it only."""
    level, nights, scales, steps, tops, bottoms, moods, trades = streams
    night = np.sqrt(OVERNIGHT_SHARE) * _student(nights, OVERNIGHT_DEGREES, days)
    spread = np.sqrt((DAY_DEGREES - 2) / scales.chisquare(DAY_DEGREES, days))
    spread *= np.sqrt((1 - OVERNIGHT_SHARE) / INTRADAY_STEPS)  # of one step
    moves = spread[:, None] * steps.standard_normal((days, INTRADAY_STEPS))
    shock = night + moves.sum(axis=1)  # variance 1
    drift, slow = _phases(regime, days)
    sigma = slow * _volatility(shock)
    start = float(np.log(level.uniform(20, 300)))
    returns = _anchored(sigma * shock + drift, regime.pull)
    before = start + np.cumsum(returns) - returns
    path = _path(before + sigma * night, before + returns, sigma[:, None] * moves)
    step = (sigma * spread)[:, None]
    high = _highest(path, step, tops.random((days, INTRADAY_STEPS)))
    low = -_highest(-path, step, bottoms.random((days, INTRADAY_STEPS)))
    busy = _mood(moods, days) + BUSY_NOISE * trades.standard_normal(days)
    busy += BUSY_WITH_RISK * np.log(sigma / slow[0]) + BUSY_WITH_MOVE * np.abs(shock)
    prices = np.exp([path[:, 0], high, low, path[:, -1], path[:, -1]]).T
    bars = pd.DataFrame(prices, columns=list(BAR_COLUMNS[1:6]))
    return bars.assign(Volume=np.rint(level.uniform(1e6, 5e7) * np.exp(busy)).astype(np.int64))


def _student(stream: np.random.Generator, degrees: float, count: int) -> FloatArray:
    """(count,) Student-t numbers of variance 1."""
    return np.asarray(np.sqrt((degrees - 2) / degrees) * stream.standard_t(degrees, count))


def _phases(regime: Regime, days: int) -> tuple[FloatArray, FloatArray]:
    """Drift and standard deviation of each session, both (days,), of the daily log price."""
    table = np.array([(p.drift, p.volatility) for p in regime.phases for _ in range(p.sessions)])
    drift, volatility = table[np.arange(days) % len(table)].T
    return drift / SESSIONS_A_YEAR, volatility / np.sqrt(SESSIONS_A_YEAR)


def _volatility(shock: FloatArray) -> FloatArray:
    """GJR-GARCH standard deviation per day, of mean square 1; shape kept, the first day has 1."""
    omega = 1 - (ALPHA + GAMMA / 2) * MEAN_NEWS - BETA
    variance, path = 1.0, np.empty(len(shock))
    for day, move in enumerate(np.clip(shock, -LARGEST_NEWS, LARGEST_NEWS).tolist()):
        path[day] = variance
        reaction = ALPHA + (GAMMA if move < 0 else 0.0)
        variance = omega + variance * (reaction * move * move + BETA)
    return np.asarray(np.sqrt(path))


def _anchored(returns: FloatArray, pull: float) -> FloatArray:
    """Log returns of which each also undoes `pull` of what the ones before add up to."""
    away, kept = 0.0, np.empty(len(returns))
    for day, move in enumerate(returns.tolist()):
        kept[day] = move - pull * away
        away += kept[day]
    return kept


def _mood(stream: np.random.Generator, days: int) -> FloatArray:
    """(days,) slow part of log volume: an AR(1) that begins at 0."""
    news = BUSY_SPREAD * np.sqrt(1 - BUSY_MEMORY**2) * stream.standard_normal(days)
    mood, path = 0.0, np.empty(days)
    for day, new in enumerate(news.tolist()):
        path[day] = mood = BUSY_MEMORY * mood + new
    return path


def _path(opening: FloatArray, close: FloatArray, moves: FloatArray) -> FloatArray:
    """Log-price paths (days, steps + 1) from `opening` to `close`; what `moves` lack is spread."""
    free = np.cumsum(moves, axis=1)
    share = np.arange(1, moves.shape[1] + 1) / moves.shape[1]
    tied = opening[:, None] + free + share * (close - opening - free[:, -1])[:, None]
    tied[:, -1] = close
    return np.hstack([opening[:, None], tied])


def _highest(path: FloatArray, step: FloatArray, uniform: FloatArray) -> FloatArray:
    """(days,) largest value of Brownian motion through the points of `path`.

    Between a and b the maximum M of a bridge of variance s^2 has
    P(M > m) = exp(-2 (m - a)(m - b) / s^2), inverted here with `uniform` in [0, 1).
    """
    a, b = path[:, :-1], path[:, 1:]
    root = np.sqrt((b - a) ** 2 - 2 * step**2 * np.log1p(-uniform))
    return np.asarray(np.maximum((a + b + root) / 2, np.maximum(a, b)).max(axis=1))


def main(argv: Sequence[str] | None = None) -> int:
    """Write invented bars of one ticker into the synthetic place, or into a file."""
    from config import get_settings
    from contracts import ForecastingError, parse_ticker
    from data_pipeline import invent_file, today

    arguments = _parser().parse_args(argv)
    try:
        settings, ticker = get_settings(), parse_ticker(arguments.ticker)
        wish = Wish(
            start=arguments.start or settings.start_date,
            end=arguments.end or today(ticker, settings),
            days=arguments.days,
            regime=arguments.regime,
        )
        if arguments.out is None and arguments.split:
            raise ValueError(
                "--split makes raw prices, which no cache may hold: add --out FILE.csv"
            )
        if arguments.out is None:
            bars = invent_file(ticker, wish, settings).bars
        else:
            bars = _write(ticker, wish, arguments.split, arguments.out)
        if arguments.plot is not None:
            _draw(bars, f"{ticker}: invented bars, {wish.regime}", arguments.plot)
    except (ForecastingError, ValueError, OSError, ImportError) as error:
        print(f"generate_synthetic_data.py: {error}", file=sys.stderr)
        return 2
    first, last = (bars["Date"].iloc[row].date() for row in (0, -1))
    print(f"{ticker}: {len(bars)} synthetic bars, {wish.regime}, {first} to {last}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="generate_synthetic_data.py", description=main.__doc__)
    parser.add_argument("ticker", help="symbol the bars are for, such as DEMO")
    parser.add_argument("--start", type=date.fromisoformat, help="first day (STOCK_START_DATE)")
    parser.add_argument("--end", type=date.fromisoformat, help="last day (last ended session)")
    parser.add_argument("--days", type=int, help="at most so many sessions, the latest (all)")
    parser.add_argument("--regime", choices=sorted(REGIMES), default=DEFAULT_REGIME)
    parser.add_argument("--out", type=Path, help="a CSV or CSV.GZ file to write instead")
    parser.add_argument(
        "--split",
        type=_split,
        action="append",
        default=[],
        metavar="DAY:RATIO",
        help="with --out: raw prices that jump at this split, such as 2020-08-31:4 (repeatable)",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="also draw the bars")
    return parser


def _split(text: str) -> Split:
    day, _, ratio = text.partition(":")
    return Split(date.fromisoformat(day), float(ratio))


def _write(ticker: str, wish: Wish, splits: Sequence[Split], path: Path) -> pd.DataFrame:
    bars = generate_synthetic_stock_data(ticker, wish.start, wish.end, wish.days, wish.regime)
    bars = as_traded(bars, splits) if splits else bars
    bars.to_csv(path, index=False, date_format="%Y-%m-%d", lineterminator="\n")
    return bars


def _draw(bars: pd.DataFrame, title: str, path: Path) -> None:
    from figures import bars_figure

    bars_figure(bars, title).savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
