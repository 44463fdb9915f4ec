"""What every cell of a bar must be, as a pandera schema; imported only when bars are judged.

Rows in, codes out. Knows no calendar and no other row than the one it looks at.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema

PRICES = ("Open", "High", "Low", "Close", "Adj Close")
TOUCH = 1e-6  # relative; float noise of an adjustment factor
OUTSIDE = 0.01  # relative; further outside Low..High an Open or Close is wrong, not rounded

# Checks by name; the first that fails on a row, in this order, says why the row is unusable.
REASONS = {
    "not_nullable": "missing_price",
    "finite": "infinite_price",
    "positive": "nonpositive_price",
    "volume": "bad_volume",
    "range": "high_below_low",
    "inside": "outside_range",
}
WORDS = {
    "missing_price": "a price is missing",
    "infinite_price": "a price is infinite",
    "nonpositive_price": "a price is zero or negative",
    "bad_volume": "the volume is negative or infinite",
    "high_below_low": "High is below Low",
    "outside_range": "Open or Close is more than 1 % outside Low..High",
}


def unusable(bars: pd.DataFrame) -> pd.Series[str]:
    """Codes of the bars that break the schema, by index label; empty where all are well formed.

    Args:
        bars: columns of BAR_COLUMNS as floats, a unique index; NaN only in Volume is allowed.
    """
    from pandera.errors import SchemaErrors

    try:
        _schema().validate(bars, lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases.dropna(subset="index")
        codes = cases["check"].map(REASONS)
        order = codes.map({code: rank for rank, code in enumerate(REASONS.values())})
        first = codes.iloc[np.argsort(order.to_numpy(), kind="stable")]
        first.index = cases["index"].loc[first.index].astype(bars.index.dtype)
        unique: pd.Series[str] = first[~first.index.duplicated()].sort_index()
        return unique
    return pd.Series(dtype=str)


@lru_cache(maxsize=1)
def _schema() -> DataFrameSchema:
    """Half a second for the import, once, by whoever first judges bars."""
    from pandera.pandas import Check, Column, DataFrameSchema

    finite = Check(np.isfinite, name="finite", error="finite")
    positive = Check(lambda price: price > 0, name="positive", error="positive")
    volume = Check(
        lambda traded: (traded >= 0) & np.isfinite(traded), name="volume", error="volume"
    )
    return DataFrameSchema(
        {
            "Date": Column("datetime64[ns]"),
            **{name: Column(float, [finite, positive]) for name in PRICES},
            "Volume": Column(float, volume, nullable=True),
        },
        checks=[
            Check(_range, name="range", error="range"),
            Check(_inside, name="inside", error="inside"),
        ],
    )


def _range(bars: pd.DataFrame) -> pd.Series[bool]:
    return ~(bars["Low"] > bars["High"] * (1 + TOUCH))


def _inside(bars: pd.DataFrame) -> pd.Series[bool]:
    top, bottom = bars[["Open", "Close"]].max(axis=1), bars[["Open", "Close"]].min(axis=1)
    return ~((top > bars["High"] * (1 + OUTSIDE)) | (bottom < bars["Low"] * (1 - OUTSIDE)))
