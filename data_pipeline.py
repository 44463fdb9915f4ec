"""The only door to prices: cache, Yahoo, Alpha Vantage, the stale cache, then invented bars.

Every table leaves with its provenance. Knows no model.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

import features
from calendars import last_completed_session, sessions_between
from config import Settings, chosen_tickers, get_settings
from contracts import (
    Adjustment,
    BadPrices,
    FloatArray,
    ForecastingError,
    NotEnoughHistory,
    Prices,
    Provenance,
    Scaling,
    Source,
    SourceUnavailable,
    UnknownTicker,
    parse_ticker,
)
from generate_synthetic_data import Wish
from prices import glance, processed
from prices.cache import Shelf, Stored
from prices.checking import inspect
from prices.command_line import parsed, refresh_summary, summary, table
from prices.importing import import_bars, import_folder
from prices.ladder import guarded, providers, resting
from prices.many import Caches, Refreshed, refresh_each
from prices.providers import NoData, Provider
from prices.quarantine import quarantined
from prices.refresh import Need, refreshed
from prices.refresher import Refresher
from prices.synthetic import bars_through, invent

log = logging.getLogger(__name__)


class StockDataPipeline:
    """Prices of one ticker, and the arrays a network is trained on.

    Args:
        ticker: Yahoo's symbol, any case.
        settings: as the environment gives them, unless given.
        sources: asked in this order; by default those the settings have.

    Raises:
        InvalidTicker, BadSettings.
    """

    def __init__(
        self,
        ticker: str,
        settings: Settings | None = None,
        sources: Sequence[Provider] | None = None,
    ) -> None:
        self.ticker = parse_ticker(ticker)
        self.settings = settings or get_settings()
        self._sources = providers(self.settings) if sources is None else sources
        self._real = real_shelf(self.settings)
        self._invented = synthetic_shelf(self.settings)

    def load(self) -> Prices:
        """The freshest bars there are; asks the sources where the cache lacks an ended session.

        Raises:
            UnknownTicker: nobody has bars of it, and it is not configured.
            SourceUnavailable: no tier could answer; the text says what to do.
            NotEnoughHistory: every cached bar is later than STOCK_AS_OF.
        """
        try:
            return self.refresh()
        except (SourceUnavailable, BadPrices) as error:
            failure: ForecastingError = error
        log.info("not_refreshed ticker=%s reason=%r", self.ticker, str(failure))
        if (stored := self._real.get(self.ticker)) is not None:
            return self._shown(stored)
        if self._may_invent():
            return self._shown(self._invented_bars())
        if isinstance(failure, NoData) and self.ticker not in self.settings.tickers:
            raise UnknownTicker(self.ticker) from failure
        raise SourceUnavailable(f"{failure}; {_way_out(self.ticker, self.settings)}") from failure

    def refresh(self) -> Prices:
        """Real bars, fetched where the cache lacks an ended session.

        Raises:
            SourceUnavailable, BadPrices: none came, or none that can be taken; the cache is as it
                was, marked as quarantined where it was validation that refused them.
            NotEnoughHistory: every cached bar is later than STOCK_AS_OF.
        """
        stored = self._real.get(self.ticker)
        if stored is None or stored.last < self._today():
            need = Need(through=self._today(), since=self.settings.start_date)
            ladder = guarded(self._sources, self.settings)
            stored = refreshed(self._real, self.ticker, need, ladder)
        return self._shown(stored)

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
        pairs = training_scale(self.prices, wish, wish.window_size).sequences(wish.unrollings)
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
    return _shelf(settings.data_dir, "raw", "file")


def synthetic_shelf(settings: Settings) -> Shelf:
    """Where invented bars lie, never among the real ones."""
    return _shelf(settings.data_dir, "synthetic", "synthetic")


@lru_cache(maxsize=16)
def _shelf(data_dir: Path, kind: str, adopts: Source) -> Shelf:
    """One for all who ask: a hundred tickers of a batch are looked for in it."""
    return Shelf(data_dir / kind, kind, adopts)


def mark_of(ticker: str, settings: Settings) -> tuple[object, ...]:
    """Differs from what it was whenever `StockDataPipeline.read` would answer something else.

    A handful of file dates and the last session that has ended; no file is read.
    """
    real = glance.mark(real_shelf(settings), ticker)
    invented = () if real[0] else glance.mark(synthetic_shelf(settings), ticker)
    return (today(ticker, settings), real, invented)


def described(ticker: str, settings: Settings) -> Provenance | None:
    """Where the bars at hand come from, without parsing them; None where `read` must tell.

    Not judged stale, and never of bars of which STOCK_AS_OF hides some.
    """
    found = glance.described(real_shelf(settings), ticker)
    if found is None or (settings.as_of is not None and found.last_session > settings.as_of):
        return None
    return found


def cached_tickers(settings: Settings) -> tuple[str, ...]:
    """Every ticker with bars of a real market in the cache."""
    return real_shelf(settings).tickers()


def refresher(settings: Settings) -> Refresher:
    """What fetches prices beside requests; it declines all where STOCK_REFRESH is off or
    STOCK_AS_OF is set. Tickers that are configured or have bars are known to it."""
    if not settings.refresh or settings.as_of is not None:
        return Refresher.idle()
    shelf = real_shelf(settings)
    return Refresher(
        fetch=lambda ticker: StockDataPipeline(ticker, settings).refresh(),
        known=lambda ticker: ticker in settings.tickers or shelf.csv_path(ticker).exists(),
    )


def refresh_many(
    tickers: Sequence[str], settings: Settings, patience: float
) -> Iterator[Refreshed]:
    """Real bars of many tickers brought up to date in turn, each outcome as it is known.

    Only caches that lack an ended session are asked for, at most STOCK_REQUESTS_PER_MINUTE times
    a minute together with every other process of this data folder. Raises nothing of a ticker's.

    Args:
        tickers: symbols, each once.
        settings: where the cache is, and which sources there are.
        patience: seconds in all to wait for sources that want to be left alone.
    """
    caches = Caches(
        through=lambda ticker: _cached_through(ticker, settings),
        needed=lambda ticker: today(ticker, settings),
        refresh=lambda ticker: (
            StockDataPipeline(ticker, settings).refresh().provenance.last_session
        ),
        rest=lambda: min(resting(settings).values()),
    )
    return refresh_each(tickers, caches, patience)


def _cached_through(ticker: str, settings: Settings) -> date | None:
    """The last real session at hand, as told by the sidecar where it can."""
    if (told := described(ticker, settings)) is not None:
        return told.last_session
    stored = real_shelf(settings).get(ticker)
    return None if stored is None else stored.last


def resting_sources(settings: Settings) -> dict[str, float]:
    """By source of real prices, for how many more seconds it is left alone; 0: it may be asked."""
    return resting(settings)


def today(ticker: str, settings: Settings) -> date:
    """The last session of the ticker that has ended: by now, or by the evening of STOCK_AS_OF."""
    return last_completed_session(ticker, _now(settings))


def training_bars(prices: Prices, start_date: date) -> pd.DataFrame:
    """Bars from `start_date` on, with a RangeIndex of their own; perhaps none."""
    bars = prices.bars
    return bars[bars["Date"] >= pd.Timestamp(start_date)].reset_index(drop=True)


def training_scale(
    prices: Prices, settings: Settings, window_size: int, scaling: Scaling = "minmax"
) -> features.Scale:
    """Mid-prices of `training_bars` with the bounds of the window that ends with each.

    Kept as `processed/<ticker>_processed.npz` and made anew whenever the bars, the start date,
    the window or the code of `features` differ, or the file is damaged.
    """
    bars = training_bars(prices, settings.start_date)
    facts = {
        "bars": processed.digest(bars[["Date", "High", "Low"]]),
        "start_date": settings.start_date,
        "window_size": window_size,
        "scaling": scaling,
    }

    def make() -> features.Scale:
        mids = features.mid_price(bars["High"].to_numpy(), bars["Low"].to_numpy())
        return features.trailing_scale(mids, window_size, scaling)

    path = settings.data_dir / "processed" / f"{prices.ticker}_processed.npz"
    return processed.kept(path, processed.key_of(facts), make)


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
    ticker = parse_ticker(ticker)
    return shown(
        ticker, import_bars(real_shelf(settings), ticker, Path(path), adjustment), settings
    )


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
    provenance, ended = seen.provenance(), today(ticker, settings)
    if seen.last < ended:
        provenance = replace(
            provenance,
            stale=True,
            sessions_behind=len(sessions_between(ticker, seen.last + timedelta(days=1), ended)),
            quarantined=quarantined(real_shelf(settings), ticker, stored),
        )
    return Prices(ticker, seen.bars, provenance)


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


def _refreshed(arguments: argparse.Namespace, settings: Settings) -> list[Refreshed]:
    """What the command `refresh` asks for, with a progress bar."""
    tickers = chosen_tickers(arguments.tickers, arguments.tickers_file) or settings.tickers
    fetching = refresh_many(tickers, settings, arguments.patience)
    bar = tqdm(fetching, desc="refreshing", total=len(tickers), unit="ticker", disable=None)
    return list(bar)


def main(argv: Sequence[str] | None = None) -> int:
    """Import price files, judge them, fetch newer bars, and show what the cache holds."""
    arguments = parsed(argv, main.__doc__)
    try:
        settings = get_settings()
        logging.basicConfig(level=settings.log_level, format="%(levelname)s %(name)s %(message)s")
        if arguments.command == "check":
            shelves = (real_shelf(settings), synthetic_shelf(settings))
            found = inspect(arguments.target, arguments.ticker, shelves)
            print(found.as_json() if arguments.json else found.as_table())
            return int(found.refused)
        if arguments.command == "refresh":
            done = _refreshed(arguments, settings)
            print(refresh_summary(done, as_json=arguments.json))
            return int(any(one.went_wrong for one in done))
        if arguments.command == "import" and arguments.dir is not None:
            outcomes = import_folder(real_shelf(settings), arguments.dir, arguments.adjustment)
            print(summary(outcomes, as_json=arguments.json))
            return int(any(one.state == "refused" for one in outcomes))
        if arguments.command == "import":
            prices = import_file(arguments.ticker, arguments.file, settings, arguments.adjustment)
        else:
            prices = StockDataPipeline(arguments.ticker, settings).read()
    except ForecastingError as error:
        print(f"data_pipeline.py: {error}", file=sys.stderr)
        return 2
    facts = {"ticker": prices.ticker, **asdict(prices.provenance)}
    print(json.dumps(facts, default=str, indent=2) if arguments.json else table(facts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
