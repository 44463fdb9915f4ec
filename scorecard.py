"""Forecast rows in, tables of scores out: whoever has the rows can recompute every figure.

The rows are those of `python backtest.py --forecasts`: one per ticker, model, origin and step, with
ROW_COLUMNS. Knows no model, no file and no price that is not in the rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

import metrics
from contracts import FloatArray
from features import normalise

BASELINE = "last_close"
QUANTILE_COLUMNS = tuple(f"q{round(100 * level):02d}" for level in metrics.QUANTILES)
BAND_COLUMNS = ("lower_80", "upper_80", "lower_95", "upper_95")
ROW_COLUMNS = (
    *("ticker", "model", "origin", "step", "date", "point"),
    *QUANTILE_COLUMNS,
    *BAND_COLUMNS,
    "actual",
)
BLOCK_SESSIONS = 30  # of the bootstrap, or the horizon where that is longer

# What was known at each origin, one row per ticker and origin: for the relative and scaled scores.
KNOWN_COLUMNS = ("ticker", "origin", "last_mid", "lo", "hi", "mase_scale")


def score(rows: pd.DataFrame, known: pd.DataFrame, stride: int) -> dict[str, Any]:
    """Every score of every ticker and model, by step and over all steps.

    Args:
        rows: ROW_COLUMNS; every model has the same tickers, origins and steps.
        known: KNOWN_COLUMNS for each ticker and origin.
        stride: sessions from one origin to the next, which sets the length of blocks.

    Returns:
        `{ticker: {model: {"steps": {step: scores}, "overall": scores, "against": {...}}}}`, prices
        in price units, ratios and shares as such; undefined figures are None.

    Raises:
        ValueError: the models were not asked the same questions.
    """
    _refuse_unequal(rows)
    joined = rows.merge(known, on=["ticker", "origin"], validate="many_to_one")
    return {
        str(ticker): _of_ticker(part, stride)
        for ticker, part in joined.groupby("ticker", sort=False)
    }


def _refuse_unequal(rows: pd.DataFrame) -> None:
    keys = ["origin", "step"]
    for ticker, part in rows.groupby("ticker"):
        asked = [
            own.sort_values(keys)[[*keys, "actual"]].reset_index(drop=True)
            for _, own in part.groupby("model")
        ]
        if not all(asked[0].equals(other) for other in asked[1:]):
            raise ValueError(f"{ticker}: the models were not judged on the same rows")


def _of_ticker(part: pd.DataFrame, stride: int) -> dict[str, Any]:
    baseline = part[part["model"] == BASELINE]
    return {
        str(model): {
            "steps": {
                step: _scores(own[own["step"] == step]) for step in own["step"].unique().tolist()
            },
            "overall": _scores(own),
            "against": _against(own, baseline, stride),
        }
        for model, own in part.groupby("model", sort=False)
    }


def _scores(rows: pd.DataFrame) -> dict[str, float | None]:
    """All scores of one model over some rows."""
    actual, point = _columns(rows, "actual"), _columns(rows, "point")
    last = _columns(rows, "last_mid")
    lo, hi = _columns(rows, "lo"), _columns(rows, "hi")
    scaled, scaled_point = normalise(actual, lo, hi), normalise(point, lo, hi)
    relative = point / last - actual / last
    found = {
        "rows": float(len(rows)),
        "mse": metrics.mse(actual, point),
        "mae": metrics.mae(actual, point),
        "rmse": metrics.rmse(actual, point),
        "mase": metrics.mase(actual, point, float(_columns(rows, "mase_scale").mean())),
        "r2": metrics.r2(actual, point),
        "relative_mae": float(np.mean(np.abs(relative))),
        "relative_rmse": float(np.sqrt(np.mean(relative**2))),
        "normalised_mse": metrics.mse(scaled, scaled_point),
        "normalised_mae": metrics.mae(scaled, scaled_point),
        "normalised_rmse": metrics.rmse(scaled, scaled_point),
        "direction_accuracy": metrics.direction_accuracy(last, actual, point),
        "direction_accuracy_spec": _spec_direction(rows),
    }
    return _defined(found | _band_scores(rows))


def _band_scores(rows: pd.DataFrame) -> dict[str, float]:
    actual, last = _columns(rows, "actual"), _columns(rows, "last_mid")
    losses = row_crps(rows)
    found = {"crps": float(losses.mean()), "relative_crps": float((losses / last).mean())}
    for level in ("80", "95"):
        lower, upper = _columns(rows, f"lower_{level}"), _columns(rows, f"upper_{level}")
        found[f"coverage_{level}"] = metrics.coverage(actual, lower, upper)
        found[f"width_{level}"] = float(np.mean(upper - lower))
        found[f"relative_width_{level}"] = float(np.mean((upper - lower) / last))
        found[f"winkler_{level}"] = float(
            metrics.winkler(actual, lower, upper, float(level) / 100).mean()
        )
    return found


def _spec_direction(rows: pd.DataFrame) -> float:
    """The specification's form over successive origins, as a mean over the steps."""
    shares = [
        metrics.direction_accuracy_spec(_columns(part, "actual"), _columns(part, "point"))
        for _, part in rows.sort_values("origin").groupby("step")
    ]
    known = [share for share in shares if not math.isnan(share)]
    return float(np.mean(known)) if known else math.nan


def _against(own: pd.DataFrame, baseline: pd.DataFrame, stride: int) -> dict[str, float | None]:
    """Ratios to repeating the last close with bootstrap intervals and Diebold-Mariano p-values."""
    found: dict[str, float] = {}
    for name, step in (("one_step", 1), ("last_step", int(own["step"].max()))):
        ours, theirs = (_squared(part, step) for part in (own, baseline))
        horizon, block = _overlap(step, stride)
        found[f"{name}_rmse_ratio"] = _ratio(ours, theirs, root=True)
        low, high = metrics.ratio_interval(ours, theirs, block, root=True)
        found |= {f"{name}_rmse_ratio_low": low, f"{name}_rmse_ratio_high": high}
        found[f"{name}_p_value"] = metrics.equal_accuracy(ours, theirs, horizon)
    steps = int(own["step"].max())
    ours, theirs = (_mean_crps_by_origin(part) for part in (own, baseline))
    horizon, block = _overlap(steps, stride)
    found["crps_ratio"] = _ratio(ours, theirs)
    low, high = metrics.ratio_interval(ours, theirs, block)
    found |= {"crps_ratio_low": low, "crps_ratio_high": high}
    found["crps_p_value"] = metrics.equal_accuracy(ours, theirs, horizon)
    return _defined(found)


def _overlap(steps: int, stride: int) -> tuple[int, int]:
    """Rows that one forecast reaches over, and rows of a bootstrap block."""
    return max(1, math.ceil(steps / stride)), max(1, math.ceil(max(steps, BLOCK_SESSIONS) / stride))


def _ratio(ours: FloatArray, theirs: FloatArray, *, root: bool = False) -> float:
    if theirs.mean() == 0:
        return math.nan
    ratio = float(ours.mean() / theirs.mean())
    return math.sqrt(ratio) if root else ratio


def _squared(rows: pd.DataFrame, step: int) -> FloatArray:
    chosen = rows[rows["step"] == step].sort_values("origin")
    return np.square(_columns(chosen, "point") - _columns(chosen, "actual"))


def _mean_crps_by_origin(rows: pd.DataFrame) -> FloatArray:
    """CRPS relative to the last mid, averaged over the steps of each origin, in time order."""
    relative = pd.Series(row_crps(rows) / _columns(rows, "last_mid"), index=rows["origin"])
    return np.asarray(relative.groupby(level=0).mean().sort_index())


def row_crps(rows: pd.DataFrame) -> FloatArray:
    """CRPS of each row over the 19 quantiles, in price units."""
    fan = rows[list(QUANTILE_COLUMNS)].to_numpy(dtype=float)
    return metrics.crps(_columns(rows, "actual"), fan, np.array(metrics.QUANTILES))


def pooled(scores: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, dict[str, float | None]]:
    """Means over tickers of each model's ratios and shares: what one headline may say.

    Args:
        scores: a ticker and its part of `score` at a time; a few figures of each are kept.
    """
    columns: dict[str, dict[str, list[float | None]]] = {}
    for _, models in scores:
        for model, table in models.items():
            own = columns.setdefault(model, {})
            for name, value in _headline(table).items():
                own.setdefault(name, []).append(value)
    return {
        model: {name: _mean(values) for name, values in own.items()}
        for model, own in columns.items()
    }


def _headline(table: Mapping[str, Any]) -> dict[str, float | None]:
    shares = ("direction_accuracy", "coverage_80", "coverage_95", "relative_crps")
    ratios = ("one_step_rmse_ratio", "last_step_rmse_ratio", "crps_ratio")
    return {
        **{name: table["overall"][name] for name in shares},
        **{name: table["against"][name] for name in ratios},
        "one_step_direction_accuracy": table["steps"][1]["direction_accuracy"],
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _columns(rows: pd.DataFrame, name: str) -> FloatArray:
    return rows[name].to_numpy(dtype=float)


def _defined(found: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in found.items()}
