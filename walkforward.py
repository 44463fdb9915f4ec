"""Every model's forecasts from the same past origins of one ticker, as rows anybody can score.

Nothing dated after an origin influences its row: not a price, a scale, an error or a weight of the
network. A walk is a pure task: it knows no settings, no store and no folder but a scratch one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
from tqdm import tqdm

import forecasters
from bands import LEVELS
from bases import Base, PackedBase
from contest import PackedChampion
from contracts import NotEnoughHistory, Prices
from data_pipeline import training_bars
from features import scaled_sequences, split_rows, trailing_extremes
from fitting import Lesson, Parts, fit
from forecasters import Fan, Segment, Series
from inference import Network, TrainedModel
from metrics import QUANTILES
from model_store import NETWORK
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
    seed: int
    start_date: date  # earlier bars take no part


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """All that one ticker's walk is made of."""

    prices: Prices
    plan: Plan
    champion: PackedChampion | None
    bases: tuple[PackedBase | None, ...] = ()  # of each of `fits`, where there is no champion


def walk(ticker: str, asked: Walk) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Forecast rows (ROW_COLUMNS) and what was known at each origin (KNOWN_COLUMNS).

    Raises:
        NotEnoughHistory: too few sessions before the first origin, or none from it on.
    """
    plan = asked.plan
    series = Series.of(training_bars(asked.prices, plan.start_date))
    origins = chosen_origins(series.days, plan)
    if asked.champion is not None:
        segments = [_published(asked.champion, series)]
    else:
        segments = list(_fitted(ticker, asked, series, origins))
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


def fits(origins: np.ndarray, plan: Plan) -> list[tuple[int, int]]:
    """When to fit: the position that ends what a network is fitted to, and of the next such one.

    At the first origin and, unless refitting is off, again every so many sessions; none that no
    origin would use.
    """
    begin, end = int(origins[0]), int(origins[-1]) + 1
    starts = list(range(begin, end, plan.refit_every or (end - begin)))
    spans = zip(starts, [*starts[1:], end], strict=True)
    return [span for span in spans if ((origins >= span[0]) & (origins < span[1])).any()]


def _published(champion: PackedChampion, series: Series) -> Segment:
    model = champion.model()
    through = np.datetime64(champion.card.validation.last)  # it was chosen by outcomes up to here
    unseen = int(np.searchsorted(series.days, through, side="left"))
    return Segment(model, champion.pool, errors_from(model, unseen), 0, len(series.mids))


def errors_from(model: TrainedModel, unseen: int) -> int:
    """The first origin whose error may make bands.

    A network trained on one ticker alone errs less where it was fitted, so only later origins
    count. One of many tickers has hardly room to fit this one, and a thousand origins say more
    than the few after its fit.
    """
    return model.first_origin if model.mode == "direct" else unseen


def _fitted(ticker: str, asked: Walk, series: Series, origins: np.ndarray) -> Iterator[Segment]:
    for (at, until), packed in zip(fits(origins, asked.plan), asked.bases, strict=True):
        with tempfile.TemporaryDirectory() as scratch:
            base = packed.unpacked(Path(scratch) / "base") if packed else None
            fitted = fit_as_of(ticker, series.bars.iloc[: at + 1], base, asked.plan)
        yield replace(fitted, first=at, until=until)


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
        fitted = fit(lesson, recipe, plan.seed, lambda epoch, _: _advance(bar, epoch))
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
