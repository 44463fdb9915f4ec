"""How served forecasts turned out, beside repeating the last close on the same rows.

Prices of a promise are carried to the present scale by what its origin's own prices have become,
so that a split (or a dividend, where prices are adjusted for those) between promise and outcome
changes no score. Of several promises of one model, origin and step the first counts: what was said
first stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from contracts import FloatArray, LiveScores, Performance, PerformanceRow
from records.schema import OUTCOMES, PROMISED_STEPS, PROMISES
from significance import diebold_mariano

STEPS = (1, 5, 10, 20, 30)  # that have a row of their own
ALIKE = 0.002  # relative: mid and close of an origin rescaled by factors this close: one rescaling
CORRECTED = 0.1  # relative: an origin's bar that moved less is a correction, not another scale
GROUP = ["version", "mode", "cold_start", "synthetic", "adjustment"]
LINES = ("point", "lower_80", "upper_80", "lower_95", "upper_95")


def performance(connection: sa.Connection, ticker: str) -> Performance:
    """Every figure of one ticker from all its promises and the newest outcomes."""
    heads = _heads(connection, ticker)
    outcomes = _outcomes(connection, ticker)
    due = settled(connection, ticker, heads, outcomes)
    scaled = due[due["scale"].notna()]
    known = outcomes[outcomes["mid"].notna()]
    promised = connection.scalar(
        sa.select(sa.func.count())
        .select_from(PROMISED_STEPS.join(PROMISES))
        .where(PROMISES.c.ticker == ticker)
    )
    return Performance(
        ticker=ticker,
        currency=None if heads.empty else str(heads["currency"].iloc[-1]),
        promises=len(heads),
        settled=len(due),
        waiting=int(promised or 0) - len(due),
        unscaled=len(due) - len(scaled),
        revised=int((outcomes["revision"] > 1).sum()),
        through=None if known.empty else known["date"].max(),
        settled_at=None if outcomes.empty else outcomes["settled_at"].max().to_pydatetime(),
        rows=tuple(_rows(_first_said(scaled))),
    )


def settled(
    connection: sa.Connection, ticker: str, heads: pd.DataFrame, outcomes: pd.DataFrame
) -> pd.DataFrame:
    """A row per promised step with a known outcome, every price on the present scale.

    Columns: those of GROUP, `promise_id origin made_at step date scale last_mid last_close point
    lower_80 upper_80 lower_95 upper_95 actual`. `scale` is NaN where the origin cannot be found in
    the present prices; such a row's prices are NaN too.
    """
    kind = ["synthetic", "adjustment"]
    known = outcomes[outcomes["mid"].notna()]
    origins = known.rename(columns={"date": "origin", "mid": "mid_now", "close": "close_now"})
    heads = heads.merge(
        origins[[*kind, "origin", "mid_now", "close_now"]], on=[*kind, "origin"], how="left"
    )
    heads["scale"] = _scales(heads)
    ends = known.rename(columns={"mid": "actual"})[[*kind, "date", "actual"]]
    rows = _steps(connection, ticker).merge(
        heads.drop(columns=["mid_now", "close_now", "currency"]), on="promise_id"
    )
    rows = rows.merge(ends, on=[*kind, "date"])
    for name in (*LINES, "last_mid", "last_close"):
        rows[name] = rows[name].astype(float) * rows["scale"]
    return rows


def _heads(connection: sa.Connection, ticker: str) -> pd.DataFrame:
    chosen = (
        *("origin", "version", "mode", "cold_start", "adjustment"),
        *("currency", "last_mid", "last_close", "made_at"),
    )
    found = sa.select(
        PROMISES.c.id.label("promise_id"),
        (PROMISES.c.source == "synthetic").label("synthetic"),
        *(PROMISES.c[name] for name in chosen),
    )
    query = found.where(PROMISES.c.ticker == ticker).order_by(PROMISES.c.made_at, PROMISES.c.id)
    heads = _frame(connection, query)
    return heads.astype({"synthetic": bool, "cold_start": bool})


def _outcomes(connection: sa.Connection, ticker: str) -> pd.DataFrame:
    """The newest revision of every session."""
    names = ("synthetic", "adjustment", "date", "revision", "mid", "close", "settled_at")
    query = (
        sa.select(*(OUTCOMES.c[name] for name in names))
        .where(OUTCOMES.c.ticker == ticker)
        .order_by(OUTCOMES.c.revision)
    )
    rows = _frame(connection, query).astype({"synthetic": bool})
    return rows.drop_duplicates(["synthetic", "adjustment", "date"], keep="last")


def _steps(connection: sa.Connection, ticker: str) -> pd.DataFrame:
    query = (
        sa.select(PROMISED_STEPS)
        .join(PROMISES, PROMISES.c.id == PROMISED_STEPS.c.promise_id)
        .where(PROMISES.c.ticker == ticker)
    )
    return _frame(connection, query)


def _frame(connection: sa.Connection, query: sa.Select[Any]) -> pd.DataFrame:
    found = connection.execute(query)
    return pd.DataFrame(found.fetchall(), columns=list(found.keys()))


def _scales(heads: pd.DataFrame) -> FloatArray:
    """Present price of each origin over the promised one; NaN where it cannot be told.

    A rescaling moves mid and close of a session by one factor. Where the two differ a little,
    the bar was corrected and the scale is the same; where they differ a lot, nobody can tell.
    """
    mid = heads["mid_now"].to_numpy(dtype=float) / heads["last_mid"].to_numpy(dtype=float)
    close = heads["close_now"].to_numpy(dtype=float) / heads["last_close"].to_numpy(dtype=float)
    one_factor = np.abs(mid - close) <= ALIKE * close
    corrected = np.maximum(np.abs(mid - 1), np.abs(close - 1)) <= CORRECTED
    return np.where(one_factor, close, np.where(corrected, 1.0, math.nan))


def _first_said(rows: pd.DataFrame) -> pd.DataFrame:
    ordered = rows.sort_values(["origin", "step", "made_at", "promise_id"])
    return ordered.drop_duplicates([*GROUP, "origin", "step"])


def _rows(settled: pd.DataFrame) -> Iterator[PerformanceRow]:
    for names, own in settled.groupby(GROUP, sort=True):
        identity = dict(zip(GROUP, names, strict=True))
        for step in STEPS:
            part = own[own["step"] == step]
            if len(part):
                yield _row(identity, step, part)
        yield _row(identity, None, own)


def _row(identity: dict[str, Any], step: int | None, rows: pd.DataFrame) -> PerformanceRow:
    point, naive, actual = (_values(rows, name) for name in ("point", "last_close", "actual"))
    ours, theirs = weighted_interval_score(rows), np.abs(naive - actual)
    banded = np.isfinite(ours)
    squared = pd.DataFrame({"ours": (point - actual) ** 2, "theirs": (naive - actual) ** 2})
    by_origin = squared.groupby(rows["origin"].to_numpy(), sort=True).mean()
    horizon = int(rows["step"].max()) if step is None else step
    own = _scores(rows, point, ours)
    return PerformanceRow(
        **identity,
        step=step,
        n=len(rows),
        first=rows["origin"].min(),
        last=rows["origin"].max(),
        model=own,
        last_close=_scores(rows.assign(**dict.fromkeys(LINES[1:], math.nan)), naive, theirs),
        rmse_ratio=_ratio(own.rmse, math.sqrt(squared["theirs"].mean())),
        crps_ratio=_ratio(_mean(ours[banded]), _mean(theirs[banded])),
        p_value=diebold_mariano(
            np.sqrt(by_origin["ours"].to_numpy()), np.sqrt(by_origin["theirs"].to_numpy()), horizon
        ),
    )


def weighted_interval_score(rows: pd.DataFrame) -> FloatArray:
    """The score of each row, shape (n,), in price units; NaN without both bands.

    Bracher, Ray, Gneiting and Reich (2021) with K = 2 intervals and the point in the place of the
    median: (|y - m| / 2 + sum of alpha / 2 times each interval's score) / (K + 1 / 2).
    """
    actual = _values(rows, "actual")
    total = np.abs(actual - _values(rows, "point")) / 2
    for level, alpha in (("80", 0.2), ("95", 0.05)):
        lower, upper = _values(rows, f"lower_{level}"), _values(rows, f"upper_{level}")
        missed = np.maximum(lower - actual, 0) + np.maximum(actual - upper, 0)
        total = total + alpha / 2 * (upper - lower) + missed
    return np.asarray(total / 2.5)


def _scores(rows: pd.DataFrame, forecast: FloatArray, crps: FloatArray) -> LiveScores:
    error = forecast - _values(rows, "actual")
    return LiveScores(
        rmse=math.sqrt(float(np.mean(error**2))),
        mae=float(np.mean(np.abs(error))),
        direction=_direction(rows, forecast),
        coverage_80=_coverage(rows, "80"),
        coverage_95=_coverage(rows, "95"),
        crps=_mean(crps[np.isfinite(crps)]),
    )


def _direction(rows: pd.DataFrame, forecast: FloatArray) -> float | None:
    """As `metrics.direction_accuracy`: from the last known mid; a forecast of no move is wrong."""
    last, actual = _values(rows, "last_mid"), _values(rows, "actual")
    moved = actual != last
    if not moved.any() or not (forecast != last).any():
        return None
    return float(np.mean(np.sign(forecast - last)[moved] == np.sign(actual - last)[moved]))


def _coverage(rows: pd.DataFrame, level: str) -> float | None:
    lower, upper = _values(rows, f"lower_{level}"), _values(rows, f"upper_{level}")
    actual, banded = _values(rows, "actual"), np.isfinite(lower) & np.isfinite(upper)
    return _mean(((lower <= actual) & (actual <= upper))[banded].astype(float))


def _values(rows: pd.DataFrame, name: str) -> FloatArray:
    return rows[name].to_numpy(dtype=float)


def _mean(values: FloatArray) -> float | None:
    return float(values.mean()) if len(values) else None


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return ours / theirs if ours is not None and theirs else None


def empty(ticker: str) -> Performance:
    """The performance of a ticker that nothing was promised of."""
    return Performance(
        ticker=ticker,
        currency=None,
        promises=0,
        settled=0,
        waiting=0,
        unscaled=0,
        revised=0,
        through=None,
        settled_at=None,
        rows=(),
    )
