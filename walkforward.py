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
from bands import LEVELS
from base_training import base_for
from bases import Base, pool_of
from config import Settings
from contracts import ModelFromTheFuture, NoChampion, NotEnoughHistory, Prices
from data_pipeline import training_bars
from features import scaled_sequences, split_rows, trailing_extremes
from fitting import Lesson, Parts, fit
from forecasters import Fan, Segment, Series
from inference import Network, TrainedModel
from metrics import QUANTILES
from model_store import NETWORK, ModelStore
from recipes import Recipe
from scorecard import BAND_COLUMNS, KNOWN_COLUMNS, QUANTILE_COLUMNS, ROW_COLUMNS
from serving import check_match

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
    series = Series.of(training_bars(prices, plan.settings.start_date))
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
    model = TrainedModel(Network(champion.path / NETWORK), champion.card.recipe)
    pool = pool_of(champion.card, plan.settings)
    fitted_through = np.datetime64(champion.card.validation.last)
    unseen = int(np.searchsorted(series.days, fitted_through, side="left"))
    begin = errors_from(model, unseen)
    return [Segment(model, pool, begin, first=0, until=len(series.mids))]


def errors_from(model: TrainedModel, unseen: int) -> int:
    """The first origin whose error may make bands.

    A network trained on one ticker alone errs less where it was fitted, so only later origins
    count. One of many tickers has hardly room to fit this one, and a thousand origins say more
    than the few after its fit.
    """
    return model.first_origin if model.mode == "direct" else unseen


def _fitted_segments(
    ticker: str, prices: Prices, series: Series, asked: tuple[np.ndarray, Plan]
) -> list[Segment]:
    """Fit at the first origin and, unless refitting is off, again every so many sessions."""
    origins, plan = asked
    begin, end = int(origins[0]), int(origins[-1]) + 1
    starts = list(range(begin, end, plan.refit_every or (end - begin)))
    segments = []
    for at, until in zip(starts, [*starts[1:], end], strict=True):
        if not ((origins >= at) & (origins < until)).any():
            continue
        day = pd.Timestamp(series.days[at]).date()
        base = base_for(day, plan.recipe, plan.settings, prices)
        known = series.bars.iloc[: at + 1]
        segments.append(replace(fit_as_of(ticker, known, base, plan), first=at, until=until))
    return segments


def fit_as_of(ticker: str, bars: pd.DataFrame, base: Base | None, plan: Plan) -> Segment:
    """A network fitted on these bars alone."""
    recipe = plan.recipe
    series = Series.of(bars)
    rows = scaled_sequences(series.mids, recipe.unrollings, recipe.window_size, recipe.scaling)
    split = split_rows(len(rows.y), recipe.train_test_split, recipe.validation_split)
    train, held = split.train, split.validation
    unseen = int(rows.last[split.test][0])
    if recipe.has_base:  # nothing is held out for the bands, see errors_from
        cut = len(rows.y) - max(1, int(len(rows.y) * recipe.validation_split))
        train, held = slice(0, cut), slice(cut, len(rows.y))
    parts = Parts(*(range(int(rows.last[p][0]), int(rows.last[p][-1]) + 1) for p in (train, held)))
    with (
        tempfile.TemporaryDirectory() as scratch,
        tqdm(total=recipe.epochs, desc=f"{ticker} fit", unit="epoch", leave=False) as bar,
    ):
        lesson = Lesson(bars, rows, parts, base)
        fitted = fit(lesson, recipe, plan.settings.seed, lambda epoch, _: _advance(bar, epoch))
        fitted.network.export_onnx(Path(scratch) / NETWORK)
        model = TrainedModel(Network(Path(scratch) / NETWORK), recipe.as_dict())
    return Segment(model, fitted.pool, errors_from(model, unseen), 0, 0)


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
    for name, level in BANDS.items():  # a band always holds its own point
        hold = np.minimum if level < 0.5 else np.maximum
        flat[name] = hold(fan.quantiles[..., place[level]], fan.point)[known]
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
