"""The words every module speaks: prices, forecasts, cards and the one tree of errors.

Knows numpy and pandas types only; no file, no network, no library of a higher layer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

FloatArray = npt.NDArray[np.floating[Any]]
Source = Literal["yfinance", "alphavantage", "file", "synthetic"]
Adjustment = Literal["split", "split+dividend"]
Verdict = Literal[
    "better than the last price", "no better than the last price", "worse than the last price"
]

BAR_COLUMNS = ("Date", "Open", "High", "Low", "Close", "Adj Close", "Volume")
Mode = Literal["recursive", "direct"]  # fed back a step at a time, or every step at once
Event = Literal["above", "below", "touch"]
Scaling = Literal["minmax", "zscore"]  # of one series by its own trailing window

QUANTILES = tuple(round(0.05 * i, 2) for i in range(1, 20))  # 0.05, 0.10, ... 0.95
LEVELS = ("80", "95")  # per cent of outcomes meant to fall inside each band

# Yahoo's alphabet: BRK-B, ^GSPC, 0700.HK, EURUSD=X, GC=F. Never a path or a pattern.
TICKER_PATTERN = r"^\^?[A-Za-z0-9]{1,12}([.\-=][A-Za-z0-9]{1,6}){0,2}$"


class ForecastingError(Exception):
    """Anything we can explain. The text says what is wrong and what to do next."""

    code: ClassVar[str] = "forecasting_error"


class InvalidTicker(ForecastingError):
    code = "invalid_ticker"

    def __init__(self, text: str) -> None:
        super().__init__(
            f"{text[:40]!r} is not a ticker symbol; expected something like AAPL, BRK-B, ^GSPC "
            "or 0700.HK"
        )


class UnknownTicker(ForecastingError):
    code = "unknown_ticker"

    def __init__(self, ticker: str) -> None:
        super().__init__(
            f"{ticker} has neither a trained model nor prices here; run: python train.py {ticker}"
        )


class NoChampion(ForecastingError):
    code = "no_champion"

    def __init__(self, ticker: str, why: str = "has no trained model yet") -> None:
        super().__init__(f"{ticker} {why}; run: python train.py {ticker}")


class SourceUnavailable(ForecastingError):
    """No tier of the price ladder could answer."""

    code = "source_unavailable"


class BadPrices(ForecastingError):
    """A price file or feed that cannot be trusted; the message names the file and the rows."""

    code = "bad_prices"


class NotEnoughHistory(ForecastingError):
    code = "not_enough_history"

    def __init__(self, *, have: int, need: int, what: str = "sessions") -> None:
        super().__init__(
            f"only {have} {what} where {need} are needed; import a longer history or move "
            "STOCK_START_DATE back"
        )


class NoBase(ForecastingError):
    """No base to start a model from: none is shipped for that day, and too few tickers for one."""

    code = "no_base"


class BadBundle(ForecastingError):
    """A model folder that is incomplete, altered or unreadable. It is never loaded."""

    code = "bad_bundle"


class ModelFromTheFuture(ForecastingError):
    code = "model_from_the_future"

    def __init__(self, ticker: str, trained_through: date, as_of: date) -> None:
        super().__init__(
            f"the champion of {ticker} has seen prices through {trained_through}, later than the "
            f"last session used, {as_of}; train one as of that day: python train.py {ticker}"
        )


class UnknownRecipe(ForecastingError):
    code = "unknown_recipe"

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"no recipe is called {name!r}; choose one of: {', '.join(known)}")


class ExportMismatch(ForecastingError):
    """The exported ONNX network does not answer as the Keras one; nothing was saved."""

    code = "export_mismatch"


class TrackingUnavailable(ForecastingError):
    """MLflow's server or database does not answer."""

    code = "tracking_unavailable"


class NoDriftCheck(ForecastingError):
    code = "no_drift_check"

    def __init__(self, ticker: str) -> None:
        super().__init__(
            f"{ticker} has not been checked for drift yet; run: python drift_monitor.py {ticker}"
        )


class LogUnavailable(ForecastingError):
    """The database of served forecasts and verdicts does not answer."""

    code = "log_unavailable"


class ServiceUnavailable(ForecastingError):
    """The forecast service does not answer its client."""

    code = "service_unavailable"


class BadSettings(ForecastingError):
    """A setting that is misspelt or out of range; the message names it."""

    code = "bad_settings"


def parse_ticker(text: str) -> str:
    """The symbol in the upper case Yahoo uses.

    Raises:
        InvalidTicker: anything that could be a path, a pattern or no symbol at all.
    """
    symbol = text.strip()
    if not re.fullmatch(TICKER_PATTERN, symbol):
        raise InvalidTicker(text)
    return symbol.upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that validation found in a table of bars, and what became of it."""

    code: str  # such as `large_move`, `duplicate_date`, `missing_session`
    date: date | None  # the session it is about; None for the whole table
    action: Literal["kept", "repaired", "dropped", "refused"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a table of bars came from; it travels with the bars into every answer."""

    source: Source
    adjustment: Adjustment  # of Open, High, Low and Close
    fetched_at: datetime  # UTC
    first_session: date
    last_session: date
    rows: int
    sha256: str  # of the bars in the cache's own CSV form, up to `last_session`
    stale: bool = False  # a later session had already ended when the bars were read
    sessions_behind: int = 0  # how many of them: the age of a stale cache
    findings: Mapping[str, int] = field(default_factory=dict)  # validation's, counted by code
    quarantined: str | None = None  # why the feed's newer bars were refused; these are the old ones


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """Daily bars of one ticker with their provenance.

    `bars` has the columns of BAR_COLUMNS and a RangeIndex; Date is a naive midnight
    datetime64, strictly ascending; prices are positive and finite.
    """

    ticker: str
    bars: pd.DataFrame
    provenance: Provenance


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

    def __post_init__(self) -> None:
        if not len(self.dates) == len(self.normalised) == len(self.prices) > 0:
            raise ValueError(f"{self.ticker}: a forecast needs one price per date")
        if list(self.dates) != sorted(set(self.dates)) or self.dates[0] <= self.as_of:
            raise ValueError(f"{self.ticker}: dates must ascend and start after {self.as_of}")
        for level, band in self.bands.items():
            rows = zip(band.lower, self.prices, band.upper, strict=True)
            if not all(0 < low <= mid <= high for low, mid, high in rows):
                raise ValueError(f"{self.ticker}: {level} % band must satisfy 0<lower<=mid<=upper")


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

    def __post_init__(self) -> None:
        if not 0 < self.probability < 1:
            raise ValueError(f"{self.ticker}: a probability of {self.probability}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """First and last session of a part of the data, both included, and how many rows it has."""

    first: date
    last: date
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Quantiles of past forecast errors per step: what every band is made of.

    An error is log(outcome / forecast) / scale, where the scale is the model's own expected
    size of it (1 for a model without one), so the quantile at a level is the price
    forecast * exp(scale * quantile).
    """

    origins: int  # past forecasts whose errors were counted
    levels: tuple[float, ...]  # ascending, between 0 and 1
    # one row per step from 1 on, one value per level; None where too few outcomes are known
    quantiles: tuple[tuple[float, ...] | None, ...]
    pooled: float = 0.0  # weight of many tickers' quantiles beside this one's own


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseIdentity:
    """The network of many tickers that a model started from."""

    name: str
    trained_through: date
    tickers: int
    shipped: bool  # False: trained here, from the tickers there were


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseCard:
    """All that is said about a base, beside its weights: `card.json`."""

    name: str
    recipe: Mapping[str, Any]
    seed: int
    trained_at: datetime
    trained_through: date
    first_session: date
    tickers: tuple[str, ...]  # that its weights were fitted to
    held_out: tuple[str, ...]  # that its errors were measured on; not fitted to, if there were many
    shrinkage: float  # weight of the correction, from the year before `trained_through`
    calibration: Calibration  # of the held-out tickers' errors
    skill: Skill  # one step ahead over that year, held-out tickers, from the sessions before it
    parity: float  # largest |ONNX - Keras| seen at export
    data_sha256: str  # of every price it was made from
    versions: Mapping[str, str]
    git_revision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """All that is said about a bundle, beside its weights: `card.json`."""

    ticker: str
    recipe: Mapping[str, Any]  # every field of the recipe really used
    seed: int
    trained_at: datetime
    trained_through: date
    start_date: date  # earlier bars took no part
    train: Span
    validation: Span
    test: Span
    data: Provenance
    calibration: Calibration
    # by model, `lstm` and every baseline, then metric; one step ahead; None where undefined
    scores: Mapping[str, Mapping[str, float | None]]
    skill: Skill
    parity: float  # largest |ONNX - Keras| seen at export
    base: BaseIdentity | None = None
    shrinkage: float = 1.0  # weight of the learnt correction to the last price
    versions: Mapping[str, str]
    git_revision: str | None = None
    run_id: str | None = None
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """The published model of a ticker."""

    version: str
    bundle: str
    card: ModelCard


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """How far one daily feature has moved from the champion's training sample."""

    feature: str
    method: str
    distance: float
    threshold: float
    drifted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftVerdict:
    """One drift check of one ticker."""

    ticker: str
    checked_at: datetime  # UTC
    as_of: date  # last session in the current sample
    alarm: bool
    summary: str  # one sentence in plain words
    features: tuple[FeatureDrift, ...]
    reference_rows: int
    current_rows: int
    rmse_ratio_reference: float  # one-step RMSE of the champion / last_close, held-out then
    rmse_ratio_current: float  # the same over the current sample
    model_version: str
    data_source: Source
    reports: tuple[str, ...]  # file names below the reports folder
