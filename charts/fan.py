"""One forecast: what was, the fan of what may come, and the last close repeated."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, TypeVar, cast

import plotly.graph_objects as go
from pydantic import BaseModel

from charts.look import LIGHT, Palette, add_line, date_axis, lay_out, mark_synthetic
from schemas import BandOut, ForecastOut, PricesOut

Answer = TypeVar("Answer", bound=BaseModel)


def fan_chart(
    forecast: ForecastOut, palette: Palette, past: PricesOut | None = None, candles: bool = True
) -> go.Figure:
    """Bands, forecast, its average and the last close, over exchange sessions.

    Args:
        forecast: what to draw.
        palette: colours of the page around it.
        past: bars up to the forecast, in its currency; None draws the forecast alone.
        candles: draw them as candlesticks, else their mid-prices as a line.
    """
    drawing = go.Figure()
    days = (forecast.as_of, *forecast.dates)
    if past is not None:
        (add_candles if candles else add_mids)(drawing, past, palette)
    add_fan(drawing, forecast, palette)
    repeated = [forecast.last_close] * len(days)
    add_line(drawing, days, repeated, "Last close, repeated", (palette.baseline, "dot"))
    start = forecast.last_actual_price
    add_line(drawing, days, [start, *forecast.prices], "Forecast", (palette.forecast, "solid"))
    if forecast.smoothed_prices is not None:
        smooth = [start, *forecast.smoothed_prices]
        add_line(drawing, days, smooth, "Smoothed forecast", (palette.smoothed, "dash"))
    if forecast.data.source == "synthetic":
        mark_synthetic(drawing, palette)
    date_axis(drawing, (*(past.dates if past else ()), *days))
    drawing.update_yaxes(title=f"{forecast.ticker}, {forecast.currency}")
    return lay_out(drawing)


def rehearse() -> None:
    """Draw what the interface gives as an example: Plotly loads itself at the first drawing."""
    fan_chart(_example(ForecastOut), LIGHT, _example(PricesOut)).to_json()


def _example(kind: type[Answer]) -> Answer:
    extra = cast(dict[str, Any], kind.model_config["json_schema_extra"])
    return kind.model_validate(extra["example"])


def add_candles(drawing: go.Figure, past: PricesOut, palette: Palette) -> None:
    """Open, high, low and close; hollow rises and filled falls need no colour to be told apart."""
    drawing.add_candlestick(
        x=past.dates,
        open=past.open,
        high=past.high,
        low=past.low,
        close=past.close,
        name="Prices",
        increasing={"line": {"color": palette.ink, "width": 1}, "fillcolor": palette.page},
        decreasing={"line": {"color": palette.ink, "width": 1}, "fillcolor": palette.ink},
    )
    drawing.update_xaxes(rangeslider_visible=False)


def add_mids(drawing: go.Figure, past: PricesOut, palette: Palette) -> None:
    """Mid-prices, (high + low) / 2: what forecasts are of."""
    add_line(drawing, past.dates, past.mid, "Mid-price", (palette.ink, "solid"))


def add_fan(drawing: go.Figure, forecast: ForecastOut, palette: Palette) -> None:
    """Both bands, the wider one first, opening at the last known price."""
    days, start = (forecast.as_of, *forecast.dates), forecast.last_actual_price
    fills = {"95": palette.band_95, "80": palette.band_80}
    for level, fill in fills.items():
        if level in forecast.intervals:
            band = forecast.intervals[level]
            opened = BandOut(lower=[start, *band.lower], upper=[start, *band.upper])
            add_band(drawing, days, opened, f"{level} % band", fill)


def add_band(drawing: go.Figure, days: Sequence[date], band: BandOut, name: str, fill: str) -> None:
    """A filled band, one pair of prices per day."""
    invisible = {"mode": "lines", "line": {"width": 0}, "legendgroup": name, "x": list(days)}
    drawing.add_scatter(y=band.upper, hoverinfo="skip", showlegend=False, **invisible)
    drawing.add_scatter(
        y=band.lower,
        customdata=band.upper,
        name=name,
        fill="tonexty",
        fillcolor=fill,
        hovertemplate=f"{name}: %{{y:,.2f}} to %{{customdata:,.2f}}<extra></extra>",
        **invisible,
    )
