"""Flags and texts of `data_pipeline`'s commands; decides nothing and prints nothing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prices.importing import Imported
from prices.many import STATES, Refreshed, counted

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def parsed(argv: Sequence[str] | None, about: str | None) -> argparse.Namespace:
    """`command` with its own flags; `about` is what --help says of the whole."""
    parser = _parser(about)
    arguments = parser.parse_args(argv)
    if arguments.command == "import" and (arguments.file is None) == (arguments.dir is None):
        parser.error("import takes a ticker and its file, or --dir and a folder")
    return arguments


def _parser(about: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="data_pipeline.py", description=about)
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("show", help="say where the prices at hand came from")
    show.add_argument("ticker", help="symbol, such as AAPL")
    check = commands.add_parser("check", help="judge a price file, or the bars at hand, row by row")
    check.add_argument("target", help="file, or symbol of cached bars; exit 1 if it is refused")
    check.add_argument("--ticker", help="whose bars the file holds (as its name begins, if not)")
    for command in (_importing(commands), _refreshing(commands), show, check):
        command.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _importing(commands: Commands) -> argparse.ArgumentParser:
    take = commands.add_parser(
        "import",
        help="take a price file, or a folder of them, into the cache",
        usage="%(prog)s [--adjustment {split,split+dividend}] [--json] (TICKER FILE | --dir DIR)",
    )
    take.add_argument("ticker", nargs="?", help="whose bars these are, such as AAPL")
    take.add_argument(
        "file", nargs="?", type=Path, help="CSV or CSV.GZ with Date, Open, High, Low, Close ..."
    )
    take.add_argument(
        "--dir",
        type=Path,
        help="import every AAPL.csv or AAPL.csv.gz of a folder instead, skipping what is there; "
        "exit 1 if any is refused",
    )
    take.add_argument(
        "--adjustment",
        choices=("split", "split+dividend"),
        help="how the prices are adjusted (split beside an Adj Close, else split+dividend)",
    )
    return take


def _refreshing(commands: Commands) -> argparse.ArgumentParser:
    fetch = commands.add_parser(
        "refresh",
        help="fetch newer bars of many tickers, politely; what is fresh is not asked for, so an "
        "interrupted one goes on where it was; exit 1 if any could not be brought up to date",
    )
    fetch.add_argument("tickers", nargs="*", help="symbols; default: STOCK_TICKERS")
    fetch.add_argument("--tickers-file", type=Path, help="further symbols, one a line")
    fetch.add_argument(
        "--patience",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="to wait in all for sources that want to be left alone (default 300)",
    )
    return fetch


def refresh_summary(outcomes: Sequence[Refreshed], *, as_json: bool) -> str:
    """Counts, then one line per ticker that is not fresh; or the same as one JSON object."""
    counts = counted(outcomes)
    lacking = [one for one in outcomes if one.reason is not None]
    if as_json:
        facts = {one.ticker: {"state": one.state, "through": one.through} for one in outcomes}
        reasons = {one.ticker: one.reason for one in lacking}
        return json.dumps({**counts, "tickers": facts, "reasons": reasons}, indent=2, default=str)
    told = "; ".join(f"{n} {state} ({STATES[state]})" for state, n in counts.items() if n)
    lines = [f"{one.ticker}: {one.state}: {one.reason}" for one in lacking]
    return "\n".join([f"{len(outcomes)} tickers: {told or 'none'}", *lines])


def summary(outcomes: Sequence[Imported], *, as_json: bool) -> str:
    """Counts, then one line per refused file; or the same as one JSON object."""
    by_state = {
        state: [one for one in outcomes if one.state == state]
        for state in ("imported", "skipped", "refused")
    }
    counts = {state: len(rows) for state, rows in by_state.items()}
    refused = {one.path.name: one.text for one in by_state["refused"]}
    if as_json:
        return json.dumps({**counts, "refusals": refused}, indent=2)
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    lines = [f"{name}: {text}" for name, text in refused.items()]
    return "\n".join([f"{len(outcomes)} files: {told}", *lines])


def table(facts: Mapping[str, object]) -> str:
    """A line per fact."""
    return "\n".join(f"{name.replace('_', ' '):15}{_words(value)}" for name, value in facts.items())


def _words(value: object) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    return ", ".join(f"{name} {count}" for name, count in value.items()) or "none"
