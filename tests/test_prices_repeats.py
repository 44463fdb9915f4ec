"""Bars that say the same as others: runs, silence, blocks copied to other days."""

from __future__ import annotations

import pandas as pd
import pytest

from generate_synthetic_data import generate_synthetic_stock_data
from prices.repeats import copied, quiet_sessions

BARS = generate_synthetic_stock_data("AAPL", "2020-01-01", "2020-12-31", None, "calm")
CELLS = ["Open", "High", "Low", "Close", "Adj Close", "Volume"]


def with_copy(length: int, *columns: str) -> pd.DataFrame:
    """Rows 10 and after, `length` of them, once more at row 40."""
    other = BARS.copy()
    chosen = list(columns) or CELLS
    other.loc[40 : 39 + length, chosen] = BARS.loc[10 : 9 + length, chosen].to_numpy()
    return other


def codes(bars: pd.DataFrame) -> list[str]:
    return [finding.code for finding in quiet_sessions(bars)]


@pytest.mark.parametrize("length", [3, 4, 25])
def test_a_block_that_repeats_an_earlier_one_is_a_copy(length):
    bars = with_copy(length)
    assert copied(bars).nonzero()[0].tolist() == list(range(40, 40 + length))


def test_two_bars_alike_or_prices_alone_are_no_copy():
    assert not copied(with_copy(2)).any()
    assert not copied(with_copy(25, "Open", "High", "Low", "Close")).any()
    assert not copied(BARS).any()


def test_quiet_bars_are_no_evidence_of_a_copy():
    assert not copied(BARS.assign(Volume=0, Open=1.0, High=1.0, Low=1.0, Close=1.0)).any()


def test_five_sessions_with_one_bar_are_a_run_four_are_not():
    bars = BARS.copy()
    bars.loc[10:14, CELLS[:4]] = BARS.loc[[10], CELLS[:4]].to_numpy()
    (finding,) = quiet_sessions(bars)
    assert (finding.code, finding.date, finding.action) == (
        "flat_run",
        BARS["Date"][10].date(),
        "kept",
    )
    assert f"5 sessions, through {BARS['Date'][14]:%Y-%m-%d}" in finding.text
    bars.loc[14, "High"] += 1
    assert quiet_sessions(bars) == []


def test_sessions_without_volume_are_named_unless_none_has_one():
    bars = BARS.copy()
    bars.loc[[3, 5], "Volume"] = 0
    assert [finding.date for finding in quiet_sessions(bars)] == [
        BARS["Date"][row].date() for row in (3, 5)
    ]
    assert codes(BARS.assign(Volume=0)) == ["no_volume"]


def test_a_table_that_knows_no_high_and_low_says_so():
    flat = BARS.assign(Open=BARS["Close"], High=BARS["Close"], Low=BARS["Close"])
    assert codes(flat) == ["no_range"]
