"""How often the warning `outside_training` comes up, and for what.

`python benchmarks/novelty.py FOLDER [--every N] [--first N]` takes every N-th CSV file of FOLDER
(daily bars from 2015 on, one ticker each). The sessions of 2015 to 2018 stand for training, those
from 2019 on are walked through as they would have been served: by year, the share that lies
outside. A second training period, 2020 to 14 October 2024, is the one of the default settings.
Then feeds are broken on random days from 2021 on, and the share that is noticed is counted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from config import Settings
from contracts import FloatArray
from inference import Network, TrainedModel
from novelty import distances
from recipes import find_recipe

RECIPES = ("panel", "mlops_64_64_32")
QUANTILES = (0.99, 0.997, 0.999, 1.0)
OLD = ("2015-01-01", "2018-12-31")
NEW = ("2020-01-01", "2024-10-14")
SPANS = {
    "2019": ("2019-01-01", "2019-12-31"),
    "20 Feb to 30 Apr 2020": ("2020-02-20", "2020-04-30"),
    **{str(year): (f"{year}-01-01", f"{year}-12-31") for year in range(2021, 2026)},
}
RECENT = ("2024-10-15", "2025-12-31")
HISTORY = 900  # bars before a broken day, for the slowest averages to settle
PRICES = ["Open", "High", "Low", "Close"]
Bars = pd.DataFrame


def times(factor: float, days: int) -> Callable[[Bars], Bars]:
    """The newest bars in another unit."""

    def change(bars: Bars) -> Bars:
        newest = bars.index[-days:]
        bars.loc[newest, PRICES] *= factor
        return bars

    return change


def wilder(days: int) -> Callable[[Bars], Bars]:
    """The newest bars with every move twice as large."""

    def change(bars: Bars) -> Bars:
        newest, before = bars.index[-days:], bars["Close"].shift().to_numpy()[-days:]
        moves = 2 * np.log(bars.loc[newest, PRICES].to_numpy() / before[:, None])
        closes = np.log(before[0]) + np.concatenate([[0], np.cumsum(moves[:-1, 3])])
        bars.loc[newest, PRICES] = np.exp(closes[:, None] + moves)
        return bars

    return change


def repeated(days: int) -> Callable[[Bars], Bars]:
    """The bar before sent again and again."""

    def change(bars: Bars) -> Bars:
        for name in (*PRICES, "Volume"):
            bars.loc[bars.index[-days:], name] = bars[name].iloc[-days - 1]
        return bars

    return change


def flat(volume: float) -> Callable[[Bars], Bars]:
    """A last bar in which nothing moved, with this share of the volume before."""

    def change(bars: Bars) -> Bars:
        bars.loc[bars.index[-1], PRICES] = bars["Close"].iloc[-2]
        bars.loc[bars.index[-1], "Volume"] = volume * bars["Volume"].iloc[-2]
        return bars

    return change


FAULTS = {
    "nothing": lambda bars: bars,
    "prices x100, first day": times(100, 1),
    "prices / 100, first day": times(0.01, 1),
    "prices x2, a split half applied, first day": times(2, 1),
    "prices x100, fifth day": times(100, 5),
    "flat bar without volume": flat(0),
    "flat bar with volume": flat(1),
    "bar repeated once": repeated(1),
    "bar repeated five times": repeated(5),
    "volatility x2, fifth day": wilder(5),
    "volatility x2, twentieth day": wilder(20),
}


def within(days: np.ndarray, span: tuple[str, str]) -> np.ndarray:
    """(n,) whether each day lies in a span, both ends included."""
    first, last = (np.datetime64(day) for day in span)
    return (days >= first) & (days <= last)


def sessions(model: TrainedModel, bars: Bars) -> tuple[np.ndarray, FloatArray]:
    """The days and what the warning looks at on each: (n,) and (n, inputs)."""
    rows = model.feed(bars)[1]
    return bars["Date"].to_numpy()[-len(rows) :], rows


def outside(seen: FloatArray, rows: FloatArray) -> dict[float, float]:
    """By quantile, the share of rows that would be called unlike those seen."""
    own, every = distances(seen, rows)
    return {quantile: float(np.mean(own > np.quantile(every, quantile))) for quantile in QUANTILES}


def walked(model: TrainedModel, bars: Bars) -> dict[str, dict[float, float]]:
    """By span, one ticker's share of sessions outside."""
    days, rows = sessions(model, bars)
    old, new = (rows[within(days, training)] for training in (OLD, NEW))
    found = {name: outside(old, rows[within(days, span)]) for name, span in SPANS.items()}
    return {**found, "Oct 2024 to 2025, default": outside(new, rows[within(days, RECENT)])}


def broken(
    model: TrainedModel, bars: Bars, draws: np.random.Generator
) -> dict[str, dict[float, float]]:
    """By fault, whether one ticker's feed, broken so on a random day, is outside: 0 or 1."""
    days, rows = sessions(model, bars)
    seen = rows[within(days, OLD)]
    at = int(draws.integers(int(np.sum(bars["Date"] < "2021-01-01")), len(bars)))
    found = {}
    for name, change in FAULTS.items():
        part = bars[at - HISTORY : at + 1].reset_index(drop=True).astype({"Volume": float})
        found[name] = outside(seen, model.feed(change(part))[1][-1:])
    return found


def tables(folder: Path, every: int, first: int) -> Iterator[Bars]:
    """Bars of every N-th ticker that has a whole history."""
    for path in sorted(folder.glob("*.csv.gz"))[first::every]:
        bars = pd.read_csv(path, parse_dates=["Date"])
        if bars["Date"].iloc[0] <= pd.Timestamp("2015-01-05"):
            yield bars


def shown(found: list[dict[str, dict[float, float]]], of_sessions: bool) -> str:
    """Per cent by row and quantile; of sessions, in brackets how many tickers have over 2 %."""
    lines = ["| | " + " | ".join(map(str, QUANTILES)) + " |", "|---" + "|--:" * 4 + "|"]
    for name in found[0]:
        cells = []
        for quantile in QUANTILES:
            shares = 100 * np.array([one[name][quantile] for one in found])
            more = f" ({np.mean(shares > 2):.0%})" if of_sessions else ""
            cells.append(f"{shares.mean():.{2 if of_sessions else 1}f}{more}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Walk, break, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="daily bars, a CSV file a ticker")
    parser.add_argument("--every", type=int, default=20, help="take every N-th file (default 20)")
    parser.add_argument("--first", type=int, default=0, help="position of the first (default 0)")
    parser.add_argument("--days", type=int, default=10, help="broken days of a ticker (default 10)")
    wish = parser.parse_args(argv)
    # what the warning looks at is made of bars alone: any network will do
    network = Network(min(Settings().pretrained_dir.glob("*/model.onnx")))
    models = {name: TrainedModel(network, find_recipe(name).as_dict()) for name in RECIPES}
    histories = list(tables(wish.folder, wish.every, wish.first))
    for name, model in models.items():
        draws = np.random.default_rng(0)
        calm = [walked(model, bars) for bars in histories]
        faults = [broken(model, bars, draws) for bars in histories for _ in range(wish.days)]
        print(f"\n{name}, {len(calm)} tickers: per cent of sessions outside")
        print(f"\n{shown(calm, of_sessions=True)}")
        print(f"\n{name}: per cent of {len(faults)} broken feeds outside")
        print(f"\n{shown(faults, of_sessions=False)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
