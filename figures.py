"""Figures kept with a training run: arrays in, a Matplotlib figure out; no global plot state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from contracts import FloatArray


def history_figure(history: Mapping[str, Sequence[float]], title: str) -> Figure:
    """Training and validation loss (log scale) and the learning rate by epoch."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    loss, rate = figure.subplots(1, 2)
    epochs = range(1, len(history["loss"]) + 1)
    loss.plot(epochs, history["loss"], label="training")
    loss.plot(epochs, history["val_loss"], label="validation")
    loss.set(xlabel="epoch", ylabel="loss, normalised scale", yscale="log", title=title)
    loss.legend()
    rate.step(epochs, history["learning_rate"], where="mid")
    rate.set(xlabel="epoch", ylabel="learning rate", yscale="log")
    return figure


def forecast_figure(
    dates: np.ndarray, actual: FloatArray, forecasts: Mapping[str, FloatArray], title: str
) -> Figure:
    """What happened against one-step forecasts over the held-out sessions, in prices."""
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot(dates, actual, color="black", linewidth=1.5, label="actual mid-price")
    for name, values in forecasts.items():
        axes.plot(dates, values, linewidth=1, label=name)
    axes.set(xlabel="session", ylabel="price", title=title)
    axes.legend()
    figure.autofmt_xdate()
    return figure
