"""HTML pages: a backtest's forecast rows and scores, a search's trials. Computes no score."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from metrics import QUANTILES
from scorecard import BASELINE, QUANTILE_COLUMNS

COLOURS = {  # Okabe and Ito's, told apart by everybody
    "lstm": "#0072B2",
    "arima": "#D55E00",
    "last_mid": "#999999",
    "last_close": "#000000",
    "drift": "#009E73",
}
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{padding:.3rem .7rem;border-bottom:1px solid #ddd}"
    "td:nth-child(n+2){text-align:right;font-variant-numeric:tabular-nums}"
)
HEADLINES = {
    "one_step_rmse_ratio": "RMSE, 1 session / last close",
    "last_step_rmse_ratio": "RMSE, last step / last close",
    "one_step_direction_accuracy": "direction, 1 session",
    "crps_ratio": "CRPS / last close",
    "coverage_80": "in the 80 % band",
    "coverage_95": "in the 95 % band",
}


def write_report(path: Path, rows: pd.DataFrame, answer: Mapping[str, Any]) -> None:
    """One self-contained page: headlines, then per ticker error, coverage, reliability and fans."""
    figures = [
        plot
        for ticker in answer["tickers"]
        for own in [rows[rows["ticker"] == ticker]]
        for plot in (steps_figure(ticker, answer["tickers"][ticker]), fans_figure(ticker, own))
    ]
    figures.insert(0, reliability_figure(rows))
    plots = "".join(
        figure.to_html(full_html=False, include_plotlyjs="inline" if number == 0 else False)
        for number, figure in enumerate(figures)
    )
    plan = ", ".join(f"{escape(str(k))} {escape(str(v))}" for k, v in answer["plan"].items())
    path.write_text(
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Backtest</title>"
        f"<style>{STYLE}</style><h1>Walk-forward backtest</h1><p>{plan}</p>"
        f"{_headlines(answer['pooled'])}"
        "<p>Ratios are to repeating the last close on the same rows; below 1 is better. "
        "Means over tickers.</p>"
        f"{plots}</html>\n",
        "utf-8",
    )


def _headlines(pooled: Mapping[str, Mapping[str, float | None]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in HEADLINES.values())
    body = "".join(
        f"<tr><td>{escape(model)}</td>"
        + "".join(f"<td>{_figure(found[name])}</td>" for name in HEADLINES)
        + "</tr>"
        for model, found in pooled.items()
    )
    return f"<table><tr><th>model</th>{head}</tr>{body}</table>"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def steps_figure(ticker: str, scores: Mapping[str, Any]) -> go.Figure:
    """Error relative to the last close, and share inside each band, by step."""
    figure = make_subplots(1, 3, subplot_titles=("RMSE / last close", "in 80 %", "in 95 %"))
    baseline = scores[BASELINE]["steps"]
    for model, found in scores.items():
        steps = sorted(found["steps"], key=int)
        look = {"name": model, "legendgroup": model, "line": {"color": COLOURS.get(model)}}
        ratio = [_ratio(found["steps"][s]["rmse"], baseline[s]["rmse"]) for s in steps]
        figure.add_scatter(x=steps, y=ratio, row=1, col=1, **look)
        for column, level in ((2, "80"), (3, "95")):
            inside = [found["steps"][s][f"coverage_{level}"] for s in steps]
            figure.add_scatter(x=steps, y=inside, row=1, col=column, showlegend=False, **look)
    for column, promised in ((2, 0.8), (3, 0.95)):
        figure.add_hline(y=promised, line_dash="dot", row=1, col=column)
    figure.update_xaxes(title_text="sessions ahead")
    return figure.update_layout(title=f"{ticker} by step", template="plotly_white", height=380)


def _ratio(ours: float, theirs: float) -> float | None:
    return ours / theirs if theirs else None


def reliability_figure(rows: pd.DataFrame) -> go.Figure:
    """Share of outcomes below each quantile, all tickers and steps; the diagonal is right."""
    figure = go.Figure()
    for model, own in rows.groupby("model", sort=False):
        below = own[list(QUANTILE_COLUMNS)].to_numpy() >= own[["actual"]].to_numpy()
        figure.add_scatter(
            x=list(QUANTILES),
            y=below.mean(axis=0),
            name=str(model),
            line={"color": COLOURS.get(str(model))},
        )
    figure.add_scatter(x=[0, 1], y=[0, 1], name="right", line={"dash": "dot", "color": "#bbb"})
    figure.update_xaxes(title_text="quantile promised", range=[0, 1])
    figure.update_yaxes(title_text="share of outcomes below it", range=[0, 1])
    return figure.update_layout(title="Reliability", template="plotly_white", height=420)


def fans_figure(ticker: str, rows: pd.DataFrame, count: int = 4) -> go.Figure:
    """The LSTM's fan at origins spread over the walk, with the last close and what came."""
    origins = rows["origin"].drop_duplicates().sort_values().to_numpy()
    chosen = origins[np.unique(np.linspace(0, len(origins) - 1, count).astype(int))]
    titles = [f"from {pd.Timestamp(origin):%Y-%m-%d}" for origin in chosen]
    figure = make_subplots(1, len(chosen), subplot_titles=titles)
    for column, origin in enumerate(chosen, 1):
        at = rows[rows["origin"] == origin].sort_values("step")
        own, close = at[at["model"] == "lstm"], at[at["model"] == BASELINE]
        for level, shade in (("95", "rgba(0,114,178,.15)"), ("80", "rgba(0,114,178,.3)")):
            figure.add_scatter(
                x=[*own["date"], *own["date"][::-1]],
                y=[*own[f"upper_{level}"], *own[f"lower_{level}"][::-1]],
                **{"fill": "toself", "fillcolor": shade, "mode": "lines", "line": {"width": 0}},
                **{"name": f"{level} % band", "showlegend": column == 1},
                **{"row": 1, "col": column},
            )
        for name, x, y, colour in (
            ("lstm", own["date"], own["point"], COLOURS["lstm"]),
            ("last close", close["date"], close["point"], "#777777"),
            ("what came", own["date"], own["actual"], "#000000"),
        ):
            look = {"name": name, "line": {"color": colour}, "showlegend": column == 1}
            figure.add_scatter(x=x, y=y, mode="lines", row=1, col=column, **look)
    figure.update_yaxes(title_text="mid-price", col=1)
    return figure.update_layout(title=f"{ticker}: fans", template="plotly_white", height=380)


def trials_figure(trials: pd.DataFrame, objective: str, title: str) -> go.Figure:
    """One line a trial through every field's value to its objective (lower is better).

    Args:
        trials: one row a trial: the fields that were varied, numbers or words, and `objective`;
            rows without a finite objective are left out.
        objective: the column that colours the lines, the last axis.
        title: over the plot.
    """
    shown = trials[np.isfinite(trials[objective])]
    axes = [_axis(name, shown[name]) for name in shown.columns if name != objective]
    figure = go.Figure()
    figure.add_parcoords(
        dimensions=[*axes, _axis(objective, shown[objective])],
        line={
            "color": shown[objective],
            "colorscale": "Viridis",
            "reversescale": True,
            "showscale": True,
        },
    )
    return figure.update_layout(title=title, template="plotly_white", height=480)


def _axis(name: str, values: pd.Series) -> dict[str, Any]:
    if pd.api.types.is_numeric_dtype(values):
        return {"label": name, "values": values}
    codes, words = pd.factorize(values, sort=True)
    return {"label": name, "values": codes, "tickvals": [*range(len(words))], "ticktext": words}


def trials_page(trials: pd.DataFrame, objective: str, title: str) -> str:
    """The plot of `trials_figure` as one self-contained HTML page."""
    return str(trials_figure(trials, objective, title).to_html(include_plotlyjs="inline"))
