"""Prices in, judged bundle in the registry out. Knows no HTTP.

`python train.py` trains every configured ticker, `python train.py AAPL MSFT --epochs 50` those
named; `--missing` only those without a champion that fits their prices; `--stay` then stays and
takes training requests from the database.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date

from tqdm import tqdm

from assignments import Assignments
from base_training import BaseTrainer, gather
from bundling import epoch_bar, train_ticker
from config import Settings, chosen_tickers, get_settings, with_flags
from contest import usable_champion
from contracts import (
    BadSettings,
    ForecastingError,
    LogUnavailable,
    Prices,
    TrainingRequest,
    parse_ticker,
)
from data_pipeline import StockDataPipeline
from engines import choice_of
from evaluation import headline
from forecast_log import ForecastLog
from many import add_many_flags, exit_code
from many_trainings import Trainings
from model_store import ModelStore
from recipes import RECIPES, Recipe, find_recipe
from recording import Outcome, Recorder, summary
from registry import Registry
from retraining import NO_CHAMPION
from training_queue import TrainingQueue, at_work

log = logging.getLogger(__name__)

LOG_FORM = "%(asctime)s %(levelname)s %(name)s %(message)s"
STAY_SECONDS = 3600.0  # between two looks for tickers without a champion
RETRY_SECONDS = 60.0  # before the next look after a failure
MOST_TOGETHER = 256  # networks in one graph
REQUEST_SECONDS = 5.0  # between two looks for training requests


Trial = tuple[str, "Outcome | ForecastingError"]  # ticker and what came of it


class MLflowTrainer:
    """Trains one ticker, tracks it in MLflow and publishes what passes the gate."""

    def __init__(
        self, ticker: str, settings: Settings | None = None, recipe: Recipe | None = None
    ) -> None:
        self.ticker = parse_ticker(ticker)
        self.settings = settings or get_settings()
        self.recipe = recipe or recipe_of(self.settings)
        self.store = ModelStore(self.settings.models_dir)

    def train_model(self, epochs: int = 50, batch_size: int = 32) -> tuple[str, dict[str, float]]:
        """Train, judge, register; publish if the gate passes.

        Args:
            epochs: at most so many.
            batch_size: rows per step.

        Returns:
            The bundle's folder, and the metrics logged: `test_*` on the normalised scale,
            `<model>_*` in prices for `lstm` and each baseline.
        """
        recipe = replace(self.recipe, epochs=epochs, batch_size=batch_size)
        outcome = self.run(StockDataPipeline(self.ticker, self.settings).load(), recipe)
        return str(outcome.folder), headline(outcome.card)

    def run(self, prices: Prices, recipe: Recipe, job: str = "") -> Outcome:
        """The whole path for given prices: fit, judge, bundle, register, gate, publish.

        Args:
            prices: of the ticker.
            recipe: what to fit.
            job: what this training goes by, if it is to be registered once: what a process that
                was killed had registered by that name is finished, and not trained again.
        """
        registry = Registry(self.settings.mlflow_tracking_uri)
        recorder = Recorder(self.settings, registry, job)
        if job and (left := recorder.left_behind((self.ticker,))):
            return next(iter(left.values()))
        assignment, data = Assignments(self.settings).of(prices, recipe)
        with epoch_bar(self.ticker, recipe.epochs) as heard:
            trained = train_ticker(self.ticker, assignment, heard)
        return recorder.record(trained, data, recipe)


def recipe_of(settings: Settings) -> Recipe:
    """The configured recipe; fields that were set explicitly win over the table."""
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    return find_recipe(settings.recipe, given)


def lacking(tickers: tuple[str, ...], settings: Settings) -> tuple[str, ...]:
    """Those without a champion that fits the prices there are now; refreshes the prices."""
    store = ModelStore(settings.models_dir)
    return tuple(
        ticker
        for ticker in tickers
        if usable_champion(store, StockDataPipeline(ticker, settings).load()) is None
    )


def train_all(
    tickers: tuple[str, ...], settings: Settings, recipes: tuple[Recipe, ...]
) -> Iterator[Trial]:
    """Train each ticker in turn, by each recipe; a failed one costs only itself."""
    for ticker, recipe in itertools.product(tickers, recipes):
        try:
            prices = StockDataPipeline(ticker, settings).load()
            yield ticker, MLflowTrainer(ticker, settings).run(prices, recipe)
        except ForecastingError as error:
            yield ticker, error


def main(argv: list[str] | None = None) -> int:
    """Train, judge and register one LSTM per ticker. Exit 1 if a ticker failed, 2 on bad input."""
    arguments = _parser().parse_args(argv)
    quiet_libraries()
    try:
        settings = get_settings()
        logging.basicConfig(level=settings.log_level, format=LOG_FORM)
        tickers = chosen_tickers(arguments.tickers, arguments.tickers_file) or settings.tickers
        recipes = _chosen_recipes(arguments, settings)
        if arguments.base:
            print(_base(tickers, recipes[0], settings, arguments))
            return 0
        if arguments.as_published:
            print("\n".join(_as_published(tickers, recipes, settings)))
            return 0
        wanted = lacking(tickers, settings) if arguments.missing else tickers
        failed: list[str] = []
        for line in _trained(wanted, recipes, settings, (arguments, failed)):
            tqdm.write(line)
            sys.stdout.flush()
    except ForecastingError as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    if failed:
        print(f"train.py: failed: {' '.join(dict.fromkeys(failed))}", file=sys.stderr)
    if arguments.stay:
        _stay(tickers, settings, recipes)
    return 1 if failed else 0


def _trained(
    tickers: tuple[str, ...],
    recipes: tuple[Recipe, ...],
    settings: Settings,
    wish: tuple[argparse.Namespace, list[str]],
) -> Iterator[str]:
    """Train them, several as one job; what became of each, in lines. `wish` has the flags, and
    takes what failed."""
    arguments, failed = wish
    if arguments.stay or len(tickers) * len(recipes) < 2:
        for ticker, result in train_all(tickers, settings, recipes):
            failed += [ticker] if isinstance(result, ForecastingError) else []
            yield _line(ticker, result)
        return
    trainings = Trainings(tickers, recipes, settings, arguments.together)
    with trainings.job(afresh=arguments.afresh) as job:
        for _, record in trainings.run(job, choice_of(arguments)):
            yield record["said"]
        ended = job.finish()
    failed += ended.failed
    yield f"training: {ended}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="train.py", description=main.__doc__)
    parser.add_argument("tickers", nargs="*", help="symbols; default: STOCK_TICKERS")
    add_many_flags(parser)
    parser.add_argument(
        "--base", action="store_true", help="train one base on all of them, under pretrained/"
    )
    parser.add_argument(
        "--strategy",
        choices=("none", "mirrored", "multi-worker"),
        default="none",
        help="of TensorFlow, to spread a base: over GPUs, or the workers that TF_CONFIG names",
    )
    parser.add_argument(
        "--together",
        type=_together,
        default=1,
        help="fit so many tickers' networks as one graph (default 1)",
    )
    parser.add_argument("--epochs", type=int, help="at most so many epochs (default STOCK_EPOCHS)")
    parser.add_argument("--batch-size", type=int, help="rows per step (default STOCK_BATCH_SIZE)")
    wish = parser.add_mutually_exclusive_group()
    wish.add_argument("--recipe", help="named recipe (default STOCK_RECIPE)")
    wish.add_argument("--all-recipes", action="store_true", help="by every recipe, one run each")
    parser.add_argument(
        "--as-published",
        action="store_true",
        help="fit a published system with its own, leaking scale; a run to compare, no model",
    )
    parser.add_argument(
        "--missing", action="store_true", help="only tickers without a champion for their prices"
    )
    parser.add_argument(
        "--stay", action="store_true", help="then stay, and train what is asked for or lacking"
    )
    return parser


def _together(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_TOGETHER:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_TOGETHER}")
    return int(text)


def _as_published(
    tickers: tuple[str, ...], recipes: tuple[Recipe, ...], settings: Settings
) -> Iterator[str]:
    """Fit published systems as they were published, to compare with; no version, no champion."""
    from as_published import run_as_published

    for ticker, recipe in itertools.product(tickers, recipes):
        yield run_as_published(StockDataPipeline(ticker, settings).load(), recipe, settings)


def _base(
    tickers: tuple[str, ...], recipe: Recipe, settings: Settings, arguments: argparse.Namespace
) -> str:
    """Train a base on the tickers, put it among those that ship, and say what it is worth."""
    if not recipe.has_base:
        raise BadSettings(f"recipe {recipe.name} has no base; choose --recipe panel")
    panel = gather(tickers, settings, settings.as_of or date.max)
    folder = settings.pretrained_dir / str(panel.through)
    trainer = BaseTrainer(recipe, settings.seed, arguments.strategy, shipped=True)
    base = trainer.spread(panel, folder, afresh=arguments.afresh)
    if base is None:
        return f"{folder}: this worker's part is done, the first worker writes the base"
    card = base.card
    judges = f"{len(card.held_out)} other" if card.held_out else "the same"
    return (
        f"{folder}: {len(card.tickers)} tickers, {card.first_session} to {card.trained_through}\n"
        f"  one-step RMSE {card.skill.rmse_ratio:.4f} times that of repeating the last close on "
        f"{judges} tickers in the last year, fitted before it (p = {card.skill.p_value:.3f}); "
        f"weight of the correction {card.shrinkage:.2f}"
    )


def _chosen_recipes(arguments: argparse.Namespace, settings: Settings) -> tuple[Recipe, ...]:
    """Flags win over settings; both are held to the settings' ranges."""
    flags = {
        name: value
        for name in ("epochs", "batch_size", "recipe")
        if (value := getattr(arguments, name)) is not None
    }
    settings = with_flags(settings, flags)
    if not arguments.all_recipes:
        return (recipe_of(settings),)
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    return tuple(find_recipe(name, given) for name in RECIPES)


def _line(ticker: str, result: Outcome | ForecastingError) -> str:
    return f"{ticker}: {result}" if isinstance(result, ForecastingError) else summary(result)


def _stay(tickers: tuple[str, ...], settings: Settings, recipes: tuple[Recipe, ...]) -> None:
    """Take training requests, and look for missing champions every hour, or every minute after a
    failure, until SIGTERM or SIGINT."""
    leave = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: leave.set())
    requests = ForecastLog(settings.database_url)
    queue = TrainingQueue(requests, lambda asked: answered(asked, settings, recipes[0]))
    next_look = time.monotonic() + RETRY_SECONDS
    with at_work(requests):
        while not leave.wait(REQUEST_SECONDS):
            try:
                queue.serve_one()
            except LogUnavailable as error:
                log.warning("requests_not_read reason=%s", error)
            if time.monotonic() >= next_look:
                went_well = _look(tickers, settings, recipes)
                next_look = time.monotonic() + (STAY_SECONDS if went_well else RETRY_SECONDS)
    requests.close()


def _look(tickers: tuple[str, ...], settings: Settings, recipes: tuple[Recipe, ...]) -> bool:
    """Train whatever has come to lack a champion; whether all went well."""
    well = True
    try:
        for ticker, result in train_all(lacking(tickers, settings), settings, recipes):
            log.warning("trained ticker=%s result=%s", ticker, _line(ticker, result))
            well = well and not isinstance(result, ForecastingError)
    except ForecastingError as error:  # prices away, say: they may come back
        log.warning("look_failed reason=%s", error)
        return False
    return well


def answered(asked: TrainingRequest, settings: Settings, recipe: Recipe) -> str:
    """Train because somebody asked for it; what became of it, for the request.

    Raises:
        ForecastingError: no prices, no base, too little history, or MLflow is away.
    """
    prices = StockDataPipeline(asked.ticker, settings).load()
    champion = usable_champion(ModelStore(settings.models_dir), prices)
    if asked.reason == NO_CHAMPION and champion is not None:
        return f"version {champion.version} is champion by now"
    return summary(MLflowTrainer(asked.ticker, settings).run(prices, recipe))


def quiet_libraries() -> None:
    """Only what is wrong, from libraries that read these names when they are loaded."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # its notice cannot be silenced otherwise; nothing here gets slower, and sums stay in order
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")


if __name__ == "__main__":
    sys.exit(exit_code(main))
