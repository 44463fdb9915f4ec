"""What a base is worth: judged on the last year and on past errors, one ticker in memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

import metrics
from bands import MEMORY, Outlook, errors_of
from contracts import FloatArray, Skill
from inference import TrainedModel
from panel import panel_inputs, targets
from pretraining.panels import YEAR, Panel
from recipes import Recipe

if TYPE_CHECKING:
    from model import LSTMStockModel

STEPS = 90  # as far as a forecast may reach
WHOLE = 60  # tickers whose last MEMORY errors are all kept; of more tickers, evenly fewer of each
KEPT_TEMPLATES = 400

Said = tuple[FloatArray, FloatArray, FloatArray]


def last_year(network: LSTMStockModel, panel: Panel, recipe: Recipe) -> list[Said]:
    """Of each session of each judge's last year: what a network said, what came, the last close.

    All as logs in units, the last close from the last mid, the others from the last close.
    """
    found: list[Said] = []
    for ticker in panel.judges:
        inputs = panel_inputs(panel.bars[ticker])
        last = np.arange(len(inputs.mids) - YEAR, len(inputs.mids) - 1)
        said = network.outputs(inputs.windows(last, recipe.unrollings))[:, 0]
        gap = np.log(inputs.closes / inputs.mids) / inputs.unit
        found.append((said, targets(inputs, (1,), len(inputs.mids))[last, 0], gap[last]))
    return found


def skill(said: list[Said], weight: float) -> Skill:
    """One step ahead over the last year: mean of the tickers' ratios, days as the test's rows.

    Two tickers of one day are no two outcomes, so the test is on the day's mean loss.
    """
    ratios = [
        metrics.rmse(came, weight * move) / metrics.rmse(came, np.zeros_like(came))
        for move, came, _ in said
    ]
    rows = min(len(came) for _, came, _ in said)
    loss = np.mean([(came - weight * move)[-rows:] ** 2 for move, came, _ in said], axis=0)
    baseline = np.mean([came[-rows:] ** 2 for _, came, _ in said], axis=0)
    p_value = metrics.equal_accuracy(loss, baseline)
    ratio = float(np.mean(ratios))
    hits = np.mean(
        [np.mean(np.sign(gap + weight * move) == np.sign(gap + came)) for move, came, gap in said]
    )
    return Skill(
        baseline="last_close",
        rmse_ratio=ratio,
        direction_accuracy=float(hits),
        p_value=p_value,
        verdict=metrics.verdict(ratio, p_value),
    )


def origins(model: TrainedModel, bars: pd.DataFrame, every: int = 1) -> np.ndarray:
    """Of the last MEMORY that have an outcome each one that is `every` from the next."""
    last = len(bars) - 1
    return np.arange(max(model.first_origin, last - MEMORY), last)[::-every][::-1]


def past_errors(model: TrainedModel, panel: Panel) -> FloatArray:
    """Standardised errors of every judge, (n, STEPS), one ticker after the other."""
    every, found = math.ceil(len(panel.judges) / WHOLE), []
    for ticker in panel.judges:
        bars = panel.bars[ticker]
        at = origins(model, bars, every)
        outlook: Outlook = model.outlook(bars, at, STEPS)
        mids = (bars["High"].to_numpy(dtype=float) + bars["Low"].to_numpy(dtype=float)) / 2
        found.append(errors_of(outlook, mids, at))
    return np.concatenate(found)


def thinned(rows: FloatArray) -> FloatArray:
    """KEPT_TEMPLATES of them, evenly spread."""
    chosen = np.linspace(0, len(rows) - 1, min(KEPT_TEMPLATES, len(rows))).round().astype(int)
    return np.asarray(rows[chosen])
