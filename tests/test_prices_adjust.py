"""Raw prices on the scale of the newest session."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from contracts import BAR_COLUMNS
from generate_synthetic_data import generate_synthetic_stock_data
from prices.adjust import undo_splits

BARS = generate_synthetic_stock_data("AAPL", "2020-01-01", "2020-12-31", None)
RAW = ["Open", "High", "Low", "Close"]


def raw(splits: dict[int, float]) -> pd.DataFrame:
    """BARS as they were traded, with their splits: the obvious loop, backwards."""
    bars = BARS.astype({"Volume": float}).assign(Split=1.0)
    for row, ratio in splits.items():
        bars.loc[row, "Split"] = ratio
        bars.loc[: row - 1, RAW] *= ratio
        bars.loc[: row - 1, "Volume"] /= ratio
    return bars


@pytest.mark.parametrize(
    "splits", [{}, {50: 4.0}, {50: 2.0, 120: 7.0}, {80: 0.1}, {0: 3.0}, {50: 1.5, 51: 2.0}]
)
def test_raw_prices_come_back_to_one_scale(splits):
    bars = undo_splits(raw(splits))
    assert tuple(bars.columns) == BAR_COLUMNS
    for column in BAR_COLUMNS[1:]:
        np.testing.assert_allclose(bars[column], BARS[column], rtol=1e-12)


@pytest.mark.parametrize("none", [1.0, 0.0, np.nan])
def test_a_day_without_a_split_may_say_so_in_three_ways(none):
    bars = raw({50: 2.0})
    bars["Split"] = bars["Split"].replace(1.0, none)
    np.testing.assert_allclose(undo_splits(bars)["Close"], BARS["Close"], rtol=1e-12)


def test_order_and_repetition_of_rows_do_not_matter():
    bars = raw({50: 4.0})
    shuffled = pd.concat([bars.iloc[[50]], bars]).sample(frac=1, random_state=1)
    there = undo_splits(shuffled).drop_duplicates("Date").sort_values("Date", ignore_index=True)
    pd.testing.assert_frame_equal(there, undo_splits(bars), check_exact=True)


@pytest.mark.parametrize("ratio", [-2.0, np.inf])
def test_a_ratio_that_is_none_is_refused(ratio):
    with pytest.raises(ValueError, match="split ratio"):
        undo_splits(BARS.assign(Split=ratio))
