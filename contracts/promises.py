"""What was promised, what came of it, and what one process asks of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from contracts.forecasts import Band, Mode
from contracts.prices import Adjustment, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One distinct forecast as it was served; prices on the scale of the day it was made.

    Distinct means: of another ticker, origin, model, mode, kind of start or prices. Asked again
    with more steps, the same promise reaches further.
    """

    id: int
    ticker: str
    origin: date  # last session the model saw
    version: str
    bundle: str
    mode: Mode
    cold_start: bool
    source: Source
    adjustment: Adjustment
    data_sha256: str
    currency: str
    last_mid: float
    last_close: float
    made_at: datetime  # UTC, when it was first served
    served_at: datetime  # UTC, when it was last computed
    request_id: str  # of the first request; "" where it came without
    dates: tuple[date, ...]
    points: tuple[float, ...]
    bands: Mapping[str, Band]  # by level, "80" and "95"; a level without a band is absent


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What one settling found, in promised steps but for `revised`, which counts sessions."""

    ticker: str
    through: date | None  # last session with a known outcome; None where no prices are that late
    settled: int  # steps whose outcome became known by this settling
    waiting: int  # steps of sessions that are not known yet
    revised: int  # sessions whose price differs from what was known before
    skipped: int  # steps past due that these prices cannot settle: other adjustment, no bar


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveScores:
    """Errors of one forecaster over settled steps, in the currency of the ticker.

    `crps` is the weighted interval score of the point and the 80 and 95 % bands (Bracher et al.
    2021), the form of the CRPS for five quantiles; without bands it is the mean absolute error.
    None where nothing tells: no move, no band.
    """

    rmse: float
    mae: float
    direction: float | None  # share of moves on the right side of the last known mid
    coverage_80: float | None
    coverage_95: float | None
    crps: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceRow:
    """One model's settled forecasts of one step, beside the last close on the same rows."""

    version: str
    mode: Mode
    cold_start: bool
    synthetic: bool  # made of invented prices: says nothing of a market
    adjustment: Adjustment
    step: int | None  # sessions ahead; None for all of them together
    n: int  # settled steps
    first: date  # earliest origin
    last: date  # latest origin
    model: LiveScores
    last_close: LiveScores
    rmse_ratio: float | None  # model / last_close; below 1 is better
    crps_ratio: float | None  # the same of `crps`, on the rows that have both bands
    p_value: float  # two-sided Diebold-Mariano on squared errors; 1.0 with fewer than 10 origins


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """How the served forecasts of one ticker turned out, on the present scale of its prices."""

    ticker: str
    currency: str | None  # None where nothing was promised yet
    promises: int  # distinct forecasts
    settled: int  # promised steps whose outcome is known
    waiting: int  # promised steps without one
    unscaled: int  # settled steps whose origin cannot be found in the present prices
    revised: int  # sessions whose price changed after it was first known
    through: date | None  # last session with a known outcome
    settled_at: datetime | None  # UTC, when an outcome was last written
    rows: tuple[PerformanceRow, ...]

    def as_metrics(self, version: str) -> dict[str, float]:
        """The figures of one version on real prices as flat names, for a tracked run.

        Such as `live_rmse_1`, `live_rmse_ratio_pooled` and `live_last_close_mae_30`; several
        modes or adjustments of one version: the one with the most rows.
        """
        own = [row for row in self.rows if row.version == version and not row.synthetic]
        found: dict[str, float] = {}
        for row in sorted(own, key=lambda row: row.n):
            found.update(_metrics_of(row))
        return found


def _metrics_of(row: PerformanceRow) -> dict[str, float]:
    names = ("rmse", "mae", "direction", "coverage_80", "coverage_95", "crps")
    ratios = ("n", "rmse_ratio", "crps_ratio", "p_value")
    values = {name: getattr(row.model, name) for name in names}
    values |= {f"last_close_{name}": getattr(row.last_close, name) for name in names}
    values |= {name: getattr(row, name) for name in ratios}
    step = "pooled" if row.step is None else row.step
    return {f"live_{k}_{step}": float(v) for k, v in values.items() if v is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """A wish that a ticker be trained, taken by one worker until its lease ends."""

    id: int
    ticker: str
    reason: str
    asked_at: datetime  # UTC
    worker: str
    expires_at: datetime  # UTC; after it any worker may take the request
    attempts: int  # times it was taken, this one included


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedTraining:
    """A training request that was answered."""

    ticker: str
    reason: str
    asked_at: datetime  # UTC
    finished_at: datetime  # UTC
    outcome: str  # a line for people


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """What a job that works beside the service has done last, and what waits for it."""

    ticker: str | None  # of what it finished last; None where there was nothing yet
    finished_at: datetime | None  # UTC
    waiting: int  # requests that are not finished


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """A wish that a ticker be checked for drift, taken by one worker until its lease ends."""

    id: int
    ticker: str
    asked_at: datetime  # UTC
    worker: str
    expires_at: datetime  # UTC
    attempts: int
