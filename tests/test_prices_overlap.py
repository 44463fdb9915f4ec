"""What became of past bars: splits, dividends and corrections told apart on real prices."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from contracts import BAR_COLUMNS
from prices.overlap import PRICES, SESSIONS, compare, is_continued

NEWEST = -1


@pytest.fixture(scope="module")
def apple(real_data) -> pd.DataFrame:
    told = pd.read_csv(real_data / "yahoo" / "AAPL.csv", parse_dates=["Date"])
    return told[list(BAR_COLUMNS)]


def cached(apple: pd.DataFrame) -> pd.DataFrame:
    return apple.iloc[:-3].reset_index(drop=True)


def tail(apple: pd.DataFrame) -> pd.DataFrame:
    """The overlap and three newer sessions."""
    return apple.tail(SESSIONS + 3).reset_index(drop=True)


def test_the_same_bars_are_no_change(apple):
    found = compare(cached(apple), tail(apple))
    assert (found.change, found.sessions) == ("none", SESSIONS) and is_continued(found)


@pytest.mark.parametrize("noise", [6e-8, 1e-6])
def test_the_noise_of_32_bits_is_no_change(apple, noise):
    fetched = tail(apple)
    fetched[[*PRICES, "Adj Close"]] *= 1 + noise * np.random.default_rng(0).uniform(
        -1, 1, (len(fetched), 5)
    )
    assert compare(cached(apple), fetched).change == "none"


@pytest.mark.parametrize("shares", [4.0, 0.125, 1.5, 1.046])
def test_a_split_divides_every_price_by_one_number(apple, shares):
    fetched = tail(apple)
    fetched[[*PRICES, "Adj Close"]] /= shares
    fetched["Volume"] = (fetched["Volume"] * shares).round()
    found = compare(cached(apple), fetched)
    assert found.change == "split" and found.ratio == pytest.approx(1 / shares)


@pytest.mark.parametrize("share", [8e-5, 0.001, 0.02], ids=["NVDA", "AAPL", "special"])
def test_a_dividend_moves_adj_close_alone(apple, share):
    fetched = tail(apple)
    fetched["Adj Close"] *= 1 - share
    found = compare(cached(apple), fetched)
    assert found.change == "dividend" and found.ratio == pytest.approx(1 - share)


@pytest.mark.parametrize("column", PRICES)
def test_one_corrected_cell_is_a_correction(apple, column):
    fetched = tail(apple)
    fetched.loc[4, column] *= 1.001
    assert compare(cached(apple), fetched).change == "correction"


def test_a_split_applied_to_some_rows_only_is_a_correction(apple):
    fetched = tail(apple)
    fetched.loc[:5, PRICES] /= 4
    assert compare(cached(apple), fetched).change == "correction"


def test_a_lost_or_added_session_is_a_correction(apple):
    assert compare(cached(apple), tail(apple).drop(index=3)).change == "correction"
    assert compare(cached(apple).drop(index=len(apple) - 8), tail(apple)).change == "correction"


def test_late_trades_grow_the_newest_volume_only(apple):
    fetched = tail(apple)
    fetched.loc[SESSIONS - 1, "Volume"] += 1000
    found = compare(cached(apple), fetched)
    assert found.change == "late_volume" and is_continued(found)
    fetched.loc[2, "Volume"] += 1000
    assert compare(cached(apple), fetched).change == "correction"


def test_a_cache_shorter_than_the_overlap_is_compared_whole(apple):
    found = compare(apple.iloc[-6:-3], tail(apple))
    assert (found.change, found.sessions) == ("none", 3)
