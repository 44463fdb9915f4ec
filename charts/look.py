"""Colours, axes and lines that all charts share, for a light and for a dark page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import plotly.graph_objects as go

SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours on one background. Lines differ in dash as well, never in colour alone."""

    forecast: str
    smoothed: str
    baseline: str
    ink: str  # what has happened
    page: str  # the page's own background
    band_80: str
    band_95: str
    alarm: str
    series: tuple[str, ...]


# Okabe and Ito (2008), told apart by colour-blind readers; darker or lighter for contrast
LIGHT = Palette(
    forecast="#0072B2",
    smoothed="#B84A00",
    baseline="#5f6b7a",
    ink="#28323e",
    page="#ffffff",
    band_80="rgba(0,114,178,0.26)",
    band_95="rgba(0,114,178,0.12)",
    alarm="#b00020",
    series=("#0072B2", "#B84A00", "#00795c", "#8f4a78", "#8a6d00", "#28323e"),
)
DARK = Palette(
    forecast="#56B4E9",
    smoothed="#F0A33A",
    baseline="#9fabb8",
    ink="#d5dce5",
    page="#11161d",
    band_80="rgba(86,180,233,0.30)",
    band_95="rgba(86,180,233,0.15)",
    alarm="#ff8a9a",
    series=("#56B4E9", "#F0A33A", "#2fc79f", "#d69fc4", "#f0e442", "#d5dce5"),
)


def palette_of(theme: str | None) -> Palette:
    """The colours of a page that is `dark`; of a light one otherwise."""
    return DARK if theme == "dark" else LIGHT


def lay_out(drawing: go.Figure, height: int = 440) -> go.Figure:
    """Legend above, margins for a phone, one box of figures per date."""
    drawing.update_layout(
        height=height,
        hovermode="x unified",
        margin={"l": 8, "r": 8, "t": 16, "b": 8},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
    )
    drawing.update_yaxes(automargin=True, title_standoff=8)
    drawing.update_xaxes(automargin=True, title_standoff=8)
    return drawing


def date_axis(drawing: go.Figure, days: Sequence[date], title: str = "Exchange session") -> None:
    """Dates below; weekends are left out where nothing trades on them."""
    # one bounded break only: many, one per holiday say, make Plotly a hundred times slower
    closed = all(day.weekday() < SATURDAY for day in days)
    breaks = [{"bounds": ["sat", "mon"]}] if closed else []
    drawing.update_xaxes(type="date", title=title, hoverformat="%-d %b %Y", rangebreaks=breaks)


def add_line(
    drawing: go.Figure,
    days: Sequence[date],
    values: Sequence[float | None],
    name: str,
    look: tuple[str, str],
) -> None:
    """One line; `look` is its colour and its dash."""
    colour, dash = look
    drawing.add_scatter(
        x=list(days),
        y=list(values),
        name=name,
        mode="lines",
        line={"color": colour, "dash": dash, "width": 2.5},
        hovertemplate=f"{name}: %{{y:,.2f}}<extra></extra>",
    )


def add_steps(
    drawing: go.Figure,
    steps: Sequence[float],
    values: Sequence[float | None],
    name: str,
    look: tuple[str, str, str],
) -> None:
    """A line with a mark at each step; `look` is its colour, dash and mark."""
    colour, dash, mark = look
    drawing.add_scatter(
        x=list(steps),
        y=list(values),
        name=name,
        mode="lines+markers",
        line={"color": colour, "dash": dash, "width": 2},
        marker={"symbol": mark, "size": 8},
    )


def faint(colour: str) -> str:
    """The colour of a band around a line of `#rrggbb`."""
    red, green, blue = (int(colour[n : n + 2], 16) for n in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.16)"


def mark_synthetic(drawing: go.Figure, palette: Palette) -> None:
    """Across the whole chart, so that no cut-out of it passes for market data."""
    drawing.add_annotation(
        text="SYNTHETIC PRICES",
        xref="paper",
        yref="paper",
        x=0.5,
        y=0.5,
        showarrow=False,
        textangle=-18,
        opacity=0.35,
        font={"size": 46, "color": palette.alarm},
    )
