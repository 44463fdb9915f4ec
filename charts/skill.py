"""How a model did at past origins, by step, and how its training went, by epoch."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from charts.look import Palette, add_steps, lay_out
from schemas import RunHistoryOut, ScoresOut

LOOKS = {"lstm": ("solid", "circle"), "last_mid": ("dash", "square"), "arima": ("dot", "diamond")}
CURVES = {"train_loss": "Training", "val_loss": "Validation"}


def ratio_chart(scores: ScoresOut, names: Mapping[str, str], palette: Palette) -> go.Figure:
    """Every model's RMSE over that of the baseline, by step; below the line is better."""
    drawing = go.Figure()
    for n, (model, look) in enumerate(LOOKS.items()):
        rows = [row for row in scores.scores if row.model == model]
        ratios = [row.rmse_ratio for row in rows]
        steps = [row.step for row in rows]
        add_steps(drawing, steps, ratios, names[model], (palette.series[n], *look))
    drawing.add_hline(y=1, line={"color": palette.baseline, "width": 2})
    drawing.update_xaxes(title="Exchange sessions ahead")
    drawing.update_yaxes(title="RMSE / RMSE of the last close")
    return lay_out(drawing, 340)


def coverage_chart(scores: ScoresOut, palette: Palette) -> go.Figure:
    """Share of outcomes inside the model's bands by step, beside what was promised."""
    drawing = go.Figure()
    own = [row for row in scores.scores if row.model == "lstm"]
    steps = [row.step for row in own]
    for n, (level, dash, mark) in enumerate((("95", "solid", "circle"), ("80", "dash", "square"))):
        shares = [row.coverage_95 if level == "95" else row.coverage_80 for row in own]
        add_steps(drawing, steps, shares, f"{level} % band", (palette.series[n], dash, mark))
        drawing.add_hline(y=int(level) / 100, line={"color": palette.series[n], "width": 1})
    drawing.update_xaxes(title="Exchange sessions ahead")
    drawing.update_yaxes(title="Share of outcomes inside", tickformat=".0%")
    return lay_out(drawing, 340)


def reliability_chart(scores: ScoresOut, palette: Palette) -> go.Figure:
    """How often outcomes lay below each promised quantile; the diagonal is perfect."""
    drawing = go.Figure()
    ideal = {"color": palette.baseline, "width": 2}
    drawing.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line=ideal, name="Perfect")
    marks = ("circle", "square", "diamond", "triangle-up", "cross", "x")
    for n, row in enumerate(scores.reliability):
        look = (palette.series[n % len(palette.series)], "solid", marks[n % len(marks)])
        name = f"{row.step} ahead"
        add_steps(drawing, row.nominal, row.observed, name, look)
    drawing.update_xaxes(title="Promised share below", tickformat=".0%", range=[0, 1])
    drawing.update_yaxes(title="Observed share below", tickformat=".0%", range=[0, 1])
    return lay_out(drawing, 400)


def curves_chart(history: RunHistoryOut, palette: Palette) -> go.Figure:
    """Every metric of a run over its epochs."""
    drawing = go.Figure()
    marks = ("circle", "square", "diamond", "triangle-up", "cross", "x")
    for n, (name, curve) in enumerate(history.curves.items()):
        look = (palette.series[n % len(palette.series)], "solid", marks[n % len(marks)])
        add_steps(drawing, curve.epochs, curve.values, CURVES.get(name, name), look)
    drawing.update_xaxes(title="Epoch", type="category", nticks=12)
    drawing.update_yaxes(title="Loss, in the recipe's own unit")
    return lay_out(drawing, 340)
