"""Invented bars: the same for the same wish, always well-formed, shaped like a market."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from calendars import sessions_between
from contracts import BAR_COLUMNS
from data_pipeline import StockDataPipeline
from generate_synthetic_data import REGIMES, generate_synthetic_stock_data, main

START, END = date(2015, 1, 1), date(2024, 12, 31)
ROOT = Path(__file__).resolve().parent.parent


def log_returns(bars: pd.DataFrame) -> np.ndarray:
    return np.diff(np.log(bars["Close"].to_numpy()))


@given(days=st.integers(1, 2000), ticker=st.sampled_from(["AAPL", "MSFT", "BTC-USD"]))
@hypothesis_settings(deadline=None, max_examples=40)
def test_a_later_end_leaves_earlier_bars_as_they_are_bit_for_bit(days, ticker):
    whole = generate_synthetic_stock_data(ticker, START, END, None)
    early = generate_synthetic_stock_data(ticker, START, whole["Date"][days].date(), None)
    pd.testing.assert_frame_equal(early, whole.iloc[: days + 1], check_exact=True)


def test_num_days_keeps_the_latest_bars_of_the_same_walk():
    whole = generate_synthetic_stock_data("AAPL", START, END, None)
    tail = generate_synthetic_stock_data("AAPL", START, END, 250)
    pd.testing.assert_frame_equal(tail, whole.tail(250).reset_index(drop=True), check_exact=True)
    assert len(generate_synthetic_stock_data("AAPL", START, END)) == 1500


def test_another_process_with_another_hash_seed_invents_the_same_bars():
    code = (
        "import hashlib; from generate_synthetic_data import generate_synthetic_stock_data as g;"
        "print(hashlib.sha256(g('AAPL', '2020-01-01', '2020-06-30').to_csv().encode()).hexdigest())"
    )
    there = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "4711"},
    ).stdout.strip()
    here = generate_synthetic_stock_data("AAPL", "2020-01-01", "2020-06-30").to_csv().encode()
    assert there == hashlib.sha256(here).hexdigest()


def test_ticker_and_regime_make_different_walks():
    walks = [("AAPL", "normal"), ("MSFT", "normal"), ("AAPL", "calm")]
    shapes = [
        tuple(log_returns(generate_synthetic_stock_data(t, START, END, 100, r))) for t, r in walks
    ]
    assert len(set(shapes)) == 3


@pytest.mark.parametrize("regime", REGIMES)
def test_every_bar_is_well_formed_in_every_regime(regime):
    bars = generate_synthetic_stock_data("AAPL", date(1990, 1, 1), END, None, regime)
    assert tuple(bars.columns) == BAR_COLUMNS
    assert (bars["High"] >= bars[["Open", "Close", "Low"]].max(axis=1)).all()
    assert (bars["Low"] <= bars[["Open", "Close"]].min(axis=1)).all()
    assert (bars["Low"] > 0).all() and np.isfinite(bars["High"]).all()
    assert (bars["Volume"] > 0).all() and (bars["Adj Close"] == bars["Close"]).all()


@pytest.mark.parametrize("ticker", ["AAPL", "0700.HK", "BTC-USD"])
def test_bars_lie_on_the_sessions_of_the_exchange(ticker):
    bars = generate_synthetic_stock_data(ticker, START, END, None)
    assert tuple(bars["Date"].dt.date) == sessions_between(ticker, START, END)


def test_turbulence_is_wilder_than_calm_and_each_has_about_its_own_volatility():
    spread = {
        name: log_returns(
            generate_synthetic_stock_data("AAPL", date(1985, 1, 1), END, None, name)
        ).std()
        * np.sqrt(252)
        for name in REGIMES
    }
    assert spread["calm"] < spread["normal"] < spread["turbulent"]
    for name, regime in REGIMES.items():
        assert spread[name] == pytest.approx(regime.volatility, rel=0.35)


def test_quiet_and_wild_days_cluster_and_wild_ones_are_busy():
    bars = generate_synthetic_stock_data("AAPL", date(1985, 1, 1), END, None)
    size = np.abs(log_returns(bars))
    assert np.corrcoef(size[1:], size[:-1])[0, 1] > 0.08
    assert np.corrcoef(size, np.log(bars["Volume"].to_numpy()[1:]))[0, 1] > 0.2


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ({"start_date": "2025-01-04", "end_date": "2025-01-05"}, "no session"),
        ({"start_date": "2025-01-06", "end_date": "2025-01-03"}, "no session"),
        ({"num_days": 0}, "at least 1"),
        ({"regime": "sideways"}, "no regime"),
    ],
)
def test_an_impossible_wish_is_refused_in_words(wish, why):
    given = {"start_date": "2025-01-01", "end_date": "2025-02-01", **wish}
    with pytest.raises(ValueError, match=why):
        generate_synthetic_stock_data("AAPL", **given)


def test_the_command_writes_into_the_synthetic_place_only(settings, monkeypatch, capsys):
    monkeypatch.setenv("STOCK_AS_OF", "2025-12-31")
    assert main(["demo", "--days", "300", "--regime", "bull"]) == 0
    assert "DEMO: 300 synthetic bars, 2024-10-21 to 2025-12-31" in capsys.readouterr().out
    assert Path("data/synthetic/DEMO_synthetic.csv").is_file() and not Path("data/raw").exists()
    shown = StockDataPipeline("DEMO").read().provenance
    assert (shown.source, shown.rows, shown.stale) == ("synthetic", 300, False)


@pytest.mark.parametrize(
    "wish",
    [
        ["../etc"],
        ["DEMO", "--days", "0"],
        ["DEMO", "--start", "2025-01-04", "--end", "2025-01-05"],
        ["DEMO", "--end", (date.today() + timedelta(days=30)).isoformat()],
    ],
)
def test_the_command_explains_itself_in_one_line(settings, capsys, wish):
    assert main(wish) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1
    assert told.err.startswith("generate_synthetic_data.py: ")
