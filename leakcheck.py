"""Prepares what a model sees again as of many past days, and compares every bit.

`python leakcheck.py AAPL`. Publishes nothing and fits nothing.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from config import Settings, get_settings
from contracts import (
    BAR_COLUMNS,
    FloatArray,
    ForecastingError,
    NotEnoughHistory,
    Prices,
    parse_ticker,
)
from data_pipeline import StockDataPipeline, training_bars, training_scale
from evaluation import Prepared, prepare
from features import daily_features, normalise, windowed_normalize
from inference import Network, TrainedModel, one_step_table
from leakage import Rows, first_leak
from panel import panel_inputs
from recipes import RECIPES, Recipe, find_recipe


class RepeatsItsInput(Network):
    """Stands for a network where only its inputs matter: it answers the newest one."""

    def __init__(self) -> None:
        pass

    def run(self, x: FloatArray) -> FloatArray:
        """Last inputs of each row, as often as outputs may be asked for: (n, 2 * features)."""
        return np.concatenate([x[:, -1], x[:, -1]], axis=1)


def seen(prices: Prices, settings: Settings, recipe: Recipe) -> dict[str, Rows]:
    """Everything that training, judging, calibrating, serving and watching make of the bars."""
    data = prepare(prices, settings, recipe)
    days, rows, bars = data.bars["Date"].to_numpy(), data.rows, prices.bars
    target = days[rows.last + 1]  # a row is used once its target is known
    echo, watched = RepeatsItsInput(), daily_features(bars)
    model = TrainedModel(echo, recipe.as_dict())
    table = one_step_table(model, data.bars)
    at = rows.last[rows.last >= model.first_origin]
    outlook = model.outlook(data.bars, at, 2)
    inputs = panel_inputs(data.bars)
    return {
        "bars": Rows(bars["Date"].to_numpy(), bars[list(BAR_COLUMNS[1:])].to_numpy(dtype=float)),
        "mid-prices": Rows(days, data.mids),
        "scaled series": Rows(days, windowed_normalize(data.mids, recipe.window_size)),
        "served inputs": Rows(days[recipe.unrollings - 1 :], _served(prices, settings, recipe)),
        "scales": Rows(target, np.column_stack([rows.lo, rows.hi])),
        "inputs": Rows(target, rows.x),
        "targets": Rows(target, rows.y),
        "forecast paths": Rows(days[at + 1], np.column_stack([outlook.point, outlook.scale])),
        "panel inputs": Rows(days, np.column_stack([inputs.x, inputs.unit])),
        "one-step table": Rows(table["date"].to_numpy(), table.drop(columns="date").to_numpy()),
        "drift features": Rows(watched["Date"].to_numpy(), watched.drop(columns="Date").to_numpy()),
    }


def _served(prices: Prices, settings: Settings, recipe: Recipe) -> FloatArray:
    """The scaled input that ends with each session, the newest one too."""
    scale = training_scale(prices, settings, recipe.window_size, recipe.scaling)
    length = recipe.unrollings
    windows = np.lib.stride_tricks.sliding_window_view(scale.mids, length)
    return normalise(windows, scale.lo[length - 1 :, None], scale.hi[length - 1 :, None])


def find_leak(ticker: str, settings: Settings, recipe: Recipe, days: int) -> str | None:
    """What a model would have been shown on past days, made with and without the later bars.

    Reads the bars anew as of each of `days` evenly spread sessions (STOCK_AS_OF), prepares them
    as training does, kept arrays included, and compares with the rows known by then.

    Returns:
        The first difference in words; None where not a bit differs.

    Raises:
        NotEnoughHistory: too few bars for the recipe.
    """
    prices = StockDataPipeline(ticker, settings).read()
    with tempfile.TemporaryDirectory() as scratch:
        apart = settings.model_copy(update={"data_dir": Path(scratch)})
        whole = seen(prices, apart, recipe)
        if (disorder := _disorder(prepare(prices, apart, recipe))) is not None:
            return disorder
        chosen = _past_days(training_bars(prices, settings.start_date), recipe, days)
        for day in tqdm(chosen, desc=recipe.name, unit="day", leave=False):
            as_of = settings.model_copy(update={"as_of": day})
            past = StockDataPipeline(ticker, as_of).read()
            if (leak := first_leak(whole, seen(past, apart, recipe), day)) is not None:
                return leak
    return None


def _disorder(data: Prepared) -> str | None:
    """Whether a part of the split holds targets as late as the next part's first."""
    parts = (data.split.train, data.split.validation, data.split.test)
    spans = [data.span(part) for part in parts]
    torn = any(early.last >= late.first for early, late in zip(spans, spans[1:], strict=False))
    return f"split: the parts overlap in time: {spans}" if torn else None


def _past_days(bars: pd.DataFrame, recipe: Recipe, count: int) -> list[date]:
    """Sessions from the first with a few sequences to the last but one, evenly spread."""
    least = TrainedModel(RepeatsItsInput(), recipe.as_dict()).first_origin + 1
    first, last = least + 10, len(bars) - 2
    if last < first:
        raise NotEnoughHistory(have=len(bars), need=first + 2, what="sessions to look back over")
    rows = np.unique(np.linspace(first, last, count).round().astype(int))
    return [day.date() for day in bars["Date"].iloc[rows]]


def main(argv: list[str] | None = None) -> int:
    """Check that nothing later reaches what a model sees. Exit 1 on a leak, 2 on bad input."""
    parser = argparse.ArgumentParser(prog="leakcheck.py", description=main.__doc__)
    parser.add_argument("ticker", help="symbol with prices at hand, such as AAPL")
    parser.add_argument("--recipe", help=f"one of {', '.join(RECIPES)} (default: every one)")
    parser.add_argument("--days", type=int, default=40, help="past days to try (default 40)")
    arguments = parser.parse_args(argv)
    leaks = 0
    try:
        settings, ticker = get_settings(), parse_ticker(arguments.ticker)
        logging.basicConfig(level=settings.log_level, format="%(levelname)s %(name)s %(message)s")
        for name in [arguments.recipe] if arguments.recipe else RECIPES:
            leak = find_leak(ticker, settings, find_recipe(name), max(1, arguments.days))
            leaks += leak is not None
            print(f"{ticker} {name}: " + (f"LEAK: {leak}" if leak else "no bit differs"))
    except ForecastingError as error:
        print(f"leakcheck.py: {error}", file=sys.stderr)
        return 2
    return int(leaks > 0)


if __name__ == "__main__":
    sys.exit(main())
