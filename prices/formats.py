"""Price tables as bytes: the cache's own CSV form, and the forms people's files come in.

Bytes in, frames out. Knows no path, no clock and not whether a price is plausible.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from contracts import BAR_COLUMNS, Adjustment, BadPrices, Finding
from prices.adjust import undo_splits
from prices.findings import Findings, of_table, on_days

PRICES = ("Open", "High", "Low", "Close", "Adj Close")
GZIP = b"\x1f\x8b"
HEADER = (",".join(BAR_COLUMNS) + "\n").encode()
# What sources call our columns, in lower case with blanks for underscores.
NAMES = {name.lower(): name for name in BAR_COLUMNS} | {
    "datetime": "Date",
    "timestamp": "Date",
    "adjclose": "Adj Close",
    "adjusted close": "Adj Close",
    "split coefficient": "Split",
}
DAY = r"^(\d{4}-\d{2}-\d{2})(?:[T ]\d{2}:\d{2}.*)?$"
SPOKEN_DAY = r"^([A-Z][a-z]{2} \d{1,2}, \d{4})$"  # Dec 24, 2020, as Yahoo's pages have it
EVENT = r"(?i)\b(?:dividend|split|capital gain|distribution)"
GROUPED = r"^\d{1,3}(?:,\d{3})+(?:\.\d+)?$"  # 1,761,100


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


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """What a file says: bars as floats in its own order, NaN where a cell is empty."""

    bars: pd.DataFrame  # columns of BAR_COLUMNS, nothing judged yet
    adjustment: Adjustment  # of Open to Close, as the columns tell
    findings: Findings  # what was repaired or dropped to read it


def read_table(data: bytes, ticker: str, name: str) -> Table:
    """A price table in any form we know.

    Known forms: Yahoo's (`Adj Close` beside a split-adjusted `Close`) and tables without
    `Adj Close`, which are taken as adjusted for splits and dividends; Alpha Vantage's raw prices
    with `split_coefficient`, whose splits are undone; gzip or not; dates with or without time and
    zone; headers in any case; the two- and three-line headers that `yfinance.download` writes for
    a single ticker; tables copied from Yahoo's pages, with starred headers, dividend rows and a
    footer.

    Args:
        data: the file's bytes.
        ticker: whose bars these should be.
        name: what to call the file in an error.

    Raises:
        BadPrices: no table, missing columns, nothing but text, another ticker's bars.
    """
    findings: list[Finding] = []
    table = _one_header(_cells(data, name), ticker, name, findings)
    table = _our_columns(table, name, findings)
    adjustment: Adjustment = "split" if "Adj Close" in table else "split+dividend"
    if "Adj Close" not in table:
        table["Adj Close"] = table["Close"]
    columns = [*BAR_COLUMNS[1:], *(["Split"] if "Split" in table else [])]
    cells = _Cells(table, _as_days(table["Date"]), _as_numbers(table[columns]))
    bars = _readable(_without_words(cells, findings), name, findings)
    if "Split" in bars:
        bars = _one_scale(bars, findings)
    return Table(bars, adjustment, tuple(findings))


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


def _one_header(
    table: pd.DataFrame, ticker: str, name: str, findings: list[Finding]
) -> pd.DataFrame:
    """Without the second and third header line of a frame with (column, ticker) columns."""
    if table.empty or len(table.columns) < 2:
        return table
    first = table.iloc[0]
    labels = set(first.iloc[1:].dropna())
    two_lines = pd.isna(first.iloc[0]) and table.columns[0] == "Date"
    three_lines = first.iloc[0] == "Ticker" and table.columns[0] == "Price"
    number = any(re.fullmatch(r"[\d.,]+", label) for label in labels)  # a bar without a date
    if not labels or number or not (two_lines or three_lines):
        return table
    if {label.upper().lstrip("^") for label in labels} != {ticker.lstrip("^")}:
        raise BadPrices(f"{name} holds bars of {', '.join(sorted(labels))}, not of {ticker}")
    skipped = 2 if three_lines else 1
    text = f"the header has {skipped + 1} lines, all naming {ticker}"
    findings.append(of_table("header_lines", "repaired", text))
    return table.rename(columns={"Price": "Date"}).iloc[skipped:].reset_index(drop=True)


def _our_columns(table: pd.DataFrame, name: str, findings: list[Finding]) -> pd.DataFrame:
    """Renamed to ours; whatever else the table has stays beside them."""
    given = [str(column).strip().rstrip("*") for column in table.columns]
    if any(str(column).strip().endswith("*") for column in table.columns):
        text = "column names with the stars of a web page's footnotes"
        findings.append(of_table("starred_header", "repaired", text))
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


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """A table's text beside what can be read of it; all three have the same index."""

    text: pd.DataFrame
    days: pd.Series[pd.Timestamp]
    numbers: pd.DataFrame

    def without(self, rows: pd.Series[bool]) -> _Cells:
        if not rows.any():
            return self
        return _Cells(self.text[~rows], self.days[~rows], self.numbers[~rows])


def _without_words(cells: _Cells, findings: list[Finding]) -> _Cells:
    """Without rows that are no bars for certain: no cell of theirs is a number.

    Dividends and splits between a page's prices, its footer, the last line of a broken export.
    """
    words = ~cells.numbers[[*PRICES, "Volume"]].notna().any(axis=1)
    if not words.any():
        return cells
    said = cells.text["Close"].fillna("").str.replace(r"^[\d.:]+ ", "", regex=True).str[:40]
    event = words & cells.days.notna() & said.str.contains(EVENT)
    for what in said[event].unique():
        rows = (event & (said == what)).to_numpy()
        findings += on_days(
            cells.days, rows, "event_row", "dropped", f"a row that tells of a {what}"
        )
    footer = words & cells.days.isna()
    for row in cells.text.index[footer]:
        text = f"row {row + 1} is no bar: {str(cells.text['Date'][row])[:40]!r}"
        findings.append(of_table("footer_row", "dropped", text))
    return cells.without(event | footer)


def _readable(cells: _Cells, name: str, findings: list[Finding]) -> pd.DataFrame:
    """As dates and floats, without rows that have a cell which is neither empty nor readable.

    Raises:
        BadPrices: no row can be read.
    """
    if cells.text.empty:
        raise BadPrices(f"{name} holds a header and no bars; was the download cut off?")
    bars = pd.concat([cells.days, cells.numbers], axis=1)
    strange = cells.numbers.isna() & cells.text[list(cells.numbers)].notna()
    lost = strange.any(axis=1) | cells.days.isna()
    for row in cells.text.index[lost]:
        text = _why_unreadable(cells, row)
        if lost.all():
            raise BadPrices(f"{name}, {text}")
        day = None if pd.isna(cells.days[row]) else cells.days[row].date()
        findings.append(Finding(code="unreadable_row", date=day, action="dropped", text=text))
    return bars[~lost].reset_index(drop=True)


def _why_unreadable(cells: _Cells, row: int) -> str:
    if pd.isna(cells.days[row]):
        return f"row {row + 1}: Date {cells.text['Date'][row]!r} is not like 2020-01-31"
    for column, number in cells.numbers.loc[row].items():
        if pd.isna(number) and not pd.isna(said := cells.text[column][row]):
            return f"row {row + 1}: {column} {said!r} is not a number"
    raise AssertionError("only rows with an unreadable cell come here")


def _as_days(cells: pd.Series[str]) -> pd.Series[pd.Timestamp]:
    """The calendar day as written, the exchange's own, whatever zone follows it; or NaT."""
    written = cells.str.extract(DAY, expand=False)
    days = pd.to_datetime(written, format="%Y-%m-%d", errors="coerce")
    if days.isna().any():
        spoken = cells.str.extract(SPOKEN_DAY, expand=False)
        days = days.fillna(pd.to_datetime(spoken, format="%b %d, %Y", errors="coerce"))
    return days.astype("datetime64[ns]")


def _as_numbers(cells: pd.DataFrame) -> pd.DataFrame:
    """Floats; NaN where a cell is empty or not a number."""
    try:
        return cells.astype(float)  # exact, and all there is to do with most files
    except ValueError:
        return pd.DataFrame({name: _loosely(cells[name]) for name in cells})


def _loosely(cells: pd.Series[str]) -> pd.Series[float]:
    plain = cells.mask(cells.str.match(GROUPED).fillna(False), cells.str.replace(",", ""))
    return plain.where(pd.to_numeric(plain, errors="coerce").notna()).astype(float)


def _one_scale(bars: pd.DataFrame, findings: list[Finding]) -> pd.DataFrame:
    """Raw prices with their splits undone; left as they are where no split shows in them."""
    ordered = bars.drop_duplicates("Date").sort_values("Date")
    split = ordered["Split"].fillna(1.0).replace(0.0, 1.0)
    rows = (split != 1).to_numpy()
    if not rows.any():
        return bars.drop(columns="Split")
    move = np.log(ordered["Close"]).diff().fillna(0.0)
    if (move + np.log(split))[rows].abs().sum() > move[rows].abs().sum():
        text = "its split coefficients do not show in its prices: taken as adjusted already"
        findings.append(of_table("split_not_in_prices", "kept", text))
        return bars.drop(columns="Split")
    for ratio in split[rows].unique():
        text = f"a split of {ratio:g} for 1: earlier prices divided, volumes multiplied"
        of_ratio = (split == ratio).to_numpy() & rows
        findings += on_days(ordered["Date"], of_ratio, "split_undone", "repaired", text)
    return undo_splits(bars)
