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
from prices.formats import HEADER, Table, from_csv_bytes, read_table, to_csv_bytes

YAHOO = """Date,Open,High,Low,Close,Adj Close,Volume,Dividends,Stock Splits
2025-01-02,10.0,11.0,9.5,10.5,10.1,1000,0.0,0.0
2025-01-03,10.5,12.0,10.0,11.5,11.1,2000,0.0,0.0
"""
BARE = "Date,Open,High,Low,Close,Volume\n2025-01-02,10,11,9.5,10.5,1000\n"
finite = st.floats(1e-9, 1e12, allow_nan=False)


def read(text: str | bytes, ticker: str = "AAPL") -> Table:
    data = text.encode() if isinstance(text, str) else text
    return read_table(data, ticker, "file.csv")


def codes(text: str) -> dict[str, str]:
    """What was done to read it."""
    return {finding.code: finding.action for finding in read(text).findings}


def test_yahoos_form_is_split_adjusted():
    table = read(YAHOO)
    assert table.adjustment == "split" and tuple(table.bars.columns) == BAR_COLUMNS
    assert table.bars["Adj Close"].tolist() == [10.1, 11.1] and table.findings == ()


def test_without_an_adjusted_close_the_close_is_taken_as_adjusted():
    table = read(BARE)
    assert table.adjustment == "split+dividend" and table.bars["Adj Close"].tolist() == [10.5]


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
        gzip.compress(YAHOO.encode(), mtime=0),
        YAHOO.replace("2025-01-02", '"Jan 2, 2025"'),
        YAHOO.replace(",2000,", ',"2,000",'),
    ],
    ids=["upper", "lower", "zoned", "iso", "blanks", "bom", "crlf", "gzip", "spoken", "grouped"],
)
def test_the_same_table_in_another_dress_reads_the_same(same):
    pd.testing.assert_frame_equal(read(same).bars, read(YAHOO).bars, check_exact=True)


def test_an_evening_in_new_york_stays_on_its_own_day():
    bars = read(BARE.replace("2025-01-02", "2025-01-02 23:00:00-05:00")).bars
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
    assert read(text).bars.loc[0, ["Open", "High", "Low", "Close"]].tolist() == [10, 11, 9.5, 10.5]
    assert codes(text) == {"header_lines": "repaired"}
    with pytest.raises(BadPrices, match="bars of AAPL, not of MSFT"):
        read(text, "MSFT")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (HEADER, "header and no bars"),
        (b"\xff\xfe\x00", "cannot be read"),
        (gzip.compress(YAHOO.encode(), mtime=0)[:40], "cannot be read"),
        ("<html><body>Sign in</body></html>", "web page"),
        (YAHOO.replace("High", "Top"), "no column High; found: Date, Open, Top"),
        (YAHOO.replace("Adj Close", "Close"), "more than one column Close"),
        (YAHOO.replace("Dividends", "close"), "more than one column Close"),
        (BARE.replace("2025-01-02", "03/01/2025"), "row 1: Date '03/01/2025' is not like"),
        (BARE.replace("2025-01-02", "2025-13-02"), "row 1: Date '2025-13-02'"),
        (BARE.replace("2025-01-02", ""), "row 1: Date nan"),
        (BARE.replace("11", "eleven"), "row 1: High 'eleven' is not a number"),
        (BARE.replace("10,11,9.5,10.5,1000", "a,b,c,d,e").replace("2025", "x"), "and no bars"),
        (YAHOO + "1,2,3,4,5,6,7,8,9,10,11\n", "no regular CSV table"),
    ],
)
def test_what_is_no_price_table_is_refused_in_one_line(text, why):
    with pytest.raises(BadPrices, match=why.replace("/", ".")) as refusal:
        read(text)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("cell", "other", "text"),
    [
        ("2025-01-03", "03/01/2025", "row 2: Date '03/01/2025' is not like 2020-01-31"),
        ("12.0", "dear", "row 2: High 'dear' is not a number"),
    ],
)
def test_a_row_that_cannot_be_read_is_dropped_and_told(cell, other, text):
    table = read(YAHOO.replace(cell, other))
    assert len(table.bars) == 1
    assert [(f.code, f.action, f.text) for f in table.findings] == [
        ("unreadable_row", "dropped", text)
    ]


PAGE = """,Date,Open,High,Low,Close*,Adj Close**,Volume
0,"Jan 03, 2025",10.50,12.00,10.00,11.50,11.10,2000
1,"Jan 03, 2025",1.63 Dividend,1.63 Dividend,1.63 Dividend,1.63 Dividend,1.63 Dividend,1.63 Dividend
2,"Jan 02, 2025",10.00,11.00,9.50,10.50,10.10,1000
3,"Jan 02, 2025",2:1 Stock Split,2:1 Stock Split,2:1 Stock Split,2:1 Stock Split,2:1 Stock Split,2:1
4,*Close price adjusted,*Close price adjusted,*Close,*Close,*Close,*Close,*Close
"""


def test_a_table_copied_from_a_page_loses_its_stars_its_events_and_its_footer():
    table = read(PAGE)
    newest_last = table.bars.iloc[::-1].reset_index(drop=True)
    pd.testing.assert_frame_equal(newest_last, read(YAHOO).bars, check_exact=True)
    told = {(f.code, f.text) for f in table.findings if f.code == "event_row"}
    assert {text for _, text in told} == {
        "a row that tells of a Dividend",
        "a row that tells of a Stock Split",
    }
    assert codes(PAGE) == {
        "starred_header": "repaired",
        "event_row": "dropped",
        "footer_row": "dropped",
    }


ALPHA = """timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient
2025-01-07,5.5,5.6,5.4,5.5,5.5,4000,0.0000,1.0
2025-01-06,5.1,5.3,5.0,5.2,5.2,3000,0.0000,2.0
2025-01-03,10.5,12.0,10.0,11.0,5.5,2000,0.0000,1.0
2025-01-02,10.0,11.0,9.5,10.5,5.25,1000,0.0000,1.0
"""


def test_raw_prices_have_their_splits_undone():
    table = read(ALPHA)
    assert table.adjustment == "split" and tuple(table.bars.columns) == BAR_COLUMNS
    assert table.bars["Close"].tolist() == [5.5, 5.2, 5.5, 5.25]
    assert table.bars["Volume"].tolist() == [4000, 3000, 4000, 2000]
    assert [(f.code, str(f.date), f.action) for f in table.findings] == [
        ("split_undone", "2025-01-06", "repaired")
    ]


def test_splits_that_do_not_show_in_the_prices_are_not_undone_twice():
    adjusted = ALPHA.replace("10.5,12.0,10.0,11.0", "5.2,6.0,5.0,5.5").replace(
        "10.0,11.0,9.5,10.5", "5,5.5,4.75,5.25"
    )
    assert read(adjusted).bars["Close"].tolist() == [5.5, 5.2, 5.5, 5.25]
    assert codes(adjusted) == {"split_not_in_prices": "kept"}


def test_the_last_line_of_a_broken_export_is_no_bar():
    text = BARE + "-1,,,,,\n"
    assert len(read(text).bars) == 1 and codes(text) == {"footer_row": "dropped"}


def test_an_empty_day_stays_for_validation_to_judge():
    table = read(BARE + "2025-01-03,null,null,null,null,null\n")
    assert len(table.bars) == 2 and table.bars["Close"].isna().tolist() == [False, True]


@given(rows=st.lists(st.tuples(finite, finite, finite, finite, finite), min_size=1, max_size=20))
@hypothesis_settings(deadline=None, max_examples=100)
def test_the_canonical_form_reads_back_bit_for_bit(rows):
    bars = pd.DataFrame(rows, columns=list(BAR_COLUMNS[1:6]))
    days = pd.date_range("1962-01-02", periods=len(bars)).astype("datetime64[ns]")
    bars.insert(0, "Date", days)
    bars["Volume"] = np.arange(len(bars), dtype=np.int64) * 10**12
    pd.testing.assert_frame_equal(from_csv_bytes(to_csv_bytes(bars)), bars, check_exact=True)


def test_a_prefix_of_the_bars_is_a_prefix_of_the_bytes():
    bars = read(YAHOO).bars
    bars["Volume"] = bars["Volume"].astype(np.int64)
    whole = to_csv_bytes(bars)
    assert whole.startswith(HEADER)
    assert whole.startswith(to_csv_bytes(bars.iloc[:1]))
