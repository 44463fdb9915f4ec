"""Forecasts as a desk serves them and prices as a source tells them, small and exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
from builders import provenance

from calendars import sessions_after
from contracts import Band, Forecast, ModelIdentity, PerformanceRow, Prices, Skill
from forecast_log import ForecastLog

ORIGIN = date(2025, 6, 2)
SESSIONS = (ORIGIN, *sessions_after("AAPL", ORIGIN, 400))


def forecast(
    origin: date = ORIGIN, points: Sequence[float] = (101.0, 102.0), **changes: Any
) -> Forecast:
    """A forecast of `points` after an origin; model fields and `source` go by their own names."""
    identity = {k: changes.pop(k) for k in ("version", "bundle", "mode") if k in changes}
    data = {k: changes.pop(k) for k in ("source", "adjustment", "sha256") if k in changes}
    ticker = changes.pop("ticker", "AAPL")
    plain = Forecast(
        ticker=ticker,
        currency="USD",
        as_of=origin,
        dates=sessions_after(ticker, origin, len(points)),
        normalised=tuple(points),
        prices=tuple(points),
        smoothed_normalised=None,
        smoothed_prices=None,
        bands={level: _band(points, width) for level, width in (("80", 2.0), ("95", 4.0))},
        last_normalised=0.5,
        last_mid=100.0,
        last_close=100.5,
        provenance=replace(provenance(last_session=origin), **data),
        model=replace(_MODEL, **identity),
        skill=_SKILL,
    )
    return replace(plain, **changes)


def _band(points: Sequence[float], width: float) -> Band:
    return Band(lower=tuple(p - width for p in points), upper=tuple(p + width for p in points))


def prices(mids: Mapping[date, float], ticker: str = "AAPL", **data: Any) -> Prices:
    """Bars whose mid-price is given by day and whose close lies half above it."""
    days = sorted(mids)
    mid = [float(mids[day]) for day in days]
    columns = {
        "Date": pd.to_datetime(days),
        "Open": mid,
        "High": [value * 1.01 for value in mid],
        "Low": [value * 0.99 for value in mid],
        "Close": [value * 1.005 for value in mid],
        "Adj Close": mid,
        "Volume": [1e6] * len(mid),
    }
    about = provenance(first_session=days[0], last_session=days[-1], rows=len(days))
    return Prices(ticker, pd.DataFrame(columns), replace(about, **data))


def serve(log: ForecastLog, *forecasts: Forecast) -> None:
    """Hand out forecasts and see them written."""
    writer = log.writer()
    for number, one in enumerate(forecasts):
        writer.put(one, f"request-{number}")
    writer.close()
    assert (writer.pending, writer.lost) == (0, 0)


def walk(*mids: float) -> dict[date, float]:
    """Mid-prices from the origin's session on."""
    return dict(zip(SESSIONS, mids, strict=False))


def pooled(log: ForecastLog) -> PerformanceRow:
    """The only row over all steps."""
    (row,) = (row for row in log.performance("AAPL").rows if row.step is None)
    return row


_MODEL = ModelIdentity(
    version="3",
    bundle="AAPL_lstm_20250530_220000",
    recipe="panel",
    trained_at=datetime(2025, 5, 30, 22, tzinfo=UTC),
    trained_through=date(2025, 5, 30),
    mode="direct",
)
_SKILL = Skill(
    baseline="last_close",
    rmse_ratio=1.0,
    direction_accuracy=0.6,
    p_value=0.5,
    verdict="no better than the last price",
)
