"""How far a ticker has moved from what its model learnt, session by session."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from charts.look import Palette, date_axis, lay_out
from schemas import CheckedSessionOut

# by severity: how the mark looks, and whether it is filled with the alarm's colour
MARKS = {"none": "circle-open", "watch": "diamond-open", "alarm": "square", "critical": "x"}


def strain_chart(sessions: Sequence[CheckedSessionOut], palette: Palette) -> go.Figure:
    """The largest distance in units of its threshold; above the line something has moved."""
    drawing = go.Figure()
    days = [row.session for row in sessions]
    drawing.add_scatter(
        x=days,
        y=[row.strain for row in sessions],
        mode="lines",
        line={"color": palette.baseline, "width": 1},
        showlegend=False,
        hoverinfo="skip",
    )
    for severity in MARKS:
        if rows := [row for row in sessions if row.severity == severity]:
            add_marks(drawing, rows, severity, palette)
    drawing.add_hline(y=1, line={"color": palette.ink, "dash": "dash", "width": 2})
    date_axis(drawing, days)
    drawing.update_yaxes(title="Largest distance / threshold", rangemode="tozero")
    return lay_out(drawing, 300)


def add_marks(
    drawing: go.Figure, rows: Sequence[CheckedSessionOut], severity: str, palette: Palette
) -> None:
    """The sessions of one severity, in a shape of their own."""
    loud = severity in ("alarm", "critical")
    colour = palette.alarm if loud else palette.forecast
    drawing.add_scatter(
        x=[row.session for row in rows],
        y=[row.strain for row in rows],
        mode="markers",
        name=severity,
        marker={"symbol": MARKS[severity], "size": 8, "color": colour},
    )
