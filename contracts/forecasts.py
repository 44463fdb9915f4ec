"""What a model says of the sessions to come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from operator import le, lt
from typing import Literal

from contracts.prices import Provenance

Verdict = Literal[
    "better than the last price", "no better than the last price", "worse than the last price"
]
Mode = Literal["recursive", "direct"]  # fed back a step at a time, or every step at once
Event = Literal["above", "below", "touch"]
CautionCode = Literal["model_too_old", "prices_stale", "outside_training", "synthetic_prices"]
QUANTILES = tuple(round(0.05 * i, 2) for i in range(1, 20))  # 0.05, 0.10, ... 0.95
LEVELS = ("80", "95")  # per cent of outcomes meant to fall inside each band


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Prices between which a stated share of outcomes is meant to fall, one pair per date."""

    lower: tuple[float, ...]
    upper: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """One-step skill of a model on held-out sessions, against repeating the last close."""

    baseline: str
    rmse_ratio: float  # model / baseline; below 1 is better
    direction_accuracy: float  # share of days on the right side of the last known mid
    p_value: float  # two-sided Diebold-Mariano on squared errors
    verdict: Verdict
    # Mean over steps 1 to 30 of the CRPS, against last_close with empirical bands; None where
    # too few held-out sessions are there to say.
    crps_ratio: float | None = None
    crps_p_value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """One reason not to rely on an answer; `strict` requests are refused because of it."""

    code: CautionCode
    detail: str  # with the measured value and its threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Which model made a forecast."""

    version: str  # the registered version, as MLflow counts
    bundle: str  # folder name below the models folder
    recipe: str
    trained_at: datetime  # UTC
    trained_through: date  # last session that touched weights, calibration or scores
    mode: Mode = "recursive"
    cold_start: bool = False  # a base of many tickers: this one has no model of its own yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What one model expects of one ticker, one entry per future exchange session.

    Every price is a mid-price, (high + low) / 2, in `currency`. `normalised` is on the
    trailing MinMax scale of the window that ends at `as_of`; `prices` is its exact inverse.
    """

    ticker: str
    currency: str
    as_of: date  # last session the model saw
    dates: tuple[date, ...]  # ascending, all after `as_of`
    normalised: tuple[float, ...]
    prices: tuple[float, ...]
    smoothed_normalised: tuple[float, ...] | None
    smoothed_prices: tuple[float, ...] | None
    bands: Mapping[str, Band]  # by level, "80" and "95"
    last_normalised: float
    last_mid: float
    last_close: float
    provenance: Provenance
    model: ModelIdentity
    skill: Skill
    warnings: tuple[Caution, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.dates) == len(self.normalised) == len(self.prices) > 0:
            raise ValueError(f"{self.ticker}: a forecast needs one price per date")
        if not all(map(lt, (self.as_of, *self.dates), self.dates)):
            raise ValueError(f"{self.ticker}: dates must ascend and start after {self.as_of}")
        for level, band in self.bands.items():
            if not _around(band, self.prices):
                raise ValueError(f"{self.ticker}: {level} % band must satisfy 0<lower<=mid<=upper")


def _around(band: Band, prices: tuple[float, ...]) -> bool:
    """Whether 0 < lower <= price <= upper everywhere: by C loops, a hundred tickers at a time."""
    lower, upper = band.lower, band.upper
    whole = len(lower) == len(prices) == len(upper)
    # a NaN is in no order, so the first comparison finds it, whatever min() makes of it
    return whole and all(map(le, lower, prices)) and all(map(le, prices, upper)) and min(lower) > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Probability:
    """How likely the mid-price of one ticker does something, counted over joint sample paths.

    `above` and `below` concern the session `date` alone; `touch` is met when the mid-price of
    any session up to `date` reaches the level, from whichever side the last one lies on.
    """

    ticker: str
    currency: str
    as_of: date
    date: date  # the session `steps` after `as_of`
    steps: int
    event: Event
    level: float  # in `currency`
    probability: float  # between 0 and 1, neither included
    paths: int  # that it was counted over
    last_mid: float
    last_close: float
    provenance: Provenance
    model: ModelIdentity
    skill: Skill
    warnings: tuple[Caution, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.probability < 1:
            raise ValueError(f"{self.ticker}: a probability of {self.probability}")
