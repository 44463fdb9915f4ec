"""Several tickers' pasts and forecasts in one unit."""

from __future__ import annotations

import plotly.graph_objects as go

from charts.fan import add_band
from charts.look import Palette, add_line, date_axis, faint, lay_out, mark_synthetic
from schemas import BandOut, ComparedOut, CompareOut

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def comparison_chart(compared: CompareOut, palette: Palette) -> go.Figure:
    """Each ticker's mid-prices, then its forecast with the 80 % band, in one colour and dash."""
    drawing = go.Figure()
    for n, series in enumerate(compared.series.values()):
        colour = palette.series[n % len(palette.series)]
        add_series(drawing, series, (colour, DASHES[n % len(DASHES)]))
    shown = list(compared.series.values())
    if any(series.data.source == "synthetic" for series in shown):
        mark_synthetic(drawing, palette)
    date_axis(drawing, [day for series in shown for day in (*series.history_dates, *series.dates)])
    drawing.update_yaxes(title="Mid-price, first session = 100")
    return lay_out(drawing)


def add_series(drawing: go.Figure, series: ComparedOut, look: tuple[str, str]) -> None:
    """One ticker; its forecast goes on from its last price."""
    days, start = (series.as_of, *series.dates), series.history[-1]
    if band := series.intervals.get("80"):
        opened = BandOut(lower=[start, *band.lower], upper=[start, *band.upper])
        add_band(drawing, days, opened, f"{series.ticker} 80 %", faint(look[0]))
    whole = (*series.history_dates, *series.dates)
    add_line(drawing, whole, [*series.history, *series.prices], series.ticker, look)
