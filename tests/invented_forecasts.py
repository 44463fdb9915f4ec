"""Forecasts, cards, bars and checks that are valid and invented: what tests are fed with."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd

from contracts import (
    Band,
    BaseIdentity,
    Calibration,
    Champion,
    DriftVerdict,
    Event,
    FeatureDrift,
    Forecast,
    ModelCard,
    ModelIdentity,
    Prices,
    Probability,
    Provenance,
    Skill,
    Span,
)

AS_OF = date(2025, 12, 31)
BUNDLE = "AAPL_lstm_20260117_225254"
RUN_ID = "9c1185a5c5e9fc54612808977ee8f548"
TRAINED_AT = datetime(2026, 1, 17, 22, 52, 54, tzinfo=UTC)
REPORT = "AAPL_data_drift_20260118.html"
SKILL = Skill(
    baseline="last_close",
    rmse_ratio=3.1,
    direction_accuracy=0.53,
    p_value=0.0004,
    verdict="worse than the last price",
    crps_ratio=0.97,
    crps_p_value=0.02,
)
OWN = ModelIdentity(
    version="3",
    bundle=BUNDLE,
    recipe="mlops_64_64_32",
    trained_at=TRAINED_AT,
    trained_through=AS_OF,
)
COLD = ModelIdentity(
    version="2023-12-29",
    bundle="pretrained/2023-12-29",
    recipe="pooled_direct",
    trained_at=TRAINED_AT,
    trained_through=date(2023, 12, 29),
    mode="direct",
    cold_start=True,
)
FILE = Provenance(
    source="file",
    adjustment="split",
    fetched_at=TRAINED_AT,
    first_session=date(2020, 1, 2),
    last_session=AS_OF,
    rows=1509,
    sha256="ab" * 32,
)


def sessions(steps: int) -> tuple[date, ...]:
    """Weekdays after AS_OF without New Year's Day: near enough to an exchange."""
    days = (AS_OF + timedelta(days=n) for n in range(2, 3 * steps + 8))
    return tuple(day for day in days if day.weekday() < 5)[:steps]


def make_forecast(
    ticker: str = "AAPL", steps: int = 30, smoothing: bool = True, data: Provenance = FILE
) -> Forecast:
    """A slowly waving forecast around 272 dollars."""
    prices = tuple(271.0 + 4.0 * math.sin(step / 5) + step / 10 for step in range(steps))
    smooth = tuple(271.0 + 3.0 * math.sin(step / 5 - 0.4) + step / 10 for step in range(steps))
    return Forecast(
        ticker=ticker,
        currency="USD",
        as_of=AS_OF,
        dates=sessions(steps),
        normalised=tuple(price / 300 for price in prices),
        prices=prices,
        smoothed_normalised=tuple(price / 300 for price in smooth) if smoothing else None,
        smoothed_prices=smooth if smoothing else None,
        bands={"80": make_band(prices, 0.015), "95": make_band(prices, 0.027)},
        last_normalised=272.72 / 300,
        last_mid=272.72,
        last_close=271.86,
        provenance=data,
        model=OWN,
        skill=SKILL,
    )


def make_probability(
    ticker: str = "AAPL",
    steps: int = 30,
    event: Event = "above",
    level: float = 300.0,
    data: Provenance = FILE,
) -> Probability:
    """What a random walk from 272 dollars would say, never quite certain."""
    away = (math.log(level) - math.log(272.72)) / (0.02 * math.sqrt(2 * steps))
    chances = {
        "above": 0.5 * math.erfc(away),
        "below": 0.5 * math.erfc(-away),
        "touch": math.erfc(abs(away)),
    }
    return Probability(
        ticker=ticker,
        currency="USD",
        as_of=AS_OF,
        date=sessions(steps)[-1],
        steps=steps,
        event=event,
        level=level,
        probability=min(max(chances[event], 0.0005), 0.9995),
        paths=1000,
        last_mid=272.72,
        last_close=271.86,
        provenance=data,
        model=OWN,
        skill=SKILL,
    )


def make_band(prices: tuple[float, ...], width: float) -> Band:
    """Widening like a random walk."""
    widths = [width * math.sqrt(step) for step in range(1, len(prices) + 1)]
    return Band(
        lower=tuple(p * math.exp(-w) for p, w in zip(prices, widths, strict=True)),
        upper=tuple(p * math.exp(w) for p, w in zip(prices, widths, strict=True)),
    )


def make_champion(ticker: str = "AAPL") -> Champion:
    """A model three times worse than the last close, and one score that is not defined."""
    scores = {
        "lstm": {"mse": 65.8, "mae": 6.32, "rmse": 8.11, "direction_accuracy": 0.53},
        "last_mid": {"mse": 8.5, "mae": 2.15, "rmse": 2.91, "direction_accuracy": None},
        "last_close": {"mse": 6.9, "mae": 1.98, "rmse": 2.62, "direction_accuracy": 0.71},
        "arima": {"mse": 7.5, "mae": 2.04, "rmse": 2.74, "direction_accuracy": math.nan},
    }
    card = ModelCard(
        ticker=ticker,
        recipe={"name": "mlops_64_64_32", "units": [64, 64, 32], "dropout": 0.5},
        seed=42,
        trained_at=TRAINED_AT,
        trained_through=AS_OF,
        start_date=date(2020, 1, 1),
        train=Span(first=date(2020, 1, 2), last=date(2024, 4, 1), rows=1068),
        validation=Span(first=date(2024, 4, 2), last=date(2024, 10, 15), rows=137),
        test=Span(first=date(2024, 10, 16), last=AS_OF, rows=304),
        data=FILE,
        calibration=Calibration(
            origins=120,
            levels=(0.1, 0.5, 0.9),
            quantiles=((-1.3, 0.0, 1.2), (-1.4, 0.1, 1.3), None),
            pooled=0.25,
        ),
        scores=scores,
        skill=SKILL,
        parity=2e-7,
        base=BaseIdentity(
            name="2023-12-29", trained_through=date(2023, 12, 29), tickers=95, shipped=True
        ),
        shrinkage=0.35,
        versions={"tensorflow": "2.21.0"},
        git_revision="0123456",
        run_id=RUN_ID,
        notes=("no dividends in this series",),
    )
    return Champion(version="3", bundle=BUNDLE, card=card)


def make_drift(ticker: str = "AAPL") -> DriftVerdict:
    """One check with an alarm on one of two features."""
    return DriftVerdict(
        ticker=ticker,
        checked_at=datetime(2026, 1, 18, 6, 0, tzinfo=UTC),
        as_of=AS_OF,
        alarm=True,
        summary="The daily range of AAPL has widened since training; the returns have not.",
        features=(
            FeatureDrift(
                feature="return", method="ks", distance=0.08, threshold=0.21, drifted=False
            ),
            FeatureDrift(feature="range", method="ks", distance=0.34, threshold=0.21, drifted=True),
        ),
        reference_rows=1068,
        current_rows=60,
        rmse_ratio_reference=3.1,
        rmse_ratio_current=3.4,
        model_version="3",
        data_source="file",
        reports=(REPORT,),
    )


def make_prices(ticker: str = "AAPL", data: Provenance = FILE, count: int = 300) -> Prices:
    """Weekdays that end with AS_OF, at the forecast's last mid and close; MSFT moves against."""
    days = [AS_OF - timedelta(days=n) for n in range(2 * count)]
    dates = pd.DatetimeIndex(sorted([day for day in days if day.weekday() < 5][:count]))
    side = -1.0 if ticker == "MSFT" else 1.0
    wave = np.array([math.sin((count - 1 - n) / 7 + (n % 5) / 9) for n in range(count)])
    mids = 272.72 * np.exp(0.02 * side * (wave - wave[-1]))
    bars = {
        "Date": dates,
        "Open": mids * 0.999,
        "High": mids * 1.01,
        "Low": mids * 0.99,
        "Close": mids * (271.86 / 272.72),
        "Adj Close": mids,
        "Volume": 1e6 + 1000.0 * np.arange(count),
    }
    return Prices(ticker, pd.DataFrame(bars), data)
