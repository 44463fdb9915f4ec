"""Every model's forecasts from the same past origins of one ticker, as rows anybody can score.

Nothing dated after an origin influences its row: not a price, a scale, an error or a weight of the
network. Knows no score and no command line.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
from tqdm import tqdm

import forecasters
from config import Settings
from contracts import FloatArray, ModelFromTheFuture, NoChampion, NotEnoughHistory, Prices
from data_pipeline import training_bars
from features import mid_price, scaled_sequences, split_rows, trailing_extremes
from forecasters import LEVELS, Fan, Segment, Series
from inference import Network
from metrics import QUANTILES
from model_store import NETWORK, ModelStore
from predict import check_match
from recipes import Recipe
from scorecard import BAND_COLUMNS, KNOWN_COLUMNS, QUANTILE_COLUMNS, ROW_COLUMNS

BASELINES: dict[str, Callable[[Series, np.ndarray, int], Fan]] = {
    "arima": forecasters.arima,
    "last_mid": forecasters.last_mid,
    "last_close": forecasters.last_close,
    "drift": forecasters.drift,
}
BANDS = dict(zip(BAND_COLUMNS, (0.1, 0.9, 0.025, 0.975), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which origins, how far, and where the network comes from."""

    start: date
    end: date
    steps: int
    stride: int
    recipe: Recipe
    champion: bool
    refit_every: int | None  # sessions; None fits once, before the first origin
    settings: Settings


def walk(ticker: str, prices: Prices, plan: Plan) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Forecast rows (ROW_COLUMNS) and what was known at each origin (KNOWN_COLUMNS).

    Raises:
        NotEnoughHistory: too few sessions before the first origin, or none from it on.
        ModelFromTheFuture: the champion has seen sessions after the first origin.
    """
    bars = training_bars(prices, plan.settings.start_date)
    series = Series(
        bars["Date"].to_numpy(),
        mid_price(bars["High"].to_numpy(), bars["Low"].to_numpy()),
        bars["Close"].to_numpy(dtype=float),
    )
    origins = chosen_origins(series.days, plan)
    find = _champion_segments if plan.champion else _fitted_segments
    segments = find(ticker, prices, series, (origins, plan))
    fans = {"lstm": forecasters.lstm(series, origins, plan.steps, segments)}
    for name, forecast in BASELINES.items():
        fans[name] = forecast(series, origins, plan.steps)
    rows = [as_rows(ticker, name, series, (origins, fan)) for name, fan in fans.items()]
    return pd.concat(rows, ignore_index=True), known_at(ticker, series, origins, plan.recipe)


def chosen_origins(days: np.ndarray, plan: Plan) -> np.ndarray:
    """Positions from `start` to `end`, every `stride`-th, that have at least one later session.

    Raises:
        NotEnoughHistory: none.
    """
    first = int(np.searchsorted(days, np.datetime64(plan.start), side="left"))
    last = int(np.searchsorted(days, np.datetime64(plan.end), side="right")) - 1
    origins = np.arange(first, min(last, len(days) - 2) + 1, plan.stride)
    if len(origins) == 0:
        raise NotEnoughHistory(have=0, need=1, what=f"sessions from {plan.start} to {plan.end}")
    return origins


def _champion_segments(
    ticker: str, prices: Prices, series: Series, asked: tuple[np.ndarray, Plan]
) -> list[Segment]:
    origins, plan = asked
    champion = ModelStore(plan.settings.models_dir).champion(ticker)
    if champion is None:
        raise NoChampion(ticker)
    check_match(champion, prices)
    first_day = pd.Timestamp(series.days[origins[0]]).date()
    if champion.card.trained_through > first_day:
        raise ModelFromTheFuture(ticker, champion.card.trained_through, first_day)
    fitted_through = np.datetime64(champion.card.validation.last)
    return [
        Segment(
            network=Network(champion.path / NETWORK),
            unrollings=int(champion.card.recipe["unrollings"]),
            window_size=int(champion.card.recipe["window_size"]),
            unseen_from=int(np.searchsorted(series.days, fitted_through, side="left")),
            first=0,
            until=len(series.mids),
        )
    ]


def _fitted_segments(
    ticker: str, _: Prices, series: Series, asked: tuple[np.ndarray, Plan]
) -> list[Segment]:
    """Fit at the first origin and, unless refitting is off, again every so many sessions."""
    origins, plan = asked
    begin, end = int(origins[0]), int(origins[-1]) + 1
    starts = list(range(begin, end, plan.refit_every or (end - begin)))
    return [
        replace(fit_as_of(ticker, series.mids[: at + 1], plan), first=at, until=until)
        for at, until in zip(starts, [*starts[1:], end], strict=True)
    ]


def fit_as_of(ticker: str, mids: FloatArray, plan: Plan) -> Segment:
    """A network fitted on these mids alone; its last held-out part makes the bands."""
    from model import LSTMStockModel

    recipe = plan.recipe
    rows = scaled_sequences(mids, recipe.unrollings, recipe.window_size)
    split = split_rows(len(rows.y), recipe.train_test_split, recipe.validation_split)
    train, held = rows.rows(split.train), rows.rows(split.validation)
    network = LSTMStockModel(recipe, seed=plan.settings.seed)
    with (
        tempfile.TemporaryDirectory() as scratch,
        tqdm(total=recipe.epochs, desc=f"{ticker} fit", unit="epoch", leave=False) as bar,
    ):
        network.train(
            train.x,
            train.y,
            held.x,
            held.y,
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            on_epoch_end=lambda epoch, _: _advance(bar, epoch),
        )
        network.export_onnx(Path(scratch) / NETWORK)
        fitted = Network(Path(scratch) / NETWORK)
    unseen = int(rows.last[split.test][0])
    return Segment(fitted, recipe.unrollings, recipe.window_size, unseen, 0, 0)


def _advance(bar: tqdm[NoReturn], epoch: int) -> None:
    bar.update(epoch + 1 - bar.n)


def as_rows(ticker: str, model: str, series: Series, made: tuple[np.ndarray, Fan]) -> pd.DataFrame:
    """A fan as ROW_COLUMNS, without the steps whose outcome is not known yet."""
    origins, fan = made
    steps = fan.point.shape[1]
    target = origins[:, None] + np.arange(1, steps + 1)
    known = target < len(series.mids)
    at = np.repeat(origins[:, None], steps, axis=1)[known]
    flat = {
        "ticker": ticker,
        "model": model,
        "origin": series.days[at],
        "step": np.broadcast_to(np.arange(1, steps + 1), target.shape)[known],
        "date": series.days[target[known]],
        "point": fan.point[known],
    }
    place = {level: column for column, level in enumerate(LEVELS)}
    for name, level in zip(QUANTILE_COLUMNS, QUANTILES, strict=True):
        flat[name] = fan.quantiles[..., place[level]][known]
    for name, level in BANDS.items():
        flat[name] = fan.quantiles[..., place[level]][known]
    flat["actual"] = series.mids[target[known]]
    return pd.DataFrame(flat)[list(ROW_COLUMNS)]


def known_at(ticker: str, series: Series, origins: np.ndarray, recipe: Recipe) -> pd.DataFrame:
    """Last mid, MinMax window and MASE scale, each from sessions up to its origin."""
    lo, hi = trailing_extremes(series.mids, recipe.window_size)
    before = series.mids[: int(origins[0]) + 1]
    return pd.DataFrame(
        {
            "ticker": ticker,
            "origin": series.days[origins],
            "last_mid": series.mids[origins],
            "lo": lo[origins],
            "hi": hi[origins],
            "mase_scale": float(np.mean(np.abs(np.diff(before)))),
        }
    )[list(KNOWN_COLUMNS)]
