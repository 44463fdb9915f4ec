"""Draws one forecast answer: an answer in, a Plotly figure out. Knows no page and no service."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from schemas import BandOut, ForecastOut
from wording import long_date, short_date

# Okabe and Ito (2008): told apart by colour-blind readers; the lines differ in dash as well.
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#5f6b7a"
BANDS = {"95": "rgba(0,114,178,0.12)", "80": "rgba(0,114,178,0.24)"}  # widest first


def forecast_chart(forecast: ForecastOut) -> go.Figure:
    """Forecast, bands and the last close over exchange sessions, from the last known price on."""
    days = [long_date(day) for day in (forecast.as_of, *forecast.dates)]
    start = forecast.last_actual_price
    drawing = go.Figure()
    for level in (level for level in BANDS if level in forecast.intervals):
        add_band(drawing, days, start, level, forecast.intervals[level])
    add_line(drawing, days, [forecast.last_close] * len(days), "Last close, repeated", GREY, "dot")
    add_line(drawing, days, [start, *forecast.prices], "Forecast", BLUE, "solid")
    if forecast.smoothed_prices is not None:
        smooth = [start, *forecast.smoothed_prices]
        add_line(drawing, days, smooth, "Smoothed forecast (EMA)", VERMILION, "dash")
    if forecast.data.source == "synthetic":
        drawing.add_annotation(
            text="SYNTHETIC PRICES",
            **{"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5, "showarrow": False},
            **{"textangle": -18, "opacity": 0.3, "font": {"size": 54, "color": "#b00020"}},
        )
    shown = slice(0, None, max(1, len(days) // 8))
    drawing.update_xaxes(
        **{"type": "category", "title": "Exchange session", "tickvals": days[shown]},
        ticktext=[short_date(day) for day in (forecast.as_of, *forecast.dates)[shown]],
    )
    drawing.update_yaxes(title=f"{forecast.ticker} mid-price ({forecast.currency})")
    drawing.update_layout(
        **{"height": 460, "hovermode": "x unified", "margin": {"l": 10, "r": 10, "t": 40, "b": 10}},
        legend={"orientation": "h", "y": 1.12, "x": 0},
    )
    return drawing


def add_line(
    drawing: go.Figure, days: Sequence[str], prices: Sequence[float], name: str, *look: str
) -> None:
    """One line; `look` is its colour and its dash."""
    colour, dash = look
    drawing.add_scatter(
        x=days,
        y=prices,
        name=name,
        mode="lines",
        line={"color": colour, "dash": dash, "width": 2.5},
        hovertemplate=f"{name}: %{{y:,.2f}}<extra></extra>",
    )


def add_band(
    drawing: go.Figure, days: Sequence[str], start: float, level: str, band: BandOut
) -> None:
    """A filled band that opens at the last known price."""
    invisible = {"mode": "lines", "line": {"width": 0}, "legendgroup": level}
    upper = [start, *band.upper]
    drawing.add_scatter(x=days, y=upper, hoverinfo="skip", showlegend=False, **invisible)
    drawing.add_scatter(
        x=days,
        y=[start, *band.lower],
        customdata=upper,
        name=f"{level} % band",
        fill="tonexty",
        fillcolor=BANDS[level],
        hovertemplate=f"{level} % band: %{{y:,.2f}} to %{{customdata:,.2f}}<extra></extra>",
        **invisible,
    )
