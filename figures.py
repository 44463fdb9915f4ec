"""Figures kept with a run or asked for: arrays in, a Matplotlib figure out, no global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from contracts import FloatArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def history_figure(history: Mapping[str, Sequence[float]], title: str) -> Figure:
    """Loss (log scale), MAE where it was watched, and the learning rate, by epoch."""
    measured = [name for name in ("loss", "mae") if name in history]
    figure = _blank(4.5 * (len(measured) + 1), 4)
    panels = figure.subplots(1, len(measured) + 1)
    epochs = range(1, len(history["loss"]) + 1)
    for axes, name in zip(panels, measured, strict=False):
        axes.plot(epochs, history[name], label="training")
        axes.plot(epochs, history[f"val_{name}"], label="validation")
        label = name if name == "loss" else name.upper()
        axes.set(xlabel="epoch", ylabel=f"{label}, normalised scale", yscale="log")
        axes.legend()
    panels[0].set(title=title)
    panels[-1].step(epochs, history["learning_rate"], where="mid")
    panels[-1].set(xlabel="epoch", ylabel="learning rate", yscale="log")
    return figure


def forecast_figure(
    dates: np.ndarray, actual: FloatArray, forecasts: Mapping[str, FloatArray], title: str
) -> Figure:
    """What happened against one-step forecasts over the held-out sessions, in prices."""
    figure = _blank(10, 5)
    axes = figure.subplots()
    axes.plot(dates, actual, color="black", linewidth=1.5, label="actual mid-price")
    for name, values in forecasts.items():
        axes.plot(dates, values, linewidth=1, label=name)
    axes.set(xlabel="session", ylabel="price", title=title)
    axes.legend()
    figure.autofmt_xdate()
    return figure


def lines_figure(
    lines: Mapping[str, tuple[np.ndarray, FloatArray]], title: str, ylabel: str = "price, USD"
) -> Figure:
    """Labelled lines of (sessions, prices), drawn in their order; a line of one point as a dot."""
    figure = _blank(8, 4)
    axes = figure.subplots()
    for label, (dates, values) in lines.items():
        axes.plot(dates, values, "o" if len(values) == 1 else "-", linewidth=1, label=label)
    axes.set(xlabel="session", ylabel=ylabel, title=title)
    axes.legend()
    figure.autofmt_xdate()
    return figure


def bars_figure(bars: pd.DataFrame, title: str) -> Figure:
    """Close with the day's range on a log scale, over the volume.

    Args:
        bars: columns Date, High, Low, Close (prices) and Volume (shares); ascending.
    """
    figure = _blank(10, 6)
    price, volume = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    dates = bars["Date"].to_numpy()
    price.fill_between(
        dates, bars["Low"], bars["High"], alpha=0.4, linewidth=0, label="low to high"
    )
    price.plot(dates, bars["Close"], color="black", linewidth=0.8, label="close")
    price.set(ylabel="price", yscale="log", title=title)
    for formatter in (price.yaxis.set_major_formatter, price.yaxis.set_minor_formatter):
        formatter("{x:g}")
    price.legend()
    volume.fill_between(dates, bars["Volume"], step="mid", color="grey", linewidth=0)
    volume.set(xlabel="session", ylabel="shares")
    return figure


def as_png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    picture = BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _blank(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # importing it writes a cache into the user's home

    return Figure(figsize=(width, height), layout="constrained")
