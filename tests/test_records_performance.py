"""Realised figures against the obvious slow way, and what retention leaves of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from builders import provenance
from promised import SESSIONS, forecast, pooled, prices, serve, walk

import metrics
from contracts import Prices
from forecast_log import ForecastLog
from records.schema import OUTCOMES, PROMISED_STEPS, PROMISES
from schemas import PerformanceOut

TODAY = date(2026, 12, 31)


@pytest.fixture
def log(tmp_path) -> Iterator[ForecastLog]:
    """On SQLite, where only our own arithmetic is at stake."""
    opened = ForecastLog(f"sqlite:///{tmp_path / 'forecasts.db'}")
    yield opened
    opened.close()


def random_log(log: ForecastLog, origins: int, steps: int) -> dict[date, float]:
    """Promises of a random walk from successive origins; its mids."""
    moves = np.random.default_rng(7).normal(0, 0.02, (2, origins + steps + 1))
    mids = 100 * np.exp(np.cumsum(moves[0]))
    serve(
        log,
        *(
            forecast(
                origin=SESSIONS[i],
                points=(mids[i] * (1 + moves[1, i : i + steps])).tolist(),
                last_mid=mids[i],
                last_close=mids[i] * 1.005,
            )
            for i in range(origins)
        ),
    )
    return walk(*mids)


def wis(actual: float, point: float, bands: dict[str, tuple[float, float]]) -> float:
    """The weighted interval score as its authors write it."""
    total = abs(actual - point) / 2
    for level, (lower, upper) in bands.items():
        alpha = 1 - int(level) / 100
        score = upper - lower
        score += 2 / alpha * (lower - actual) * (actual < lower)
        score += 2 / alpha * (actual - upper) * (actual > upper)
        total += alpha / 2 * score
    return total / (len(bands) + 0.5)


@pytest.fixture(scope="module")
def walked(tmp_path_factory) -> Iterator[tuple[ForecastLog, dict[date, float]]]:
    """Forty origins of seven steps each, settled."""
    opened = ForecastLog(f"sqlite:///{tmp_path_factory.mktemp('walked') / 'forecasts.db'}")
    mids = random_log(opened, origins=40, steps=7)
    opened.settle(prices(mids), TODAY)
    yield opened, mids
    opened.close()


@pytest.mark.parametrize("step", [1, 5])
def test_every_figure_is_what_the_obvious_slow_way_gives(walked, step):
    log, mids = walked
    (row,) = (row for row in log.performance("AAPL").rows if row.step == step)
    made = log.promises("AAPL")
    actual, point, close, last = (
        np.array(values)
        for values in zip(
            *(
                (mids[p.dates[step - 1]], p.points[step - 1], p.last_close, p.last_mid)
                for p in made
            ),
            strict=True,
        )
    )
    lower, upper = (
        np.array([getattr(p.bands["80"], side)[step - 1] for p in made])
        for side in ("lower", "upper")
    )
    assert row.n == 40
    assert row.model.rmse == pytest.approx(metrics.rmse(actual, point))
    assert row.last_close.mae == pytest.approx(metrics.mae(actual, close))
    assert row.rmse_ratio == pytest.approx(
        metrics.rmse(actual, point) / metrics.rmse(actual, close)
    )
    assert row.model.direction == metrics.direction_accuracy(last, actual, point)
    assert row.last_close.direction == metrics.direction_accuracy(last, actual, close)
    assert row.model.coverage_80 == metrics.coverage(actual, lower, upper)
    assert row.p_value == pytest.approx(
        metrics.diebold_mariano(point - actual, close - actual, step)
    )


def test_crps_is_the_weighted_interval_score(walked):
    log, mids = walked
    (row,) = (row for row in log.performance("AAPL").rows if row.step == 1)
    slow = [
        wis(
            mids[p.dates[0]],
            p.points[0],
            {level: (band.lower[0], band.upper[0]) for level, band in p.bands.items()},
        )
        for p in log.promises("AAPL")
    ]
    assert row.model.crps == pytest.approx(np.mean(slow))
    assert row.last_close.crps == pytest.approx(row.last_close.mae)


def test_flat_names_carry_every_defined_figure(walked):
    log, _ = walked
    found = log.performance("AAPL").as_metrics("3")
    row = pooled(log)
    assert found["live_rmse_pooled"] == row.model.rmse
    assert found["live_last_close_crps_pooled"] == row.last_close.crps
    assert found["live_n_1"] == 40
    assert not any("coverage" in name for name in found if "last_close" in name)
    assert log.performance("AAPL").as_metrics("4") == {}


def test_every_figure_can_be_answered_as_json(walked):
    log, _ = walked
    answer = PerformanceOut.of(log.performance("AAPL"))
    assert PerformanceOut.model_validate_json(answer.model_dump_json()) == answer
    assert answer.rows[-1].step is None


def test_a_ticker_without_a_database_has_an_empty_performance(tmp_path):
    log = ForecastLog(f"sqlite:///{tmp_path / 'absent.db'}")
    found = log.performance("AAPL")
    assert (found.promises, found.rows, found.currency) == (0, (), None)
    assert log.promises("AAPL") == ()
    assert not (tmp_path / "absent.db").exists()


def test_a_real_split_changes_no_score(log, real_data):
    """AAPL's four for one of 31 August 2020, promised on the scale of each day."""
    bars = pd.read_csv(real_data / "yahoo" / "AAPL.csv", parse_dates=["Date"])
    bars = bars[bars["Date"].between("2020-07-01", "2020-12-31")].reset_index(drop=True)
    mids, closes = (bars["High"] + bars["Low"]) / 2, bars["Close"]
    then = np.where(bars["Date"] < "2020-08-31", 4.0, 1.0)
    origins = range(20, 80)
    serve(
        log,
        *(
            forecast(
                origin=bars["Date"][i].date(),
                points=[closes[i] * then[i]] * 10,
                last_mid=mids[i] * then[i],
                last_close=closes[i] * then[i],
            )
            for i in origins
        ),
    )
    about = provenance(source="yfinance")
    assert log.settle(Prices("AAPL", bars, about), TODAY).skipped == 0
    row = pooled(log)
    errors = [closes[i] - mids[i + h] for i in origins for h in range(1, 11)]
    assert row.n == 600
    assert row.model.rmse == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert (row.rmse_ratio, row.p_value) == (1.0, 1.0)


def rows_in(url: str, *tables: sa.Table) -> list[int]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        counted = [
            connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            for table in tables
        ]
    engine.dispose()
    return counted


def made_days_ago(url: str, days: int, version: str) -> None:
    engine = sa.create_engine(url)
    then = datetime.now(UTC) - timedelta(days=days)
    aged = sa.update(PROMISES).where(PROMISES.c.version == version)
    with engine.begin() as connection:
        connection.execute(aged.values(made_at=then))
    engine.dispose()


def test_purging_forgets_what_is_older_and_what_only_that_needed(forecast_log, database_url):
    serve(forecast_log, forecast(version="old"), forecast(version="new", origin=SESSIONS[2]))
    forecast_log.settle(prices(walk(100, 103, 104, 105, 106)), TODAY)
    made_days_ago(database_url, 400, "old")
    assert (forecast_log.purge(0), forecast_log.purge(401), forecast_log.purge(400)) == (0, 0, 1)
    assert [promise.version for promise in forecast_log.promises("AAPL")] == ["new"]
    assert rows_in(database_url, PROMISED_STEPS, OUTCOMES) == [2, 3]
    assert pooled(forecast_log).n == 2
