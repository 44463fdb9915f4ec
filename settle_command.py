"""`python drift_monitor.py settle`: put what happened beside what was promised. Checks nothing.

The monitor's loop does the same after every session; by hand it is for prices that came late.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict

from config import Settings, get_settings
from contracts import ForecastingError, Settlement, parse_ticker
from data_pipeline import StockDataPipeline
from forecast_log import ForecastLog

Settled = Settlement | ForecastingError


def settle_all(
    tickers: Sequence[str], settings: Settings, requests: ForecastLog
) -> list[tuple[str, Settled]]:
    """Refresh each ticker's prices and settle; one that fails costs only itself."""
    found: list[tuple[str, Settled]] = []
    for ticker in tickers:
        try:
            prices = StockDataPipeline(ticker, settings).load()
            found.append((ticker, requests.settle(prices, prices.provenance.last_session)))
        except ForecastingError as error:
            found.append((ticker, error))
    return found


def as_line(ticker: str, one: Settled) -> str:
    """One settling as people read it."""
    if isinstance(one, ForecastingError):
        return f"{ticker}: {one}"
    return (
        f"{ticker}: through {one.through}, {one.settled} steps settled, {one.waiting} waiting, "
        f"{one.revised} prices revised, {one.skipped} steps past due without an outcome"
    )


def as_json(ticker: str, one: Settled) -> dict[str, object]:
    """The same as JSON knows it."""
    if isinstance(one, ForecastingError):
        return {"ticker": ticker, "error": one.code, "detail": str(one)}
    return asdict(one)


def main(argv: Sequence[str] | None = None) -> int:
    """Settle served forecasts with the newest prices. Exit 1 if a ticker failed, 2 on bad input."""
    parser = argparse.ArgumentParser(prog="drift_monitor.py settle", description=main.__doc__)
    parser.add_argument("tickers", nargs="*", help="symbols; default: STOCK_TICKERS")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    try:
        settings = get_settings()
        logging.basicConfig(level=settings.log_level, format="%(levelname)s %(name)s %(message)s")
        tickers = tuple(parse_ticker(name) for name in arguments.tickers) or settings.tickers
        requests = ForecastLog(settings.database_url)
        found = settle_all(tickers, settings, requests)
        requests.close()
    except ForecastingError as error:
        print(f"drift_monitor.py: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps([as_json(*one) for one in found], indent=2, default=str))
    else:
        print("\n".join(as_line(*one) for one in found))
    return int(any(isinstance(one, ForecastingError) for _, one in found))


if __name__ == "__main__":
    sys.exit(main())
