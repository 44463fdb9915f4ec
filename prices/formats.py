"""Price tables as bytes: the cache's own CSV form, and the forms people's files come in.

Bytes in, frames out. Knows no path, no clock and not whether a price is plausible.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zlib

import numpy as np
import pandas as pd

from contracts import BAR_COLUMNS, Adjustment, BadPrices

PRICES = ("Open", "High", "Low", "Close", "Adj Close")
GZIP = b"\x1f\x8b"
HEADER = (",".join(BAR_COLUMNS) + "\n").encode()
# What sources call our columns, in lower case with blanks for underscores.
NAMES = {name.lower(): name for name in BAR_COLUMNS} | {
    "datetime": "Date",
    "timestamp": "Date",
    "adjclose": "Adj Close",
    "adjusted close": "Adj Close",
}
DAY = r"^(\d{4}-\d{2}-\d{2})(?:[T ]\d{2}:\d{2}.*)?$"


def to_csv_bytes(bars: pd.DataFrame) -> bytes:
    """Bars in the cache's form: columns of BAR_COLUMNS, ISO dates, floats that read back exactly.

    One line per bar, so a prefix of the bars gives a prefix of the bytes.
    """
    text = bars[list(BAR_COLUMNS)].to_csv(index=False, date_format="%Y-%m-%d", lineterminator="\n")
    return text.encode()


def from_csv_bytes(data: bytes) -> pd.DataFrame:
    """The exact inverse of `to_csv_bytes`; for bytes whose hash is known to be ours."""
    bars = pd.read_csv(io.BytesIO(data), float_precision="round_trip", dtype=_types())
    bars["Date"] = pd.to_datetime(bars["Date"], format="%Y-%m-%d").astype("datetime64[ns]")
    return bars


def sha256_of(data: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(data).hexdigest()


def read_table(data: bytes, ticker: str, name: str) -> tuple[pd.DataFrame, Adjustment]:
    """A price table in any form we know, with what its columns say about its adjustment.

    Known forms: Yahoo's (`Adj Close` beside a split-adjusted `Close`) and tables without
    `Adj Close`, which are taken as adjusted for splits and dividends; gzip or not; dates with
    or without time and zone; headers in any case; the two- and three-line headers that
    `yfinance.download` writes for a single ticker.

    Args:
        data: the file's bytes.
        ticker: whose bars these should be.
        name: what to call the file in an error.

    Returns:
        Columns of BAR_COLUMNS, in the file's own order, NaN where a cell is empty, nothing
        judged yet; and `split` or `split+dividend`.

    Raises:
        BadPrices: no table, missing columns, text where numbers belong, another ticker's bars.
    """
    table = _one_header(_cells(data, name), ticker, name)
    table = _our_columns(table, name)
    adjustment: Adjustment = "split" if "Adj Close" in table else "split+dividend"
    if "Adj Close" not in table:
        table["Adj Close"] = table["Close"]
    bars = pd.DataFrame({"Date": _days(table["Date"], name)})
    for column in BAR_COLUMNS[1:]:
        bars[column] = _numbers(table[column], name)
    return bars, adjustment


def _types() -> dict[str, type]:
    return {**dict.fromkeys(PRICES, float), "Volume": np.int64, "Date": str}


def _cells(data: bytes, name: str) -> pd.DataFrame:
    """Every cell as text."""
    try:
        text = (gzip.decompress(data) if data.startswith(GZIP) else data).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BadPrices(f"{name} cannot be read as a CSV or CSV.GZ file: {error}") from error
    if text.lstrip().startswith("<"):
        raise BadPrices(f"{name} is a web page, not a CSV file; download the table itself")
    try:
        return pd.read_csv(io.StringIO(text), dtype=str, index_col=False, skipinitialspace=True)
    except pd.errors.EmptyDataError as error:
        raise BadPrices(f"{name} is empty") from error
    except pd.errors.ParserError as error:
        raise BadPrices(f"{name} is no regular CSV table: {str(error).strip()}") from error


def _one_header(table: pd.DataFrame, ticker: str, name: str) -> pd.DataFrame:
    """Without the second and third header line of a frame with (column, ticker) columns."""
    if table.empty or len(table.columns) < 2:
        return table
    first = table.iloc[0]
    labels = set(first.iloc[1:].dropna())
    two_lines = pd.isna(first.iloc[0]) and table.columns[0] == "Date"
    three_lines = first.iloc[0] == "Ticker" and table.columns[0] == "Price"
    if not labels or not (two_lines or three_lines):
        return table
    if {label.upper().lstrip("^") for label in labels} != {ticker.lstrip("^")}:
        raise BadPrices(f"{name} holds bars of {', '.join(sorted(labels))}, not of {ticker}")
    skipped = 2 if three_lines else 1
    return table.rename(columns={"Price": "Date"}).iloc[skipped:].reset_index(drop=True)


def _our_columns(table: pd.DataFrame, name: str) -> pd.DataFrame:
    given = [str(column).strip() for column in table.columns]
    if any(column.endswith("*") for column in given):
        raise BadPrices(
            f"{name} was copied from a web page (starred headers, text rows among the prices); "
            "download the CSV itself"
        )
    if "split_coefficient" in given:
        raise BadPrices(
            f"{name} holds raw prices with split_coefficient beside them; adjust Open, High, Low "
            "and Close for splits first"
        )
    plain = [re.sub(r"\.\d+$", "", column) for column in given]  # pandas numbers repeated names
    names = [NAMES.get(column.lower().replace("_", " "), column) for column in plain]
    table = table.set_axis(names, axis=1)
    missing = [c for c in BAR_COLUMNS if c not in table.columns and c != "Adj Close"]
    if missing:
        raise BadPrices(f"{name} has no column {', '.join(missing)}; found: {', '.join(given)}")
    if doubled := sorted(set(table.columns[table.columns.duplicated()])):
        raise BadPrices(f"{name} has more than one column {', '.join(doubled)}")
    if table.empty:
        raise BadPrices(f"{name} holds a header and no bars; was the download cut off?")
    return table


def _days(cells: pd.Series[str], name: str) -> pd.Series[pd.Timestamp]:
    """The calendar day as written: the exchange's own, whatever zone follows it."""
    written = cells.str.extract(DAY, expand=False)
    days = pd.to_datetime(written, format="%Y-%m-%d", errors="coerce").astype("datetime64[ns]")
    if days.isna().any():
        row = int(np.argmax(days.isna()))
        raise BadPrices(f"{name}, bar {row + 1}: Date {cells[row]!r} is not like 2020-01-31")
    return days


def _numbers(cells: pd.Series[str], name: str) -> pd.Series[float]:
    try:
        return cells.astype(float)
    except ValueError:
        strange = cells.notna() & pd.to_numeric(cells, errors="coerce").isna()
        row = int(np.argmax(strange))
        raise BadPrices(
            f"{name}, bar {row + 1}: {cells.name} {cells[row]!r} is not a number"
        ) from None
