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
from generate_synthetic_data import (
    REGIMES,
    Split,
    as_traded,
    generate_synthetic_stock_data,
    main,
)

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


def walks(regime: str, years: int = 20) -> list[np.ndarray]:
    """Log closes of nine tickers."""
    bars = (
        generate_synthetic_stock_data(
            f"DEMO{n}", date(2005, 1, 1), date(2004 + years, 12, 31), None, regime
        )
        for n in range(9)
    )
    return [np.log(frame["Close"].to_numpy()) for frame in bars]


@pytest.mark.parametrize("regime", sorted({*REGIMES} - {"crash_and_recovery"}))
def test_a_regime_has_about_its_own_volatility(regime):
    (phase,) = REGIMES[regime].phases
    spread = np.median([np.diff(walk).std() for walk in walks(regime)]) * np.sqrt(252)
    assert spread == pytest.approx(phase.volatility, rel=0.12)


def test_bulls_rise_bears_fall_and_sideways_stays():
    moves = {r: np.median([w[-1] - w[0] for w in walks(r)]) for r in ("bull", "bear", "sideways")}
    assert moves["bull"] > 4 and moves["bear"] < -4 and abs(moves["sideways"]) < 0.3
    spans = {r: np.median([np.ptp(walk) for walk in walks(r)]) for r in ("normal", "sideways")}
    assert spans["sideways"] < spans["normal"] / 2


def test_a_crash_comes_after_a_year_and_is_made_up_for_in_half_a_year():
    paths = np.array([walk[:400] for walk in walks("crash_and_recovery", years=2)])
    before, bottom, after = (paths[:, day].mean() for day in (249, 274, 399))
    assert bottom - before < -0.25 and after - before == pytest.approx(0, abs=0.15)
    quiet, wild = (np.diff(paths)[:, days].std() for days in (slice(0, 249), slice(249, 274)))
    assert wild > 2 * quiet


def test_falls_raise_volatility_more_than_rises():
    moves = [np.diff(walk) for walk in walks("normal")]
    falls, rises = (
        np.mean([np.abs(m[1:])[side * m[:-1] > 1.5 * m.std()].mean() / m.std() for m in moves])
        for side in (-1, 1)
    )
    assert falls > 1.1 * rises


def test_a_split_jumps_in_traded_prices_and_not_in_adjusted_ones():
    bars = generate_synthetic_stock_data("DEMO", START, END, 300)
    raw = as_traded(
        bars, [Split(bars["Date"][100].date(), 4), Split(bars["Date"][200].date(), 0.5)]
    )
    np.testing.assert_allclose(
        raw["Close"] / bars["Close"], [2.0] * 100 + [0.5] * 100 + [1.0] * 100
    )
    np.testing.assert_allclose(
        raw["Close"] * raw["Volume"], bars["Close"] * bars["Volume"], rtol=1e-5
    )
    assert raw["Adj Close"].equals(bars["Adj Close"])
    assert raw["split_coefficient"][[99, 100, 101, 200]].tolist() == [1, 4, 1, 0.5]


@pytest.mark.parametrize(
    ("split", "why"),
    [
        (Split(date(2030, 1, 1), 4), "outside"),
        (Split(date(1990, 1, 1), 4), "outside"),
        (Split(date(2024, 11, 1), 1), "ratio"),
        (Split(date(2024, 11, 1), -2), "ratio"),
    ],
)
def test_a_split_that_splits_nothing_is_refused(split, why):
    with pytest.raises(ValueError, match=why):
        as_traded(generate_synthetic_stock_data("DEMO", START, END, 300), [split])


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ({"start_date": "2025-01-04", "end_date": "2025-01-05"}, "no session"),
        ({"start_date": "2025-01-06", "end_date": "2025-01-03"}, "no session"),
        ({"num_days": 0}, "at least 1"),
        ({"regime": "boring"}, "no regime"),
    ],
)
def test_an_impossible_wish_is_refused_in_words(wish, why):
    given = {"start_date": "2025-01-01", "end_date": "2025-02-01", **wish}
    with pytest.raises(ValueError, match=why):
        generate_synthetic_stock_data("AAPL", **given)


def test_the_command_writes_into_the_synthetic_place_only(settings, monkeypatch, capsys):
    monkeypatch.setenv("STOCK_AS_OF", "2025-12-31")
    assert main(["demo", "--days", "300", "--regime", "bull"]) == 0
    told = capsys.readouterr().out
    assert told == "DEMO: 300 synthetic bars, bull, 2024-10-21 to 2025-12-31\n"
    assert Path("data/synthetic/DEMO_synthetic.csv").is_file() and not Path("data/raw").exists()
    shown = StockDataPipeline("DEMO").read().provenance
    assert (shown.source, shown.rows, shown.stale) == ("synthetic", 300, False)


def test_a_split_is_written_raw_into_a_file_and_drawn(settings, monkeypatch):
    monkeypatch.setenv("STOCK_AS_OF", "2025-12-31")
    wish = ["demo", "--days", "300", "--split", "2025-03-03:4"]
    assert main([*wish, "--out", "demo.csv", "--plot", "demo.png"]) == 0
    bars = pd.read_csv("demo.csv", index_col="Date")
    assert bars["split_coefficient"]["2025-03-03"] == 4
    assert bars["Close"]["2025-02-28"] / bars["Close"]["2025-03-03"] > 3
    assert Path("demo.png").read_bytes().startswith(b"\x89PNG") and not Path("data").exists()


@pytest.mark.parametrize(
    "wish",
    [
        ["../etc"],
        ["DEMO", "--days", "0"],
        ["DEMO", "--split", "2025-03-03:4"],
        ["DEMO", "--split", "2035-03-03:4", "--out", "demo.csv"],
        ["DEMO", "--out", "nowhere/demo.csv"],
        ["DEMO", "--start", "2025-01-04", "--end", "2025-01-05"],
        ["DEMO", "--end", (date.today() + timedelta(days=30)).isoformat()],
    ],
)
def test_the_command_explains_itself_in_one_line(settings, capsys, wish):
    assert main(wish) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1
    assert told.err.startswith("generate_synthetic_data.py: ")
