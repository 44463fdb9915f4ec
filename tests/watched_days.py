"""Sessions as a bundle keeps them, from a process whose volatility clusters."""

from __future__ import annotations

import numpy as np
import pandas as pd

from contracts import Span


def raw_days(seed: int, days: int, error: float = 1.0) -> pd.DataFrame:
    """What `inference.one_step_table` would say of GARCH(1, 1) sessions of 1.5 % a day.

    `error` is the size of the model's error relative to that of the last close.
    """
    rng = np.random.default_rng(seed)
    variance = _garch_variance(rng.standard_normal(days + 200))[200:]
    size = 0.015 * np.sqrt(variance)
    moves = size * rng.standard_normal((3, days))
    mid = 100 * np.exp(np.cumsum(moves[0]))
    last_mid = np.concatenate([[100.0], mid[:-1]])
    last_close = last_mid * np.exp(0.3 * moves[1])
    return pd.DataFrame(
        {
            "date": pd.bdate_range(end="2025-12-31", periods=days),
            "return": moves[0],
            "range": 1.5 * size * rng.gamma(9, 1 / 9, days),
            "gap": 0.4 * moves[2],
            "volume": 0.3 * rng.standard_normal(days),
            "last_mid": last_mid,
            "last_close": last_close,
            "prediction": mid * (last_close / mid) ** (error * rng.choice([-1, 1], days)),
            "actual": mid,
        }
    )


def _garch_variance(shocks: np.ndarray) -> np.ndarray:
    variance = np.ones(len(shocks))
    for day in range(1, len(shocks)):
        variance[day] = 0.05 + (0.08 * shocks[day - 1] ** 2 + 0.87) * variance[day - 1]
    return variance


def from_session(days: pd.DataFrame, first: int, **factors: float) -> pd.DataFrame:
    """The same with columns multiplied from one session on."""
    changed = days.copy()
    for name, factor in factors.items():
        changed.loc[first:, name] *= factor
    return changed


def span(rows: pd.DataFrame) -> Span:
    dates = rows["date"]
    return Span(first=dates.iloc[0].date(), last=dates.iloc[-1].date(), rows=len(rows))
