"""Bars of the tickers that a base is made of: gathered once, kept on disk, one ticker in memory."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from config import Settings
from contracts import ForecastingError, NoBase, Prices
from data_pipeline import StockDataPipeline
from pretraining.row_file import RowFile

log = logging.getLogger(__name__)

YEAR = 252  # sessions before the end that a first fit leaves out, to be judged on
MANY = 50  # tickers from which on some are held out
COLUMNS = ("Open", "High", "Low", "Close", "Volume")


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Bars of many tickers, through one day."""

    bars: Mapping[str, pd.DataFrame]
    through: date
    sha256: str

    @property
    def held_out(self) -> tuple[str, ...]:
        """A tenth of them by a stable hash; none where there are few."""
        if len(self.bars) < MANY:
            return ()
        return tuple(ticker for ticker in self.bars if fold(ticker) == 2)

    @property
    def fitted(self) -> tuple[str, ...]:
        """Those that weights are fitted to."""
        held = set(self.held_out)
        return tuple(ticker for ticker in self.bars if ticker not in held)

    @property
    def judges(self) -> tuple[str, ...]:
        """Those that a base is judged on: the ones held out, or all where none is."""
        return self.held_out or self.fitted


class StoredBars(Mapping[str, pd.DataFrame]):
    """Bars of many tickers on disk; asking for a ticker reads its own."""

    def __init__(self, folder: Path) -> None:
        self._rows = RowFile(folder, 1 + len(COLUMNS))
        self._places: dict[str, range] = {}

    def put(self, ticker: str, bars: pd.DataFrame) -> None:
        """Keep Date and COLUMNS of a ticker's bars."""
        days = bars["Date"].to_numpy().astype("datetime64[D]").astype(np.int64)
        values = bars[[*COLUMNS]].to_numpy(dtype=float)
        self._places[ticker] = self._rows.append(np.column_stack([days, values]))

    def __getitem__(self, ticker: str) -> pd.DataFrame:
        place = self._places[ticker]
        rows = self._rows.read(place.start, len(place))
        days = rows[:, 0].astype(np.int64).astype("datetime64[D]").astype("datetime64[ns]")
        return pd.DataFrame({"Date": days, **dict(zip(COLUMNS, rows.T[1:], strict=True))})

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def fold(ticker: str) -> int:
    """0 to 9, the same on every machine."""
    return int(hashlib.sha256(ticker.encode()).hexdigest(), 16) % 10


def gather(
    tickers: Iterable[str], settings: Settings, through: date, kind: Prices | None = None
) -> Panel:
    """Every session there is of each ticker up to `through`; tickers without enough are left out.

    Args:
        tickers: symbols.
        settings: where prices are, and the disk that holds the panel while it is used.
        through: the last day.
        kind: only prices of its source (invented or real) and adjustment; None for real ones of
            any adjustment.

    Raises:
        NoBase: none is left, or the disk is full.
    """
    found, sums, last = StoredBars(settings.data_dir), hashlib.sha256(), date.min
    for ticker in tickers:
        bars = _bars(ticker, settings, through, kind)
        if bars is None:
            continue
        line = f"{ticker} {_digest(bars)}"
        sums.update((f"\n{line}" if found else line).encode())
        found.put(ticker, bars)
        last = max(last, pd.Timestamp(bars["Date"].iloc[-1]).date())
    if not found:
        raise NoBase(
            f"no base has been trained through {through} or earlier, and no ticker here has "
            f"{2 * YEAR} sessions of prices up to then to train one; import longer histories, or "
            "choose a later day or the recipe mlops_64_64_32"
        )
    return Panel(found, last, sums.hexdigest())


def _bars(
    ticker: str, settings: Settings, through: date, kind: Prices | None
) -> pd.DataFrame | None:
    """A ticker's bars up to a day; None where it is left out."""
    try:
        prices = StockDataPipeline(ticker, settings).read()
    except ForecastingError as error:
        log.warning("left_out ticker=%s reason=%s", ticker, error)
        return None
    bars = prices.bars[prices.bars["Date"] <= pd.Timestamp(through)].reset_index(drop=True)
    if not _alike(prices, kind):
        return None
    if len(bars) < 2 * YEAR:
        log.warning("left_out ticker=%s sessions=%d", ticker, len(bars))
        return None
    return bars


def _alike(prices: Prices, kind: Prices | None) -> bool:
    own = prices.provenance
    if kind is None:
        return own.source != "synthetic"
    other = kind.provenance
    invented = (own.source == "synthetic", other.source == "synthetic")
    return invented[0] == invented[1] and own.adjustment == other.adjustment


def _digest(bars: pd.DataFrame) -> str:
    rows = pd.util.hash_pandas_object(bars.drop(columns="Adj Close", errors="ignore"), index=False)
    return hashlib.sha256(rows.to_numpy().tobytes()).hexdigest()
