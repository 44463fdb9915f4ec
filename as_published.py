"""One run of a published system on a ticker's prices, in MLflow, to compare with and nothing else.

Its scale has seen the test rows. It writes no bundle, registers no version and moves no champion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from config import Settings
from contracts import BadSettings, Prices
from data_pipeline import training_bars
from figures import history_figure
from published_fits import Lot, cut, fit_published
from published_systems import SYSTEMS, Series, System
from recipes import Recipe
from registry import Registry
from versions import git_revision

ONLY = "for comparison only: its scale has seen the test rows; not bundled, registered or served"
NAMES = {"adjusted_close": "Adj Close"}  # where a published table calls a column otherwise
SCORES = ("mse", "mae", "rmse", "r2", "direction", "direction_spec")


def run_as_published(prices: Prices, recipe: Recipe, settings: Settings) -> str:
    """Fit with the published, leaking scale, in a run tagged `as_published=true`.

    Returns:
        The figures, and one line that says what they are for.

    Raises:
        BadSettings: the recipe is of no published system.
        NotEnoughHistory: too few bars for the recipe.
        TrackingUnavailable: MLflow does not answer.
    """
    if recipe.name not in SYSTEMS:
        names = ", ".join(SYSTEMS)
        raise BadSettings(f"--as-published has no {recipe.name!r}; choose --recipe of: {names}")
    system = replace(SYSTEMS[recipe.name], test_from=None)  # whose days are another table's
    changes: dict[str, Any] = dict(system.changes)
    recipe = replace(recipe, **changes)
    lot = cut(_series(prices, system, settings), system, recipe)
    registry = Registry(settings.mlflow_tracking_uri)
    with registry.run(prices.ticker, _facts(prices, system, recipe, settings)) as run:
        run.tag(as_published="true", recipe=recipe.name, data_source=prices.provenance.source)

        def ended(epoch: int, logs: Mapping[str, float]) -> None:
            run.log_epoch(epoch, {"train_loss": logs["loss"], "val_loss": logs["val_loss"]})

        found = fit_published(lot, system, recipe, settings.seed, ended)
        run.log_metrics({f"as_published_{k}": _number(found[k]) for k in SCORES})
        run.log_figure(history_figure(found["history"], prices.ticker), "training_history.png")
    return _said(prices.ticker, recipe, lot, found)


def _series(prices: Prices, system: System, settings: Settings) -> Series:
    """The prices that the system forecasts: of its own columns, by the names our bars have."""
    bars = training_bars(prices, settings.start_date)
    columns = [NAMES.get(name, name) for name in system.sources[0].columns]
    values = bars[columns].to_numpy(dtype=float).mean(axis=1)
    return Series(bars["Date"].to_numpy(), values, bars["Close"].to_numpy(dtype=float))


def _facts(
    prices: Prices, system: System, recipe: Recipe, settings: Settings
) -> Mapping[str, object]:
    """What the run logs: the recipe, the scale and the data really used."""
    fields = {k: v for k, v in recipe.as_dict().items() if k not in ("name", "description")}
    return fields | {
        "recipe": recipe.name,
        "scaler": system.scaler,
        "chosen_on": system.chosen_on,
        "seed": settings.seed,
        "start_date": settings.start_date,
        "data_source": prices.provenance.source,
        "data_sha256": prices.provenance.sha256,
        "git_revision": git_revision() or "unknown",
    }


def _said(ticker: str, recipe: Recipe, lot: Lot, found: Mapping[str, Any]) -> str:
    last = lot.scores(lot.series.values[lot.first - 1 : -1])
    return (
        f"{ticker}: {recipe.name} as published: MSE {found['mse']:.6f}, MAE {found['mae']:.4f}, "
        f"RMSE {found['rmse']:.2f} in prices, differences {found['direction_spec']:.1%}; the last "
        f"price on the same {len(lot.y) - lot.split.test.start} rows: MSE {last['mse']:.6f}\n"
        f"  {ONLY}"
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
