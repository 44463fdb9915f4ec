"""`python registry.py promote|rollback|history AAPL`, `sync`, `prune`: who is champion, what stays.

Knows how to ask and to print; `succession` decides.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tqdm import tqdm

from config import Settings, get_settings
from contracts import BadBundle, BadSettings, ForecastingError, RefusedVersion, parse_ticker
from model_store import ModelStore, read_card
from pruning import Plan, Pruning
from registry import Registry
from succession import Change, Succession, rolled_back
from tracking.retention import Policy
from tracking.versions import Version

Row = dict[str, Any]
FREED = (
    "MLflow keeps what is deleted until `mlflow gc --backend-store-uri` frees it; "
    "until then `mlflow runs restore --run-id` brings a run back"
)


def history(ticker: str, settings: Settings) -> list[Row]:
    """Every registered version, the oldest first, with the gate's ruling and the skill it had.

    Raises:
        TrackingUnavailable: MLflow does not answer.
    """
    reigns = ModelStore(settings.models_dir).reigns(ticker)
    champion = reigns[-1].version if reigns else None
    published = {reign.version: reign.published_at for reign in reigns}
    versions = Registry(settings.mlflow_tracking_uri).versions(ticker)
    return [
        {
            **_facts(version),
            "published_at": published.get(version.version),
            "champion": version.version == champion,
        }
        for version in versions
    ]


def _facts(version: Version) -> Row:
    return {
        "version": version.version,
        "trained_at": version.created_at,
        "recipe": version.tags.get("recipe"),
        "data_source": version.tags.get("data_source"),
        "rmse_ratio": version.metrics.get("rmse_ratio"),
        "crps_ratio": version.metrics.get("crps_ratio"),
        "promoted": version.tags.get("promoted") == "true",
        "ruling": version.tags.get("gate"),
    }


def history_on_disk(ticker: str, settings: Settings) -> list[Row]:
    """Every champion the model store remembers, the oldest first, from their cards alone."""
    store = ModelStore(settings.models_dir)
    reigns = store.reigns(ticker)
    return [
        {
            "version": reign.version,
            **_card_facts(store, reign.bundle),
            "promoted": True,
            "ruling": None,
            "published_at": reign.published_at,
            "champion": place == len(reigns),
        }
        for place, reign in enumerate(reigns, start=1)
    ]


def _card_facts(store: ModelStore, bundle: str) -> Row:
    try:
        card = read_card(store.models_dir / bundle)
    except BadBundle:  # still worth a row: it is why a rollback would be refused
        return {"trained_at": None, "recipe": "unreadable", "data_source": None}
    return {
        "trained_at": card.trained_at,
        "recipe": card.recipe["name"],
        "data_source": card.data.source,
        "rmse_ratio": card.skill.rmse_ratio,
        "crps_ratio": card.skill.crps_ratio,
    }


def as_table(ticker: str, rows: Sequence[Row]) -> str:
    """Versions as people read them; the champion has a star."""
    if not rows:
        return f"{ticker} has no version yet; run: python train.py {ticker}"
    names = f"{'version':>8}  {'trained (UTC)':16} {'recipe':18} {'prices':12}"
    lines = [f"{names} {'RMSE':>7} {'CRPS':>7}  ruling"]
    for row in rows:
        mark = "*" if row["champion"] else " "
        when = f"{row['trained_at']:%Y-%m-%d %H:%M}" if row["trained_at"] else ""
        figures = " ".join(f"{_figure(row.get(name)):>7}" for name in ("rmse_ratio", "crps_ratio"))
        ruling = f"{'promoted' if row['promoted'] else 'kept out'}: {row['ruling'] or 'not kept'}"
        lines.append(
            f"{mark}{row['version']:>7}  {when:16} {row['recipe'] or '':18} "
            f"{row['data_source'] or '':12} {figures}  {ruling}"
        )
    return "\n".join([*lines, "* champion; RMSE and CRPS relative to the last close's"])


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def sync_all(tickers: Sequence[str], settings: Settings) -> list[Change | ForecastingError]:
    """Follow the alias of each ticker; one that is refused costs only itself.

    Raises:
        TrackingUnavailable: MLflow does not answer.
    """
    succession = Succession(settings, Registry(settings.mlflow_tracking_uri))
    found: list[Change | ForecastingError] = []
    for ticker in tickers:
        try:
            found.append(succession.sync(ticker))
        except (RefusedVersion, BadBundle) as error:
            found.append(error)
    return found


def pruned(arguments: argparse.Namespace, settings: Settings) -> list[Plan | ForecastingError]:
    """What `prune` did to each ticker, or would do; one that is refused costs only itself.

    Raises:
        TrackingUnavailable: MLflow does not answer.
    """
    days, now = arguments.older_than_days, datetime.now(UTC)
    policy = Policy(arguments.keep, None if days is None else now - timedelta(days=days))
    pruning = Pruning(settings, Registry(settings.mlflow_tracking_uri))
    act = pruning.plan if arguments.dry_run else pruning.carry_out
    found: list[Plan | ForecastingError] = []
    tickers = _tickers(arguments.tickers, settings)
    for ticker in tqdm(tickers, desc="pruning", unit="ticker", disable=None):
        try:
            found.append(act(ticker, policy))
        except BadBundle as error:
            found.append(error)
    return found


def prune_table(found: Sequence[Plan | ForecastingError], *, dry_run: bool) -> str:
    """A line per ticker that loses something or could not be looked at, and the sums."""
    plans = [one for one in found if isinstance(one, Plan)]
    lines = [str(one) for one in found if not isinstance(one, Plan) or one.runs or one.bundles]
    runs, bundles = sum(len(one.runs) for one in plans), sum(len(one.bundles) for one in plans)
    would = "would go" if dry_run else "deleted"
    size = f"{sum(one.size for one in plans) / 1e6:.1f} MB"
    lines.append(f"{would}: {runs} runs, {bundles} bundles ({size}) of {len(plans)} tickers")
    if runs and not dry_run:
        lines.append(FREED)
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Say who is champion and change it: MLflow's alias and the model store's pointer together.

    Exit 1 where a version was refused, 2 on bad input or where MLflow does not answer.
    """
    arguments = _parser().parse_args(argv)
    try:
        settings = get_settings()
        logging.basicConfig(level=settings.log_level, format="%(levelname)s %(name)s %(message)s")
        if arguments.command == "prune":
            pruned_all = pruned(arguments, settings)
            print(prune_table(pruned_all, dry_run=arguments.dry_run))
            return int(any(isinstance(one, ForecastingError) for one in pruned_all))
        if arguments.command == "sync":
            tickers = _tickers(arguments.tickers, settings)
            found = sync_all(tickers, settings)
            for ticker, one in zip(tickers, found, strict=True):
                print(f"{ticker}: {one}" if isinstance(one, ForecastingError) else said(one))
            return int(any(isinstance(one, ForecastingError) for one in found))
        ticker = parse_ticker(arguments.ticker)
        if arguments.command == "history":
            rows = (history_on_disk if arguments.offline else history)(ticker, settings)
            as_json = json.dumps(rows, indent=2, default=str)
            print(as_json if arguments.json else as_table(ticker, rows))
            return 0
        print(said(_changed(ticker, arguments, settings)))
    except RefusedVersion as error:
        print(f"registry.py: {error}", file=sys.stderr)
        return 1
    except ForecastingError as error:
        print(f"registry.py: {error}", file=sys.stderr)
        return 2
    return 0


def _changed(ticker: str, arguments: argparse.Namespace, settings: Settings) -> Change:
    if arguments.command == "rollback" and arguments.offline:
        store = ModelStore(settings.models_dir)
        with store.lock(ticker):
            return rolled_back(ticker, store.rollback(ticker, alias_moved=False))
    succession = Succession(settings, Registry(settings.mlflow_tracking_uri))
    if arguments.command == "rollback":
        return succession.rollback(ticker)
    if not arguments.version.isdigit():
        raise BadSettings(f"{arguments.version!r} is no version; MLflow counts 1, 2, 3, ...")
    return succession.promote(ticker, arguments.version, force=arguments.force)


def said(change: Change) -> str:
    """One change in one line."""
    if change.version is None:
        return f"{change.ticker}: no champion ({change.reason})"
    what = {
        "published": f"version {change.version} is champion",
        "kept": f"version {change.version} stays champion",
        "alias moved": f"MLflow's alias moved to version {change.version}",
    }[change.deed]
    return f"{change.ticker}: {what} ({change.reason})"


def _tickers(named: Sequence[str], settings: Settings) -> tuple[str, ...]:
    """Those named; else the configured ones and every other that has a champion."""
    everything = (*settings.tickers, *ModelStore(settings.models_dir).tickers())
    return tuple(dict.fromkeys(parse_ticker(name) for name in named or everything))


def _at_least_one(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="registry.py", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    promote = commands.add_parser("promote", help="make a registered version champion")
    promote.add_argument("ticker", help="symbol, such as AAPL")
    promote.add_argument("version", help="its number, as `history` shows")
    promote.add_argument("--force", action="store_true", help="whatever the gate's ruling says")
    rollback = commands.add_parser("rollback", help="return to the champion before the present one")
    rollback.add_argument("ticker", help="symbol")
    told = commands.add_parser("history", help="every version, its ruling, who is champion")
    told.add_argument("ticker", help="symbol")
    told.add_argument("--json", action="store_true", help="print JSON")
    for one, what in ((rollback, "without MLflow"), (told, "what the model store alone remembers")):
        one.add_argument("--offline", action="store_true", help=what)
    prune = commands.add_parser(
        "prune", help="delete old runs, their versions, and bundles that nothing names any more"
    )
    prune.add_argument("tickers", nargs="*", help="symbols; default: all there are")
    prune.add_argument(
        "--keep",
        type=_at_least_one,
        default=26,
        help="newest trainings and searches, and settlements, of each ticker (default 26)",
    )
    prune.add_argument("--older-than-days", type=float, help="and delete only what is older")
    prune.add_argument("--dry-run", action="store_true", help="say what would go, and stop")
    sync = commands.add_parser("sync", help="publish what the champion alias names in MLflow")
    sync.add_argument("tickers", nargs="*", help="symbols; default: all there are")
    return parser


if __name__ == "__main__":
    sys.exit(main())
