"""Tables in every form people have them, and the canonical form the cache keeps."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from contracts import BAR_COLUMNS, BadPrices
from prices.formats import HEADER, from_csv_bytes, read_table, to_csv_bytes

YAHOO = """Date,Open,High,Low,Close,Adj Close,Volume,Dividends,Stock Splits
2025-01-02,10.0,11.0,9.5,10.5,10.1,1000,0.0,0.0
2025-01-03,10.5,12.0,10.0,11.5,11.1,2000,0.0,0.0
"""
BARE = "Date,Open,High,Low,Close,Volume\n2025-01-02,10,11,9.5,10.5,1000\n"
finite = st.floats(1e-9, 1e12, allow_nan=False)


def read(text: str | bytes, ticker: str = "AAPL"):
    data = text.encode() if isinstance(text, str) else text
    return read_table(data, ticker, "file.csv")


def test_yahoos_form_is_split_adjusted():
    bars, adjustment = read(YAHOO)
    assert adjustment == "split" and tuple(bars.columns) == BAR_COLUMNS
    assert bars["Adj Close"].tolist() == [10.1, 11.1]


def test_without_an_adjusted_close_the_close_is_taken_as_adjusted():
    bars, adjustment = read(BARE)
    assert adjustment == "split+dividend" and bars["Adj Close"].tolist() == [10.5]


@pytest.mark.parametrize(
    "same",
    [
        YAHOO.upper().replace("ADJ CLOSE", "ADJ_CLOSE"),
        YAHOO.replace("Date,", "date,").replace("Adj Close", "adjclose"),
        YAHOO.replace("2025-01-02", "2025-01-02 00:00:00-05:00"),
        YAHOO.replace("2025-01-02", "2025-01-02T09:30:00Z"),
        YAHOO.replace(",", ", "),
        "\ufeff" + YAHOO,
        YAHOO.replace("\n", "\r\n"),
        gzip.compress(YAHOO.encode()),
    ],
    ids=["upper", "lower", "zoned", "iso", "blanks", "bom", "crlf", "gzip"],
)
def test_the_same_table_in_another_dress_reads_the_same(same):
    pd.testing.assert_frame_equal(read(same)[0], read(YAHOO)[0], check_exact=True)


def test_an_evening_in_new_york_stays_on_its_own_day():
    bars, _ = read(BARE.replace("2025-01-02", "2025-01-02 23:00:00-05:00"))
    assert bars["Date"][0] == pd.Timestamp("2025-01-02")


@pytest.mark.parametrize(
    "head",
    [
        "Date,Close,High,Low,Open,Volume\n,AAPL,AAPL,AAPL,AAPL,AAPL\n",
        "Price,Close,High,Low,Open,Volume\nTicker,AAPL,AAPL,AAPL,AAPL,AAPL\nDate,,,,,\n",
    ],
    ids=["two lines", "three lines"],
)
def test_a_header_in_several_lines_is_repaired_for_its_own_ticker_only(head):
    text = head + "2025-01-02,10.5,11,9.5,10,1000\n"
    bars, _ = read(text)
    assert bars.loc[0, ["Open", "High", "Low", "Close"]].tolist() == [10, 11, 9.5, 10.5]
    with pytest.raises(BadPrices, match="bars of AAPL, not of MSFT"):
        read(text, "MSFT")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (HEADER, "header and no bars"),
        (b"\xff\xfe\x00", "cannot be read"),
        (gzip.compress(YAHOO.encode())[:40], "cannot be read"),
        ("<html><body>Sign in</body></html>", "web page"),
        (YAHOO.replace("High", "Top"), "no column High; found: Date, Open, Top"),
        (YAHOO.replace("Adj Close", "Close"), "more than one column Close"),
        (YAHOO.replace("Dividends", "close"), "more than one column Close"),
        (YAHOO.replace("Close,Adj", "Close*,Adj"), "copied from a web page"),
        (YAHOO.replace("Dividends", "split_coefficient"), "raw prices"),
        (YAHOO.replace("2025-01-03", "03/01/2025"), "bar 2: Date '03/01/2025'"),
        (YAHOO.replace("2025-01-03", "2025-13-03"), "bar 2: Date '2025-13-03'"),
        (YAHOO.replace("2025-01-03", ""), "bar 2: Date nan"),
        (YAHOO.replace("12.0", "dividend"), "bar 2: High 'dividend' is not a number"),
        (YAHOO + "1,2,3,4,5,6,7,8,9,10,11\n", "no regular CSV table"),
    ],
)
def test_what_is_no_price_table_is_refused_in_one_line(text, why):
    with pytest.raises(BadPrices, match=why.replace("/", ".")) as refusal:
        read(text)
    assert "\n" not in str(refusal.value)


@given(rows=st.lists(st.tuples(finite, finite, finite, finite, finite), min_size=1, max_size=20))
@hypothesis_settings(deadline=None, max_examples=100)
def test_the_canonical_form_reads_back_bit_for_bit(rows):
    bars = pd.DataFrame(rows, columns=list(BAR_COLUMNS[1:6]))
    days = pd.date_range("1962-01-02", periods=len(bars)).astype("datetime64[ns]")
    bars.insert(0, "Date", days)
    bars["Volume"] = np.arange(len(bars), dtype=np.int64) * 10**12
    pd.testing.assert_frame_equal(from_csv_bytes(to_csv_bytes(bars)), bars, check_exact=True)


def test_a_prefix_of_the_bars_is_a_prefix_of_the_bytes():
    bars, _ = read(YAHOO)
    bars["Volume"] = bars["Volume"].astype(np.int64)
    whole = to_csv_bytes(bars)
    assert whole.startswith(HEADER)
    assert whole.startswith(to_csv_bytes(bars.iloc[:1]))
