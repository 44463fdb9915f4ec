"""Which bars are trusted, dropped, noted or refused; real faulty files among them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from contracts import BadPrices
from generate_synthetic_data import generate_synthetic_stock_data
from prices.formats import read_table
from prices.validation import check_bars


@pytest.fixture
def bars() -> pd.DataFrame:
    return generate_synthetic_stock_data("AAPL", "2020-01-01", "2023-12-31", None, "calm")


def changed(bars: pd.DataFrame, row: int | slice, **cells: float) -> pd.DataFrame:
    """A copy with the cells of one row, or of an inclusive slice of rows, replaced."""
    other = bars.astype({"Volume": float})
    for column, value in cells.items():
        other.loc[row, column] = value
    return other


def scaled(bars: pd.DataFrame, rows: slice, factor: float) -> pd.DataFrame:
    other = bars.copy()
    other.loc[rows, ["Open", "High", "Low", "Close", "Adj Close"]] *= factor
    return other


def test_good_bars_pass_unchanged_and_without_a_word(bars):
    checked = check_bars(bars, "x")
    pd.testing.assert_frame_equal(checked.bars, bars, check_exact=True)
    assert checked.notes == ()


def test_newest_first_is_turned_round(bars):
    checked = check_bars(bars[::-1].reset_index(drop=True), "x")
    pd.testing.assert_frame_equal(checked.bars, bars, check_exact=True)


def test_identical_repeats_are_dropped_and_counted(bars):
    checked = check_bars(pd.concat([bars, bars.iloc[[7, 9]]]), "x")
    pd.testing.assert_frame_equal(checked.bars, bars, check_exact=True)
    assert checked.notes == ("2 repeated rows dropped",)


def test_two_different_bars_of_one_day_are_refused(bars):
    other = changed(bars, 7, Close=bars["Close"][7] * 1.001).iloc[[7]]
    with pytest.raises(
        BadPrices, match=f"two different bars, the first {bars['Date'][7]:%Y-%m-%d}"
    ):
        check_bars(pd.concat([bars, other]), "x")


@pytest.mark.parametrize(
    "cells",
    [
        {"Close": np.nan},
        {"Open": 0.0},
        {"Low": -1.0},
        {"High": np.inf},
        {"High": 1e-3},  # below Low
        {"Adj Close": np.nan},
        {"Open": 1e6},  # far outside Low..High
        {"Volume": -5.0},
    ],
    ids=str,
)
def test_a_few_unusable_bars_are_dropped_and_named_many_are_refused(bars, cells):
    checked = check_bars(changed(bars, 7, **cells), "x")
    assert len(checked.bars) == len(bars) - 1 and bars["Date"][7] not in set(checked.bars["Date"])
    assert checked.notes == (f"1 unusable bars dropped: {bars['Date'][7]:%Y-%m-%d}",)
    with pytest.raises(BadPrices, match="6 of 1006 bars"):
        check_bars(changed(bars, slice(7, 12), **cells), "x")


def test_a_missing_volume_is_none_traded(bars):
    checked = check_bars(changed(bars, 7, Volume=np.nan), "x")
    assert checked.bars["Volume"][7] == 0 and checked.bars["Volume"].dtype == np.int64


def test_a_close_a_hair_outside_the_range_is_kept(bars):
    checked = check_bars(changed(bars, 7, Close=bars["High"][7] * 1.002), "x")
    assert len(checked.bars) == len(bars)


def test_nothing_is_not_a_table_of_prices(bars):
    with pytest.raises(BadPrices, match="no bars"):
        check_bars(bars[:0], "x")
    with pytest.raises(BadPrices, match="no usable bar"):
        check_bars(changed(bars, slice(0, 1), Close=np.nan).iloc[:2], "x")


@pytest.mark.parametrize("factor", [1 / 2, 2, 1 / 3, 5, 1 / 4])
def test_a_split_applied_to_some_rows_only_is_refused(bars, factor):
    with pytest.raises(BadPrices, match="applied to some rows and not to others"):
        check_bars(scaled(bars, slice(100, 105), factor), "x")


@pytest.mark.parametrize("factor", [1 / 20, 20])
def test_a_move_beyond_a_factor_of_ten_is_refused(bars, factor):
    with pytest.raises(BadPrices, match="beyond a factor of ten"):
        check_bars(scaled(bars, slice(0, 100), factor), "x")


def test_a_doubling_that_lasts_is_kept_and_noted(bars):
    checked = check_bars(scaled(bars, slice(100, None), 2), "x")
    assert len(checked.bars) == len(bars)
    assert "1 one-day moves beyond a factor of 1.5, kept" in checked.notes[0]
    assert "like a split" in checked.notes[0]


def test_a_jump_during_the_day_that_reverts_is_kept_and_noted(bars):
    spike = bars["Close"][100] * 1.8
    checked = check_bars(changed(bars, 100, High=spike, Close=spike), "x")
    assert len(checked.bars) == len(bars) and "2 one-day moves" in checked.notes[0]


def test_tick_noise_of_a_penny_stock_is_no_split(bars):
    tick = 1 / 32
    coarse = bars.assign(Open=tick, High=3 * tick, Low=tick, Close=tick)
    coarse.loc[50:60, ["Open", "Close"]] = 2 * tick
    assert len(check_bars(coarse, "x").bars) == len(bars)


# What becomes of every real faulty file: a part of the refusal, or rows kept and a note's part.
FAULTY = {
    "AAPL_multiindex_header": (1586, ""),
    "AMC": (2572, "2021-01-27 Close 49.6 to 199"),  # it really happened
    "DHR_spinoff_double_counted_2016": (2926, "2016-07-05 Close 42.0097 to 67.7273"),
    "IBM_html_scrape": "copied from a web page",
    "MNST_mixed_split_2026": "2026-07-20 Close 97.5 to 47.725, undone on 2026-07-23",
    "NASDAQ_failed_download": "header and no bars",
    "NDX_flat_ohlc_zero_volume": (1466, "1466 of 1466 bars have High equal to Low"),
    "SOXS": "2026-05-26 Close 1159.5 to 62.9, beyond a factor of ten",
}


def test_every_faulty_file_has_its_outcome_stated(real_data):
    assert {path.stem for path in (real_data / "faulty").iterdir()} == set(FAULTY)


@pytest.mark.parametrize("name", FAULTY)
def test_real_faulty_files_come_to_their_stated_end(real_data, name):
    data = (real_data / "faulty" / f"{name}.csv").read_bytes()
    if isinstance(expected := FAULTY[name], str):
        with pytest.raises(BadPrices, match=expected):
            check_bars(read_table(data, name.split("_")[0], f"{name}.csv")[0], f"{name}.csv")
        return
    checked = check_bars(read_table(data, name.split("_")[0], name)[0], name)
    assert len(checked.bars) == expected[0]
    assert expected[1] in " ".join(checked.notes)


def test_no_real_stock_of_the_panel_is_refused(real_data):
    files = sorted((real_data / "panel").glob("*.csv.gz"))
    for path in files:
        table, adjustment = read_table(path.read_bytes(), path.name, path.name)
        assert adjustment == "split+dividend"
        assert len(check_bars(table, path.name).bars) == len(table), path.name
    assert len(files) > 400
