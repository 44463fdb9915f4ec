"""Which bars are trusted, repaired, dropped, noted or refused; real faulty files among them."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from contracts import BadPrices
from generate_synthetic_data import generate_synthetic_stock_data
from prices.formats import read_table
from prices.sessions import market_at
from prices.validation import Checked, check_bars, judged

ROOT = Path(__file__).resolve().parent.parent
NOW = datetime(2026, 11, 21, tzinfo=UTC)
BARS = generate_synthetic_stock_data("AAPL", "2020-01-01", "2023-12-31", None, "calm")
PRICES = ["Open", "High", "Low", "Close", "Adj Close"]
SHIFT = "level_shift"
NYSE = market_at("AAPL", NOW)


def changed(row: int | slice, **cells: float) -> pd.DataFrame:
    """A copy of BARS with the cells of one row, or of an inclusive slice of rows, replaced."""
    other = BARS.astype({"Volume": float})
    for column, value in cells.items():
        other.loc[row, column] = value
    return other


def scaled(rows: slice, factor: float) -> pd.DataFrame:
    other = BARS.copy()
    other.loc[rows, PRICES] *= factor
    return other


def counts(checked: Checked) -> dict[str, int]:
    return dict(checked.report.counts)


def test_good_bars_pass_unchanged_and_without_a_word():
    checked = check_bars(BARS, "x", NYSE)
    pd.testing.assert_frame_equal(checked.bars, BARS, check_exact=True)
    assert checked.findings == () and checked.refusal is None


def test_two_different_bars_of_one_day_leave_none():
    other = changed(7, Close=BARS["Close"][7] * 1.001).iloc[[7]]
    checked = check_bars(pd.concat([BARS, other]), "x")
    assert counts(checked) == {"conflicting_bars": 1}
    pd.testing.assert_frame_equal(checked.bars, BARS.drop(7).reset_index(drop=True))


def test_bars_that_differ_by_float_noise_are_one():
    noisy = BARS.iloc[[7]].assign(Close=BARS["Close"][7] * (1 + 1e-9))
    assert counts(check_bars(pd.concat([noisy, BARS]), "x")) == {"repeated_row": 1}


@pytest.mark.parametrize(
    ("cells", "code"),
    [
        ({"Close": np.nan}, "missing_price"),
        ({"Adj Close": np.nan}, "missing_price"),
        ({"Open": 0.0}, "nonpositive_price"),
        ({"Low": -1.0}, "nonpositive_price"),
        ({"High": np.inf}, "infinite_price"),
        ({"High": 1e-3}, "high_below_low"),
        ({"Open": 1e6}, "outside_range"),
        ({"Volume": -5.0}, "bad_volume"),
        ({"Volume": np.inf}, "bad_volume"),
        ({"Close": -np.inf, "High": np.nan}, "missing_price"),  # the plainest reason counts
    ],
    ids=str,
)
def test_a_few_unusable_bars_are_dropped_and_named_many_are_refused(cells, code):
    checked = check_bars(changed(7, **cells), "x")
    day = BARS["Date"][7]
    assert len(checked.bars) == len(BARS) - 1 and day not in set(checked.bars["Date"])
    assert [(f.code, f.date, f.action) for f in checked.findings] == [(code, day.date(), "dropped")]
    with pytest.raises(BadPrices, match=f"x: 6 of 1006 rows cannot be used, the first on {day:%F}"):
        check_bars(changed(slice(7, 12), **cells), "x")


def test_half_of_a_short_table_cannot_be_dropped():
    assert len(check_bars(changed(0, Close=np.nan).iloc[:2], "x").bars) == 1
    with pytest.raises(BadPrices, match="2 of 3 rows cannot be used"):
        check_bars(changed(slice(0, 1), Close=np.nan).iloc[:3], "x")


def test_a_missing_volume_is_none_traded():
    checked = check_bars(changed(7, Volume=np.nan), "x")
    assert checked.bars["Volume"][7] == 0 and checked.bars["Volume"].dtype == np.int64
    assert counts(checked) == {"missing_volume": 1, "zero_volume": 1}


def test_a_close_a_little_outside_widens_the_range_float_noise_does_not():
    checked = check_bars(changed(7, Close=BARS["High"][7] * 1.002), "x")
    assert checked.bars["High"][7] == checked.bars["Close"][7] == BARS["High"][7] * 1.002
    assert [(f.code, f.action) for f in checked.findings] == [("range_widened", "repaired")]
    assert check_bars(changed(7, Open=BARS["Low"][7] * (1 - 1e-9)), "x").findings == ()


def test_nothing_is_not_a_table_of_prices():
    with pytest.raises(BadPrices, match="it holds no bars"):
        check_bars(BARS[:0], "x")
    with pytest.raises(BadPrices, match="2 of 2 rows cannot be used"):
        check_bars(changed(slice(0, 1), Close=np.nan).iloc[:2], "x")


def test_days_that_have_not_ended_are_dropped():
    morning = market_at("AAPL", datetime(2023, 12, 28, 15, tzinfo=UTC))
    checked = check_bars(BARS, "x", morning)
    assert counts(checked) == {"future_date": 2}  # the 28th, still trading, and the 29th
    assert checked.bars["Date"].iloc[-1] == pd.Timestamp("2023-12-27")


def test_a_refused_table_is_told_with_everything_else_that_was_found():
    table = scaled(slice(100, 104), 0.5)
    table.loc[7, "Close"] = np.nan
    checked = judged(table)
    assert {"missing_price", "mixed_split"} <= set(counts(checked))
    assert checked.refusal is not None and "applied to some rows" in checked.refusal


# Any order, any repetition; every corruption is found


@given(data=st.data())
@hypothesis_settings(deadline=None, max_examples=25)
def test_order_and_repetition_of_rows_change_nothing(data):
    rows = data.draw(st.permutations(range(60)))
    again = data.draw(st.lists(st.sampled_from(range(60)), max_size=40))
    table = BARS.iloc[[*rows, *again]].reset_index(drop=True)
    checked = check_bars(table, "x", NYSE)
    pd.testing.assert_frame_equal(checked.bars, BARS.iloc[:60], check_exact=True)
    assert counts(checked) == ({"repeated_row": len(again)} if again else {})


def missing(table: pd.DataFrame, row: int, length: int) -> str:
    table.loc[row : row + length - 1, PRICES[row % 5]] = np.nan
    return "missing_price"


def negative(table: pd.DataFrame, row: int, length: int) -> str:
    table.loc[row : row + length - 1, PRICES[row % 5]] *= -1
    return "nonpositive_price"


def swapped(table: pd.DataFrame, row: int, length: int) -> str:
    rows = slice(row, row + length - 1)
    table.loc[rows, ["High", "Low"]] = table.loc[rows, ["Low", "High"]].to_numpy()
    return "high_below_low"


def copied(table: pd.DataFrame, row: int, length: int) -> str:
    values = table.loc[row : row + length + 1, [*PRICES, "Volume"]].to_numpy()
    table.loc[row + 50 : row + 51 + length, [*PRICES, "Volume"]] = values
    return "copied_block"


def in_cents(table: pd.DataFrame, row: int, length: int) -> str:
    table.loc[row : row + length - 1, PRICES] *= 100
    return "absurd_move"


@given(
    corrupt=st.sampled_from([missing, negative, swapped, copied, in_cents]),
    row=st.integers(1, 900),
    length=st.integers(1, 40),
)
@hypothesis_settings(deadline=None, max_examples=60)
def test_every_corruption_is_found_dropped_or_refused(corrupt, row, length):
    table = BARS.astype({"Volume": float})
    code = corrupt(table, row, length)
    checked = judged(table, NYSE)
    assert code in counts(checked)
    if checked.refusal is None:
        kept = BARS[BARS["Date"].isin(checked.bars["Date"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(checked.bars, kept, check_exact=True)


@given(row=st.integers(1, 900), length=st.integers(1, 4))
@hypothesis_settings(deadline=None, max_examples=20)
def test_what_has_been_checked_is_not_changed_again(row, length):
    table = BARS.astype({"Volume": float})
    missing(table, row, length)
    once = judged(table, NYSE)
    twice = judged(once.bars, NYSE)
    pd.testing.assert_frame_equal(twice.bars, once.bars, check_exact=True)
    assert set(counts(twice)) == {"missing_session"}


# Real files

# What becomes of every real faulty or foreign file: why it is refused, or rows and findings.
OUTCOMES: dict[str, str | tuple[int, dict[str, int]]] = {
    "faulty/AAPL_multiindex_header.csv": (1586, {"header_lines": 1}),
    "faulty/AMC.csv": (2572, {"large_move": 9}),
    "faulty/DHR_spinoff_double_counted_2016.csv": (2926, {"level_shift": 1}),
    "faulty/IBM_html_scrape.csv": (
        5532,
        {"event_row": 91, "footer_row": 1, "starred_header": 1},
    ),
    "faulty/MNST_mixed_split_2026.csv": "2026-07-20 Close 97.5 to 47.725, undone on 2026-07-23",
    "faulty/NASDAQ_failed_download.csv": "header and no bars",
    "faulty/NDX_flat_ohlc_zero_volume.csv": (
        1466,
        {"header_lines": 1, "missing_session": 75, "no_range": 1, "no_volume": 1},
    ),
    "faulty/SOXS.csv": "2026-05-26 Close 1159.5 to 62.9, beyond a factor of ten",
    "reference_tables/IBM_2006-01-01_to_2018-01-01.csv": (
        3019,
        {"footer_row": 1, "missing_price": 1, "missing_session": 1, "range_widened": 4},
    ),
    "reference_tables/alphavantage_daily_adjusted_AAPL.csv": (
        5309,
        {"large_move": 1, "split_undone": 4},
    ),
    "reference_tables/alphavantage_daily_adjusted_IBM.csv": (5309, {}),
    "yahoo/AAPL.csv": (11355, {"large_move": 1, "zero_volume": 1}),
    "yahoo/GOOGL.csv": (5377, {}),
    "yahoo/IBM.csv": (16108, {"zero_volume": 3}),
    "yahoo/MSFT.csv": (10029, {}),
}


def owner(name: str) -> str:
    words = Path(name).stem.split("_")
    return words[-1] if words[0] == "alphavantage" else words[0]


def verdict(path: Path) -> Checked:
    table = read_table(path.read_bytes(), owner(path.name), path.name)
    market = market_at(owner(path.name), NOW)
    return check_bars(table.bars, path.name, market, table.findings)


def test_every_real_file_has_its_outcome_stated(real_data):
    folders = ("faulty", "reference_tables", "yahoo")
    files = [path for folder in folders for path in (real_data / folder).iterdir()]
    assert {str(path.relative_to(real_data)) for path in files} == set(OUTCOMES)


@pytest.mark.parametrize("name", OUTCOMES)
def test_real_files_come_to_their_stated_end(real_data, name):
    outcome = OUTCOMES[name]
    if isinstance(outcome, str):
        with pytest.raises(BadPrices, match=outcome):
            verdict(real_data / name)
        return
    checked = verdict(real_data / name)
    assert (len(checked.bars), counts(checked)) == outcome


@pytest.mark.parametrize(
    "name",
    [
        "reference_tables/alphavantage_daily_adjusted_AAPL.csv",
        "reference_tables/alphavantage_daily_adjusted_IBM.csv",
        "faulty/IBM_html_scrape.csv",
    ],
)
def test_repaired_files_agree_with_yahoos_own(real_data, name):
    truth = pd.read_csv(real_data / f"yahoo/{owner(name)}.csv", parse_dates=["Date"])
    both = verdict(real_data / name).bars.merge(truth, on="Date", suffixes=("", "_yahoo"))
    ratio = both["Close"] / both["Close_yahoo"]
    scale = 1.0 if owner(name) == "AAPL" else ratio.median()  # IBM spun Kyndryl off in 2021
    assert len(both) > 5000 and (ratio / scale - 1).abs().quantile(0.95) < 1e-3


def test_no_real_stock_of_the_panel_is_refused_or_shortened(real_data):
    files = sorted((real_data / "panel").glob("*.csv.gz"))
    shifted = {}
    for path in files:
        ticker = path.name.removesuffix(".csv.gz")
        table = read_table(path.read_bytes(), ticker, path.name)
        checked = check_bars(table.bars, path.name, market_at(ticker, NOW), table.findings)
        assert len(checked.bars) == len(table.bars), path.name
        shifted |= {f.date.isoformat(): ticker for f in checked.findings if f.code == SHIFT}
    assert len(files) > 400
    # a spin-off counted twice, one not counted, and one real crash without the usual noise
    assert shifted == {"2016-07-05": "DHR", "2015-08-18": "VTR", "2020-03-16": "CRH"}


def test_looking_at_cached_bars_loads_no_schema_library(tmp_path):
    code = f"""
import sys
from datetime import UTC, datetime
from pathlib import Path
import pandas as pd
from prices.cache import Label, Shelf
bars = pd.DataFrame({{"Date": pd.to_datetime(["2025-01-02"]), "Volume": [1]}})
bars[["Open", "High", "Low", "Close", "Adj Close"]] = 1.0
shelf = Shelf(Path({str(tmp_path)!r}), "raw", adopts="file")
shelf.put("AAPL", bars, Label(source="file", adjustment="split", fetched_at=datetime.now(UTC)))
assert len(shelf.get("AAPL").bars) == 1
print([name for name in ("pandera", "exchange_calendars") if name in sys.modules])
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (run.returncode, run.stdout) == (0, "[]\n"), run.stderr
