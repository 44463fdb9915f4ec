"""A simulated past: what the loop would have done over a span of sessions, and what it gained.

`python simulate.py --from 2025-01-02 --to 2025-12-31 AAPL GOOGL MSFT` copies the cached prices into
a folder of its own and walks through them there; nothing of the project around it is touched.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import shutil
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from tqdm import tqdm

from config import Settings, get_settings
from contracts import BadSettings, ForecastingError, SourceUnavailable, parse_ticker
from data_pipeline import StockDataPipeline, real_shelf
from model_store import ModelStore, Published, read_card
from simulation import Event, Plan, Simulation
from simulation_scores import Walked, as_table, gains, walked
from train import quiet_libraries

log = logging.getLogger(__name__)

MARK = "simulation.json"  # a folder that has it may be replaced


def main(argv: list[str] | None = None) -> int:
    """Walk through past sessions with the whole loop and say what it did and what it gained."""
    arguments = _parser().parse_args(argv)
    quiet_libraries()
    try:
        given = get_settings()
        logging.basicConfig(level=given.log_level, format="%(levelname)s %(name)s %(message)s")
        plan = _plan(arguments, given)
        settings = _placed(arguments.folder.resolve(), plan, given)
        with contextlib.chdir(arguments.folder):  # MLflow puts a SQLite store's files there
            simulation = Simulation(settings, plan)
            simulation.begin()
            simulation.walk(tqdm(plan.sessions(), desc="sessions", unit="session", disable=None))
            print("\n".join(_said(simulation)))
            simulation.close()
    except ForecastingError as error:
        print(f"simulate.py: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="simulate.py", description=main.__doc__)
    parser.add_argument("tickers", nargs="*", help="symbols; default: STOCK_TICKERS")
    parser.add_argument("--from", dest="first", type=_day, required=True, help="first session")
    parser.add_argument("--to", dest="last", type=_day, required=True, help="last session")
    parser.add_argument(
        "--retrain-every", type=int, default=0, help="also train every so many sessions (0: no)"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("simulation"), help="where it happens (simulation/)"
    )
    return parser


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2025-01-02") from None


def _plan(arguments: argparse.Namespace, settings: Settings) -> Plan:
    if arguments.first > arguments.last:
        raise BadSettings(f"--from {arguments.first} is later than --to {arguments.last}")
    if arguments.retrain_every < 0:
        raise BadSettings("--retrain-every is a number of sessions, 0 for never")
    tickers = tuple(parse_ticker(name) for name in arguments.tickers) or settings.tickers
    return Plan(
        tickers=tuple(dict.fromkeys(tickers)),
        first=arguments.first,
        last=arguments.last,
        retrain_every=arguments.retrain_every,
    )


def _placed(folder: Path, plan: Plan, given: Settings) -> Settings:
    """Settings of an empty project in the folder, with copies of the cached prices."""
    if folder.exists() and not (folder / MARK).is_file() and any(folder.iterdir()):
        raise BadSettings(f"--folder {folder} holds something else; name an empty or a new one")
    shutil.rmtree(folder, ignore_errors=True)
    settings = given.model_copy(
        update={
            "alert_webhook": None,  # nobody is to be told of alarms of the past
            "tickers": plan.tickers,
            "as_of": None,
            "pretrained_dir": given.pretrained_dir.resolve(),
            "data_dir": folder / "data",
            "models_dir": folder / "models",
            "reports_dir": folder / "reports",
            "database_url": f"sqlite:///{folder}/forecasts.db",
            "mlflow_tracking_uri": f"sqlite:///{folder}/mlflow.db",
        }
    )
    source, target = real_shelf(given), real_shelf(settings)
    for ticker in plan.tickers:
        pairs = [(s.csv_path(ticker), s.sidecar_path(ticker)) for s in (source, target)]
        for old, new in zip(*pairs, strict=True):
            if not old.is_file():
                raise SourceUnavailable(
                    f"{ticker} has no real prices here; import them: "
                    f"python data_pipeline.py import {ticker} FILE.csv"
                )
            new.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(old, new)
    facts = {"tickers": plan.tickers, "from": str(plan.first), "to": str(plan.last)}
    (folder / MARK).write_text(json.dumps(facts) + "\n", "utf-8")
    return settings


def _said(simulation: Simulation) -> list[str]:
    """What happened, then what it was worth."""
    plan, events = simulation.plan, simulation.events
    lines = [str(event) for event in events]
    lines += ["", *_counts(events, plan), ""]
    found = {ticker: walk_of(simulation, ticker) for ticker in plan.tickers}
    for ticker, one in found.items():
        lines += [ticker, as_table(gains([one])), ""]
    if len(found) > 1:
        lines += [f"all {len(found)} tickers", as_table(gains(list(found.values()))), ""]
    return lines


def _counts(events: Sequence[Event], plan: Plan) -> list[str]:
    kinds = ("promoted", "refused", "alarm", "failed")
    rows = []
    for ticker in plan.tickers:
        own = [event.kind for event in events if event.ticker == ticker]
        rows.append(f"{ticker:6} " + ", ".join(f"{kind} {own.count(kind)}" for kind in kinds))
    return [f"{len(plan.sessions())} sessions from {plan.first} through {plan.last}", *rows]


def walk_of(simulation: Simulation, ticker: str) -> Walked:
    """One ticker's losses, by the promises that were kept."""
    plan, settings = simulation.plan, simulation.settings
    store = ModelStore(settings.models_dir)
    promised = simulation.requests.promises(ticker, plan.first, plan.last)
    bundles = {one.bundle: one.version for one in promised}
    held = {name: _published(store, name, version) for name, version in bundles.items()}
    first = store.reigns(ticker)[0]
    return walked(
        StockDataPipeline(ticker, settings).read(),
        {one.origin: held[one.bundle] for one in promised},
        _published(store, first.bundle, first.version),
        plan.last,
    )


def _published(store: ModelStore, bundle: str, version: str) -> Published:
    folder = store.models_dir / bundle
    return Published(version, bundle, folder, read_card(folder))


if __name__ == "__main__":
    sys.exit(main())
