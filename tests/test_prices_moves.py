"""Jumps: what a market makes is kept, what only an adjustment can make is flagged or refused."""

from __future__ import annotations

import pandas as pd
import pytest

from generate_synthetic_data import generate_synthetic_stock_data
from prices.moves import jumps

BARS = generate_synthetic_stock_data("AAPL", "2020-01-01", "2023-12-31", None, "calm")
PRICES = ["Open", "High", "Low", "Close", "Adj Close"]
DAY = BARS["Date"][100].date()


def scaled(rows: slice, factor: float) -> pd.DataFrame:
    other = BARS.copy()
    other.loc[rows, PRICES] *= factor
    return other


def found(bars: pd.DataFrame) -> list[tuple[str, str]]:
    return [(finding.code, finding.action) for finding in jumps(bars)]


def test_ordinary_bars_have_no_jumps():
    assert jumps(BARS) == []


@pytest.mark.parametrize("factor", [1 / 2, 2, 1 / 3, 5, 1 / 4])
def test_a_split_applied_to_some_rows_only_is_refused(factor):
    (finding,) = jumps(scaled(slice(100, 104), factor))
    assert (finding.code, finding.date, finding.action) == ("mixed_split", DAY, "refused")
    assert f"undone on {BARS['Date'][105]:%Y-%m-%d}" in finding.text


@pytest.mark.parametrize("factor", [1 / 20, 20, 100])
def test_a_move_beyond_a_factor_of_ten_is_refused(factor):
    assert found(scaled(slice(0, 99), factor)) == [("absurd_move", "refused")]


@pytest.mark.parametrize("factor", [0.6, 0.75, 1.3, 1.61, 2.0])
def test_a_shift_overnight_before_an_ordinary_day_is_flagged_not_dropped(factor):
    (finding,) = jumps(scaled(slice(100, None), factor))
    assert (finding.code, finding.date, finding.action) == ("level_shift", DAY, "kept")
    assert ("near a split of 1 for 2" in finding.text) == (factor == 2.0)


def test_the_same_shift_on_a_wide_and_busy_day_is_a_move_of_the_market():
    bars = scaled(slice(100, None), 1.61)
    bars.loc[100, "Low"] /= 1.2
    bars.loc[100, "Volume"] *= 20
    assert found(bars) == [("large_move", "kept")]


def test_a_shift_after_a_long_halt_is_no_wrong_adjustment():
    bars = scaled(slice(100, None), 1.61).drop(index=range(90, 100)).reset_index(drop=True)
    assert found(bars) == [("large_move", "kept")]


def test_a_shift_in_a_share_that_hardly_trades_is_no_wrong_adjustment():
    bars = scaled(slice(100, None), 1.3)
    for column in ("Open", "High", "Low"):
        bars.loc[:99, column] = bars.loc[:99, "Close"]
    assert found(bars) == []


def test_a_jump_during_the_day_is_the_markets_its_quiet_return_overnight_is_not():
    bars = BARS.copy()
    bars.loc[100, ["High", "Close"]] = BARS["Close"][100] * 1.8
    assert found(bars) == [("large_move", "kept"), ("level_shift", "kept")]


def test_tick_noise_of_a_penny_stock_is_no_split():
    tick = 1 / 32
    coarse = BARS.assign(Open=tick, High=3 * tick, Low=tick, Close=tick)
    coarse.loc[50:60, ["Open", "Close"]] = 2 * tick
    assert "refused" not in {action for _, action in found(coarse)}


def test_a_first_bar_has_nothing_to_jump_from():
    assert jumps(BARS[:1]) == []
