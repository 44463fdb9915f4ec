"""Alpha Vantage's daily bars, for who has a key: raw prices, their splits undone here.

Never logs or shows the key: not in an error, not through httpx. Knows no cache of ours.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar

import httpx
import pandas as pd
from pydantic import SecretStr

from calendars import ALWAYS, FUTURES, WEEKDAYS, listing_of
from contracts import BAR_COLUMNS, Adjustment, Source, SourceUnavailable
from prices.adjust import undo_splits
from prices.providers import NoData

ADDRESS = "https://www.alphavantage.co"
REQUEST_SECONDS = 20  # of silence; a whole history is some 2 MB
REASON_LENGTH = 120  # characters
SERIES = "Time Series (Daily)"
COLUMNS = {
    "1. open": "Open",
    "2. high": "High",
    "3. low": "Low",
    "4. close": "Close",
    "5. adjusted close": "Adj Close",
    "6. volume": "Volume",
    "8. split coefficient": "Split",
}
# Yahoo's suffix -> Alpha Vantage's, as far as its documentation names them; it has no others.
SUFFIXES = {
    "BO": "BSE",
    "DE": "DEX",
    "L": "LON",
    "SS": "SHH",
    "SZ": "SHZ",
    "TO": "TRT",
    "V": "TRV",
}


@dataclass(frozen=True, slots=True)
class AlphaVantage:
    """Open to Close adjusted for splits, Adj Close for dividends too, as Yahoo's are."""

    key: SecretStr
    address: str = ADDRESS
    name: ClassVar[Source] = "alphavantage"
    adjustment: ClassVar[Adjustment] = "split"
    in_parts: ClassVar[bool] = False

    def fetch(self, ticker: str, first: date, last: date) -> pd.DataFrame:
        """As `Provider.fetch`."""
        symbol = symbol_of(ticker)
        try:
            bars = _as_table(self._series(symbol, ticker))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SourceUnavailable(
                f"Alpha Vantage answered in an unknown form: {type(error).__name__}"
            ) from error
        bars = bars[bars["Date"].between(pd.Timestamp(first), pd.Timestamp(last))]
        if bars.empty:
            raise NoData(f"Alpha Vantage has no bars of {ticker} from {first} through {last}")
        return bars.reset_index(drop=True)

    def _series(self, symbol: str, ticker: str) -> Mapping[str, Any]:
        """Rows by day. It says everything with status 200: limits, bad keys, unknown symbols."""
        answer = json.loads(self._ask(symbol))
        if rows := answer.get(SERIES):
            return dict(rows)
        if (error := answer.get("Error Message")) and "apikey" not in error:
            raise NoData(f"Alpha Vantage has no bars of {ticker}: {self._line(error)}")
        said = error or answer.get("Information") or answer.get("Note") or "an empty answer"
        raise SourceUnavailable(f"Alpha Vantage gave no data: {self._line(said)}")

    def _ask(self, symbol: str) -> bytes:
        logging.getLogger("httpx").addFilter(_without_key)  # a second time changes nothing
        query = {
            "function": "TIME_SERIES_DAILY_ADJUSTED",
            "symbol": symbol,
            "outputsize": "full",
            "datatype": "json",
            "apikey": self.key.get_secret_value(),
        }
        try:
            answer = httpx.get(f"{self.address}/query", params=query, timeout=REQUEST_SECONDS)
        except httpx.HTTPError as error:
            reason = self._line(f"{type(error).__name__}: {error}")
            raise SourceUnavailable(f"Alpha Vantage failed: {reason}") from None
        if answer.status_code != 200:
            raise SourceUnavailable(f"Alpha Vantage failed: HTTP {answer.status_code}")
        return answer.content

    def _line(self, text: object) -> str:
        """One short line without the key, which some of its messages repeat."""
        words = " ".join(str(text).split()).replace(self.key.get_secret_value(), "...")
        return words[:REASON_LENGTH]


def symbol_of(ticker: str) -> str:
    """What Alpha Vantage calls Yahoo's symbol: `VOD.L` is `VOD.LON`, American shares are alike.

    Raises:
        NoData: an index, a currency, a coin, a future, or an exchange it does not carry.
    """
    share, _, suffix = ticker.rpartition(".") if "." in ticker else (ticker, "", "")
    other = ticker.startswith("^") or listing_of(ticker).calendar in (ALWAYS, WEEKDAYS, FUTURES)
    if other or (suffix and suffix not in SUFFIXES):
        raise NoData(f"Alpha Vantage does not carry {ticker}")
    return f"{share}.{SUFFIXES[suffix]}" if suffix else share


def _as_table(rows: Mapping[str, Any]) -> pd.DataFrame:
    """Split-adjusted bars, oldest first, Adj Close equal to Close at the newest, as Yahoo's is."""
    table = pd.DataFrame.from_dict(dict(rows), orient="index")[list(COLUMNS)].astype(float)
    table = table.rename(columns=COLUMNS).sort_index()
    days = pd.to_datetime(table.index, format="%Y-%m-%d").astype("datetime64[ns]")
    bars = undo_splits(table.assign(Date=days).reset_index(drop=True))
    bars["Adj Close"] *= bars["Close"].iloc[-1] / bars["Adj Close"].iloc[-1]
    return bars[list(BAR_COLUMNS)]


def _without_key(record: logging.LogRecord) -> bool:
    """httpx tells every address it asks, query and all."""
    return "apikey=" not in record.getMessage()
