"""The only door to prices: cache, then Yahoo, then the stale cache, then invented bars.

Every table leaves with its provenance. Knows no model.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

import features
from calendars import last_completed_session
from config import Settings, get_settings
from contracts import (
    Adjustment,
    BadPrices,
    FloatArray,
    ForecastingError,
    NotEnoughHistory,
    Prices,
    Provenance,
    SourceUnavailable,
    UnknownTicker,
    parse_ticker,
)
from generate_synthetic_data import Wish
from prices import yahoo
from prices.cache import Label, Shelf, Stored
from prices.formats import read_table
from prices.refresh import log_notes, refreshed
from prices.synthetic import bars_through, invent
from prices.validation import check_bars

log = logging.getLogger(__name__)


class StockDataPipeline:
    """Prices of one ticker, and the arrays a network is trained on.

    Args:
        ticker: Yahoo's symbol, any case.
        settings: as the environment gives them, unless given.

    Raises:
        InvalidTicker, BadSettings.
    """

    def __init__(self, ticker: str, settings: Settings | None = None) -> None:
        self.ticker = parse_ticker(ticker)
        self.settings = settings or get_settings()
        self._real = real_shelf(self.settings)
        self._invented = synthetic_shelf(self.settings)

    def load(self) -> Prices:
        """The freshest bars there are; asks Yahoo where the cache lacks an ended session.

        Raises:
            UnknownTicker: nobody has bars of it, and it is not configured.
            SourceUnavailable: no tier could answer; the text says what to do.
            NotEnoughHistory: every cached bar is later than STOCK_AS_OF.
        """
        stored = self._real.get(self.ticker)
        if stored is not None and stored.last >= self._today():
            return self._shown(stored)
        try:
            fresh = refreshed(self._real, self.ticker, self._today(), self._scratch())
            return self._shown(fresh)
        except (SourceUnavailable, BadPrices) as error:
            failure: ForecastingError = error
        log.warning("refresh_failed ticker=%s reason=%r", self.ticker, str(failure))
        if stored is not None:
            return self._shown(stored)
        if self._may_invent():
            return self._shown(self._invented_bars())
        if isinstance(failure, yahoo.NoData) and self.ticker not in self.settings.tickers:
            raise UnknownTicker(self.ticker) from failure
        raise SourceUnavailable(f"{failure}; {_way_out(self.ticker, self.settings)}") from failure

    def read(self) -> Prices:
        """The bars at hand, without network and without waiting; what serving uses.

        Raises:
            UnknownTicker: no bars, and not configured.
            SourceUnavailable: configured, but no bars, and invented ones are not allowed.
            NotEnoughHistory: every cached bar is later than STOCK_AS_OF.
        """
        stored = self._real.get(self.ticker)
        if stored is not None:
            return self._shown(stored)
        if self._may_invent():
            return self._shown(self._invented_bars())
        if self.ticker not in self.settings.tickers:
            raise UnknownTicker(self.ticker)
        raise SourceUnavailable(
            f"{self.ticker} has no prices here; {_way_out(self.ticker, self.settings)}"
        )

    @cached_property
    def prices(self) -> Prices:
        """What was loaded last; loaded on first use."""
        return self.load()

    @property
    def data(self) -> pd.DataFrame:
        """Bars of `prices`: columns of BAR_COLUMNS."""
        return self.prices.bars

    @property
    def provenance(self) -> Provenance:
        """Where `data` came from."""
        return self.prices.provenance

    def fetch_data(self) -> pd.DataFrame:
        """Load anew: Date, Open, High, Low, Close, Adj Close, Volume; kept as `data`."""
        self.prices = self.load()
        return self.data

    def compute_mid_price(self, data: pd.DataFrame | None = None) -> pd.DataFrame:
        """A copy of the bars (by default `data`) with `Mid`, (High + Low) / 2."""
        bars = self.data if data is None else data
        high, low = bars["High"].to_numpy(dtype=float), bars["Low"].to_numpy(dtype=float)
        return bars.assign(Mid=features.mid_price(high, low))

    def windowed_normalize(
        self, data: pd.DataFrame | FloatArray, window_size: int = 2500
    ) -> FloatArray:
        """Each mid-price on the MinMax scale of its own trailing window, for display.

        Args:
            data: bars, with or without `Mid`, or mid-prices of shape (T,).
            window_size: mids each point looks back over, itself included.

        Returns:
            Shape (T,), 0 to 1.
        """
        return features.windowed_normalize(self._mids(data), window_size)

    def create_sequences(
        self, data: pd.DataFrame | FloatArray, sequence_length: int = 50
    ) -> tuple[FloatArray, FloatArray]:
        """Every (past, next) pair of a series: X (n, sequence_length, 1) and y (n,)."""
        return features.create_sequences(self._mids(data), sequence_length)

    def preprocess(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """`X_train, X_test, y_train, y_test` of the bars from STOCK_START_DATE on.

        X has shape (n, unrollings, 1). Every pair is scaled, target included, by the trailing
        window that ends at its own last input; the test part is the later one.

        Raises:
            NotEnoughHistory: too few bars for one sequence in each part.
        """
        wish = self.settings
        mids = self._mids(training_bars(self.prices, wish.start_date))
        pairs = features.scaled_sequences(mids, wish.unrollings, wish.window_size)
        split = features.split_rows(len(pairs.y), wish.train_test_split, wish.validation_split)
        train, test = slice(0, split.validation.stop), split.test
        return pairs.x[train], pairs.x[test], pairs.y[train], pairs.y[test]

    def _mids(self, data: pd.DataFrame | FloatArray) -> FloatArray:
        if not isinstance(data, pd.DataFrame):
            return np.asarray(data, dtype=float)
        frame = data if "Mid" in data else self.compute_mid_price(data)
        return frame["Mid"].to_numpy(dtype=float)

    def _today(self) -> date:
        return today(self.ticker, self.settings)

    def _scratch(self) -> Path:
        return self.settings.data_dir / ".yfinance"

    def _shown(self, stored: Stored) -> Prices:
        return shown(self.ticker, stored, self.settings)

    def _may_invent(self) -> bool:
        wanted = self.ticker in self.settings.tickers
        return self.settings.allow_synthetic and (
            wanted or self._invented.csv_path(self.ticker).exists()
        )

    def _invented_bars(self) -> Stored:
        start = self.settings.start_date
        return bars_through(self._invented, self.ticker, start, self._today())


def real_shelf(settings: Settings) -> Shelf:
    """Where bars of real markets lie."""
    return Shelf(settings.data_dir / "raw", "raw", adopts="file")


def synthetic_shelf(settings: Settings) -> Shelf:
    """Where invented bars lie, never among the real ones."""
    return Shelf(settings.data_dir / "synthetic", "synthetic", adopts="synthetic")


def today(ticker: str, settings: Settings) -> date:
    """The last session of the ticker that has ended: by now, or by the evening of STOCK_AS_OF."""
    return last_completed_session(ticker, _now(settings))


def training_bars(prices: Prices, start_date: date) -> pd.DataFrame:
    """Bars from `start_date` on, with a RangeIndex of their own; perhaps none."""
    bars = prices.bars
    return bars[bars["Date"] >= pd.Timestamp(start_date)].reset_index(drop=True)


def import_file(
    ticker: str, path: Path | str, settings: Settings, adjustment: Adjustment | None = None
) -> Prices:
    """Take a user's price file into the cache in place of what is there; source `file`.

    Args:
        ticker: whose bars these are.
        path: CSV or CSV.GZ in a form `prices.formats.read_table` knows.
        settings: where the cache is.
        adjustment: how Open to Close are adjusted, where the columns would mislead: by default
            `split` beside an `Adj Close` and `split+dividend` without one.

    Raises:
        BadPrices: the file cannot be read or trusted; the cache is as it was.
        SourceUnavailable: the cache cannot be written.
    """
    ticker, path = parse_ticker(ticker), Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadPrices(f"{path} cannot be read: {error.strerror}") from error
    table, told = read_table(data, ticker, path.name)
    checked = check_bars(table, path.name)
    log_notes(ticker, checked.notes)
    label = Label(
        source="file",
        adjustment=adjustment or told,
        fetched_at=datetime.now(UTC),
        notes=checked.notes,
        details={"file": path.name},
    )
    shelf = real_shelf(settings)
    with shelf.locked(ticker):
        return shown(ticker, shelf.put(ticker, checked.bars, label), settings)


def invent_file(ticker: str, wish: Wish, settings: Settings) -> Prices:
    """Invent bars and store them in the synthetic place, in place of what is there.

    Raises:
        ValueError: no session in the span, or it ends after the last ended session.
        SourceUnavailable: the folder cannot be written.
    """
    latest = today(ticker, settings)
    if wish.end > latest:
        raise ValueError(f"the last session of {ticker} that has ended is {latest}")
    made, shelf = invent(ticker, wish), synthetic_shelf(settings)
    with shelf.locked(ticker):
        return shown(ticker, shelf.put(ticker, made.bars, made.label), settings)


def shown(ticker: str, stored: Stored, settings: Settings) -> Prices:
    """What may be seen of stored bars: nothing after STOCK_AS_OF, and judged stale or not.

    Raises:
        NotEnoughHistory: every bar is later.
    """
    seen = stored if settings.as_of is None else stored.through(settings.as_of)
    if seen.bars.empty:
        raise NotEnoughHistory(have=0, need=1, what=f"sessions of {ticker} by {settings.as_of}")
    stale = seen.last < today(ticker, settings)
    return Prices(ticker, seen.bars, replace(seen.provenance(), stale=stale))


def _now(settings: Settings) -> datetime:
    """Now, or the midnight (UTC) that ends STOCK_AS_OF: every exchange has closed by then."""
    now = datetime.now(UTC)
    if settings.as_of is None:
        return now
    return min(now, datetime.combine(settings.as_of + timedelta(days=1), time(), UTC))


def _way_out(ticker: str, settings: Settings) -> str:
    text = f"import a file: python data_pipeline.py import {ticker} FILE.csv"
    if ticker in settings.tickers and not settings.allow_synthetic:
        text += ", or allow invented prices: STOCK_ALLOW_SYNTHETIC=true"
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Import price files and show what the cache holds."""
    arguments = _parser().parse_args(argv)
    try:
        settings = get_settings()
        logging.basicConfig(level=settings.log_level, format="%(levelname)s %(name)s %(message)s")
        if arguments.command == "import":
            prices = import_file(arguments.ticker, arguments.file, settings, arguments.adjustment)
        else:
            prices = StockDataPipeline(arguments.ticker, settings).read()
    except ForecastingError as error:
        print(f"data_pipeline.py: {error}", file=sys.stderr)
        return 2
    facts = {"ticker": prices.ticker, **asdict(prices.provenance)}
    print(json.dumps(facts, default=str, indent=2) if arguments.json else _table(facts))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="data_pipeline.py", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    take = commands.add_parser("import", help="take a price file into the cache")
    take.add_argument("ticker", help="whose bars these are, such as AAPL")
    take.add_argument("file", type=Path, help="CSV or CSV.GZ with Date, Open, High, Low, Close ...")
    take.add_argument(
        "--adjustment",
        choices=("split", "split+dividend"),
        help="how the prices are adjusted (split beside an Adj Close, else split+dividend)",
    )
    show = commands.add_parser("show", help="say where the prices at hand came from")
    show.add_argument("ticker", help="symbol, such as AAPL")
    for command in (take, show):
        command.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _table(facts: dict[str, object]) -> str:
    return "\n".join(f"{name.replace('_', ' '):15}{value}" for name, value in facts.items())


if __name__ == "__main__":
    sys.exit(main())
