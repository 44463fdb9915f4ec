"""Bars and forecasts as a page draws them: the last sessions, perhaps rebased; correlations.

Pure: prices and forecasts in, bodies out.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import numpy as np
import pandas as pd

from calendars import listing_of
from contracts import FloatArray, Forecast, NotEnoughHistory, Prices
from schemas import (
    LEAST_RETURNS,
    BandOut,
    BaseDayOut,
    ComparedOut,
    CompareOut,
    CorrelationsOut,
    DataOut,
    IdentityOut,
    PricesOut,
    RankOut,
    SkillOut,
)

INDEX = "index"


def last_bars(prices: Prices, last: int, index: float | None) -> PricesOut:
    """The last sessions of one ticker, as many as there are.

    Args:
        prices: at least one bar.
        last: how many bars at most.
        index: what the first mid-price shown is set to; None for prices as they are.
    """
    bars = prices.bars.iloc[-last:]
    currency = listing_of(prices.ticker).currency
    base, factor = _rebased(bars, index)
    shown = {
        name: rounded(bars[column].to_numpy(dtype=float) * factor)
        for name, column in (("open", "Open"), ("high", "High"), ("low", "Low"), ("close", "Close"))
    }
    return PricesOut(
        ticker=prices.ticker,
        currency=currency,
        unit=INDEX if base else currency,
        index=base,
        as_of=prices.provenance.last_session,
        dates=_days(bars),
        mid=rounded(_mids(bars) * factor),
        volume=rounded(bars["Volume"].to_numpy(dtype=float)),
        data=DataOut.model_validate(prices.provenance),
        **shown,
    )


def side_by_side(
    pairs: Mapping[str, tuple[Prices, Forecast]], last: int, index: float | None
) -> CompareOut:
    """Several tickers, from the latest of their first sessions on, each with its forecast.

    Args:
        pairs: by ticker; forecasts of as many steps, made from these prices.
        last: sessions before each forecast, at most.
        index: what each first mid-price shown is set to; None for prices as they are.
    """
    shown = {
        ticker: prices.bars[prices.bars["Date"] <= pd.Timestamp(forecast.as_of)].iloc[-last:]
        for ticker, (prices, forecast) in pairs.items()
    }
    begin = max((bars["Date"].iloc[0] for bars in shown.values()), default=pd.Timestamp(0))
    series = {}
    for ticker, bars in shown.items():
        later = bars[bars["Date"] >= begin]  # none where this one's prices ended long ago
        series[ticker] = _compared(pairs[ticker][1], bars if later.empty else later, index)
    steps = max((len(forecast.dates) for _, forecast in pairs.values()), default=0)
    return CompareOut(steps=steps, series=series, ranking=_ranking(series), errors={})


def correlations(known: Mapping[str, Prices], last: int) -> CorrelationsOut:
    """How the daily returns of several tickers went together.

    Args:
        known: by ticker, at least one.
        last: common sessions to count, at most; a return needs two.

    Raises:
        NotEnoughHistory: fewer than LEAST_RETURNS returns on sessions that all share.
    """
    closes = pd.concat(
        {t: prices.bars.set_index("Date")["Close"] for t, prices in known.items()},
        axis="columns",
        join="inner",
    ).iloc[-(last + 1) :]
    if len(closes) <= LEAST_RETURNS:
        raise NotEnoughHistory(
            have=max(0, len(closes) - 1), need=LEAST_RETURNS, what="returns on common sessions"
        )
    returns = np.diff(np.log(closes.to_numpy(dtype=float)), axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):  # a price that never moved
        matrix = np.clip(np.atleast_2d(np.corrcoef(returns, rowvar=False)), -1, 1)
    return CorrelationsOut(
        tickers=list(known),
        first_session=closes.index[0].date(),
        last_session=closes.index[-1].date(),
        returns=len(returns),
        matrix=[list(rounded(row)) for row in matrix],
        sources={ticker: prices.provenance.source for ticker, prices in known.items()},
    )


def rounded(values: FloatArray) -> list[float]:
    """Ten significant digits: beyond any price's precision, short of binary noise."""
    return [float(f"{value:.10g}") for value in values]


def _compared(forecast: Forecast, bars: pd.DataFrame, index: float | None) -> ComparedOut:
    base, factor = _rebased(bars, index)
    bands = {
        level: BandOut(
            lower=rounded(np.array(band.lower) * factor),
            upper=rounded(np.array(band.upper) * factor),
        )
        for level, band in forecast.bands.items()
    }
    return ComparedOut.model_validate(
        {
            "ticker": forecast.ticker,
            "currency": forecast.currency,
            "unit": INDEX if base else forecast.currency,
            "index": base,
            "as_of": forecast.as_of,
            "history_dates": _days(bars),
            "history": rounded(_mids(bars) * factor),
            "last_close": rounded(np.array([forecast.last_close * factor]))[0],
            "dates": forecast.dates,
            "prices": rounded(np.array(forecast.prices) * factor),
            "intervals": bands,
            "mode": forecast.model.mode,
            "cold_start": forecast.model.cold_start,
            "model": IdentityOut.model_validate(forecast.model),
            "skill": SkillOut.model_validate(forecast.skill),
            "data": DataOut.model_validate(forecast.provenance),
        }
    )


def _ranking(series: Mapping[str, ComparedOut]) -> list[RankOut]:
    """The best first; a model whose bands could not be judged comes after those that could."""

    def place(ticker: str) -> tuple[bool, float, float]:
        skill = series[ticker].skill
        return skill.crps_ratio is None, skill.crps_ratio or 0.0, skill.rmse_ratio

    return [
        RankOut(
            rank=rank,
            ticker=ticker,
            crps_ratio=series[ticker].skill.crps_ratio,
            rmse_ratio=series[ticker].skill.rmse_ratio,
            direction_accuracy=series[ticker].skill.direction_accuracy,
            verdict=series[ticker].skill.verdict,
            cold_start=series[ticker].cold_start,
        )
        for rank, ticker in enumerate(sorted(series, key=place), start=1)
    ]


def _rebased(bars: pd.DataFrame, index: float | None) -> tuple[BaseDayOut | None, float]:
    """What the first bar is set to, and the factor that does it."""
    if index is None:
        return None, 1.0
    price = float(_mids(bars)[0])
    base = BaseDayOut(level=index, date=_days(bars)[0], price=rounded(np.array([price]))[0])
    return base, index / price


def _mids(bars: pd.DataFrame) -> FloatArray:
    return np.asarray((bars["High"].to_numpy(float) + bars["Low"].to_numpy(float)) / 2)


def _days(bars: pd.DataFrame) -> list[date]:
    return [stamp.date() for stamp in bars["Date"]]
