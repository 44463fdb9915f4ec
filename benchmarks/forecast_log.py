"""What the forecast log costs: a request, a second of writing, a settling, a look at performance.

`python benchmarks/forecast_log.py [--url URL] [--tickers 20]` works on an SQLite file in a fresh
folder, or on an empty database that URL names; prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import sqlalchemy as sa
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # its forecast_log, not this one

from promised import SESSIONS, forecast, prices

import metrics
from answers import forecast_answer
from contracts import Forecast, Promise
from forecast_log import ForecastLog
from records.promising import Serving, write

ORIGINS, STEPS, REQUESTS = 250, 30, 3000
TODAY = date(2027, 1, 1)


def served(ticker: str, mids: Sequence[float]) -> Iterator[Forecast]:
    """A forecast of 30 steps from each of 250 successive sessions of one ticker."""
    noise = np.random.default_rng(0).normal(0, 0.02, (ORIGINS, STEPS))
    for i in range(ORIGINS):
        points = (mids[i] * (1 + noise[i])).tolist()
        last = {"last_mid": mids[i], "last_close": mids[i] * 1.005}
        yield forecast(origin=SESSIONS[i], points=points, ticker=ticker, **last)


def a_walk(seed: int) -> list[float]:
    """Mid-prices of as many sessions as the promises reach."""
    moves = np.random.default_rng(seed).normal(0, 0.02, ORIGINS + STEPS + 1)
    return (100 * np.exp(np.cumsum(moves))).tolist()


def spent(work: Callable[[], object]) -> float:
    """Seconds."""
    begun = perf_counter()
    work()
    return perf_counter() - begun


def requests(log: ForecastLog) -> Iterator[str]:
    """An answer made and nothing more, put into the writer, and written before it is sent."""
    plain = forecast(points=np.linspace(100, 110, STEPS).tolist())
    several = [replace(plain, model=replace(plain.model, version=str(i))) for i in range(REQUESTS)]
    log.ask_check("AAPL")
    alone = [spent(lambda one=one: forecast_answer(one)) for one in several]
    writer = log.writer()
    beside = [
        spent(lambda one=one: (forecast_answer(one), writer.put(one, "request"))) for one in several
    ]
    draining = spent(lambda: writer.close(120))
    waited = [spent(lambda one=one: _at_once(log, one)) for one in several[:200]]
    yield "| a request | median us | 99 % us | times the answer alone |"
    yield "|---|--:|--:|--:|"
    base = median(alone)
    for name, times in (
        ("makes its answer", alone),
        ("and puts it into the writer", beside),
        ("and writes it itself", [base + seconds for seconds in waited]),
    ):
        yield (
            f"| {name} | {median(times) * 1e6:.0f} | {np.quantile(times, 0.99) * 1e6:.0f} "
            f"| {median(times) / base:.2f} |"
        )
    rate = REQUESTS / (sum(beside) + draining)
    yield f"\n{rate:.0f} forecasts of {STEPS} steps written a second; lost: {writer.lost}.\n"


def _at_once(log: ForecastLog, one: Forecast) -> None:
    with log._database.writing() as connection:
        write(connection, [Serving(one, "request", datetime.now(UTC))])


def naive(promises: Sequence[Promise], mids: dict[date, float]) -> float:
    """One step's RMSE ratio and p-value as anyone would first write them."""
    for step in (1, 5, 10, 20, 30):
        own = [p for p in promises if p.dates[step - 1] in mids]
        actual = np.array([mids[p.dates[step - 1]] for p in own])
        point = np.array([p.points[step - 1] for p in own])
        close = np.array([p.last_close for p in own])
        metrics.diebold_mariano(point - actual, close - actual, step)
    return metrics.rmse(actual, point) / metrics.rmse(actual, close)


def figures(log: ForecastLog, tickers: int) -> Iterator[str]:
    """Settling and scoring where many tickers have a year of promises."""
    walks = {f"T{i}": a_walk(i) for i in range(tickers)}
    writing = 0.0
    for ticker, mids in tqdm(walks.items(), desc="writing", leave=False):
        batch = [Serving(one, "", datetime.now(UTC)) for one in served(ticker, mids)]
        begun = perf_counter()
        with log._database.writing() as connection:
            write(connection, batch)
        writing += perf_counter() - begun
    known = {t: prices(dict(zip(SESSIONS, m, strict=False)), t) for t, m in walks.items()}
    first = [spent(lambda p=p: log.settle(p, TODAY)) for p in known.values()]
    again = [spent(lambda p=p: log.settle(p, TODAY)) for p in known.values()]
    scored = [spent(lambda t=t: log.performance(t)) for t in walks]
    looped = [
        spent(lambda t=t, m=m: naive(log.promises(t), dict(zip(SESSIONS, m, strict=False))))
        for t, m in list(walks.items())[:20]
    ]
    yield f"| a ticker of {tickers}, {ORIGINS} origins x {STEPS} steps | median ms | most ms |"
    yield "|---|--:|--:|"
    yield f"| written, a transaction | {writing / tickers * 1e3:.0f} | |"
    for name, times in (
        ("settled the first time", first),
        ("settled again", again),
        ("performance, every figure", scored),
        ("five ratios by loops over promises", looped),
    ):
        yield f"| {name} | {median(times) * 1e3:.0f} | {max(times) * 1e3:.0f} |"
    yield f"\n{tickers * ORIGINS * STEPS:,} promised steps; {_bytes(log)}."


def _bytes(log: ForecastLog) -> str:
    with log._database.writing() as connection:
        if connection.dialect.name == "sqlite":
            pages = connection.scalar(sa.text("PRAGMA page_count"))
            size = pages * connection.scalar(sa.text("PRAGMA page_size"))
        else:
            size = connection.scalar(sa.text("SELECT pg_database_size(current_database())"))
    return f"{size / 1e6:.0f} MB in the database"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(prog="forecast_log.py", description=main.__doc__)
    parser.add_argument("--url", help="an empty database; without it a fresh SQLite file")
    parser.add_argument("--tickers", type=int, default=20, help="with a year of promises each")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        log = ForecastLog(arguments.url or f"sqlite:///{folder}/forecasts.db")
        for part in (requests(log), figures(log, arguments.tickers)):
            for line in part:
                print(line, flush=True)
        log.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
