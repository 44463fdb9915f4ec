"""Five published LSTM systems as a table: what each was fitted to, how, and what was published.

Pure data, and the reader of the price tables behind it. Knows no network and no scaling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from contracts import BadPrices, FloatArray

Scaler = Literal["block_minmax", "trailing_minmax", "whole_minmax", "whole_zscore"]
# Rows whose loss decides which epoch's weights are judged: a part of the training rows, the very
# rows that are judged afterwards, or nothing (the last epoch's, whatever they are worth).
ChosenOn = Literal["validation", "test", "last epoch"]

LAST_DAY = "2025-12-31"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One series: the mean of some columns of a table, from `first` to `last`, both included."""

    name: str  # how the results call it, such as AAPL
    file: str  # below the data folder
    columns: tuple[str, ...]
    date: str = "Date"
    close: str = "Close"
    first: str = "1900-01-01"
    last: str = LAST_DAY


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Daily values, oldest first, all of shape (T,); closes are of the same sessions."""

    days: np.ndarray
    values: FloatArray
    closes: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A published system; `recipe` names its network in the table of recipes."""

    recipe: str
    title: str
    scaler: Scaler
    chosen_on: ChosenOn
    sources: tuple[Source, ...]
    leaks: tuple[str, ...]
    gaps: str  # what the publication does not say, and what was taken instead
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    changes: Mapping[str, float] = field(default_factory=dict)  # of recipe fields, in both forms
    # further forms by name: fields of this table in which the publication may be read otherwise
    readings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    trials: int = 0  # of a random search over units and dropouts
    test_from: str | None = None  # first day judged, where it is not the recipe's share

    def read_as(self, form: str) -> System:
        """This system as one of its readings has it; itself for any other form."""
        fields: dict[str, Any] = dict(self.readings.get(form, {}))
        return replace(self, **fields)

    @property
    def rescaled(self) -> tuple[str, ...]:
        """Readings with a scale of their own, which is not that of the causal form's scores."""
        return tuple(form for form, fields in self.readings.items() if "scaler" in fields)

    def as_dict(self) -> dict[str, Any]:
        """What decides a run's numbers, apart from recipe, seed and prices."""
        cut_at = {"test_from": self.test_from} if self.test_from else {}
        return {"scaler": self.scaler, "chosen_on": self.chosen_on} | cut_at


def read_series(folder: Path, source: Source) -> Series:
    """The rows of a table that have a date and every price; others are passed over.

    Raises:
        BadPrices: the table is not there, or lacks a column.
    """
    path = folder / source.file
    try:
        table = pd.read_csv(path)
        days = pd.to_datetime(table[source.date], errors="coerce", format="%Y-%m-%d")
        prices = table[[*source.columns, source.close]]
    except (OSError, KeyError, ValueError) as error:
        raise BadPrices(f"{path} is not the table it should be: {error}") from error
    known = days.between(source.first, source.last) & prices.notna().all(axis=1)
    order = days[known].sort_values().index
    values = prices.loc[order, list(source.columns)].to_numpy(dtype=float).mean(axis=1)
    closes = prices.loc[order, [source.close]].to_numpy(dtype=float)[:, 0]
    return Series(days.loc[order].to_numpy(), values, closes)


def _yahoo(ticker: str, *columns: str) -> Source:
    return Source(
        name=ticker, file=f"yahoo/{ticker}.csv", columns=columns or ("Close",), first="2020-01-01"
    )


def _arima(lstm: tuple[float, float, float]) -> dict[str, float]:
    mse, mae, direction = lstm
    published = {"arima_mse": 0.0034, "arima_mae": 0.0421, "arima_direction_spec": 0.583}
    return {"mse": mse, "mae": mae, "direction_spec": direction, **published}


WHOLE = "the scale is fitted over the whole series, test rows included"
ON_TEST = "the weights are those of the best epoch on the very rows that are judged"

SYSTEMS: dict[str, System] = {
    system.recipe: system
    for system in (
        System(
            recipe="mlops_64_64_32",
            title="LSTM 64-64-32 on windowed mid-prices",
            scaler="block_minmax",
            chosen_on="validation",
            sources=tuple(_yahoo(t, "High", "Low") for t in ("AAPL", "GOOGL", "MSFT")),
            leaks=(
                "the MinMax is fitted over blocks of 2500 sessions from the series' start, so "
                "1,508 sessions are one block and the scale of a test row knows its future",
            ),
            gaps="Two things are not known. The scale: a window of 2500 is a block of the series "
            "in one reading and, in the other, the sessions up to each value; both were taken. "
            "And the rows that the epoch was chosen on: the end of the training part was taken, "
            "and beside it the judged rows themselves, a leak more.",
            readings={
                "trailing": {"scaler": "trailing_minmax"},
                "on_test": {"chosen_on": "test"},
            },
            published={
                "AAPL": _arima((0.0023, 0.0341, 0.642)),
                "GOOGL": _arima((0.0019, 0.0312, 0.668)),
                "MSFT": _arima((0.0021, 0.0328, 0.655)),
            },
        ),
        System(
            recipe="lstm50_batchnorm",
            title="Two LSTM 50 with BatchNormalization",
            scaler="whole_minmax",
            chosen_on="validation",
            sources=(_yahoo("AAPL"),),
            leaks=(WHOLE,),
            gaps="Share and dates are not known here; Apple's close of 2020 to 2025 was taken.",
            published={"AAPL": {"mse": 0.073071, "mae": 0.006719, "epochs": 43}},
        ),
        System(
            recipe="linear_lstm_zscore",
            title="Dense, two LSTM 32, z-scores",
            scaler="whole_zscore",
            chosen_on="last epoch",
            sources=(
                Source(
                    name="IBM",
                    file="reference_tables/alphavantage_daily_adjusted_IBM.csv",
                    columns=("adjusted_close",),
                    date="timestamp",
                    close="adjusted_close",
                    first="1999-11-01",
                ),
            ),
            leaks=(WHOLE,),
            gaps="The published run's last day is not known; this table ends on 2020-12-04. "
            "Original in PyTorch: both layers' states fed its last layer, here the second's does.",
            published={"IBM": {"train_batch_loss": 0.006102, "batch_loss": 0.000972}},
        ),
        System(
            recipe="lstm64_dense32",
            title="LSTM 64-64, Dense 32, no dropout",
            scaler="whole_minmax",
            chosen_on="validation",
            sources=(_yahoo("AAPL"),),
            leaks=(WHOLE,),
            gaps="No figure was published, only a plot; the dates are ours (2020 to 2025).",
        ),
        System(
            recipe="tuned_lstm",
            title="Two LSTM with dropouts, sizes searched for",
            scaler="whole_minmax",
            chosen_on="test",
            sources=(
                Source(
                    name="IBM",
                    file="reference_tables/IBM_2006-01-01_to_2018-01-01.csv",
                    columns=("High",),
                    first="2006-01-01",
                    last="2018-01-01",
                ),
            ),
            leaks=(WHOLE, ON_TEST, "the sizes are chosen on the same rows once more"),
            gaps="No schedule of the learning rate is known; it stays at the start. "
            "Which rows the validation loss is of is not said; those of 2017 were taken. "
            "That the column is High and the test year 2017 follows from the figures (below).",
            published={
                "IBM": {
                    "best_val_loss": 0.000282,
                    "worst_val_loss": 0.000930,
                    "unscaled_mae": 158.43,
                    "unscaled_mse": 158.43,
                    "unscaled_r2": -169.7,
                }
            },
            # Keras counts no improvement below 1e-4 on the plateau, as much as these losses are:
            # the rate would fall to nothing while the loss still does
            changes={"lr_patience": 1000},
            trials=10,
            test_from="2017-01-01",
        ),
    )
}
