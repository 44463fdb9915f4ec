"""Searches a recipe's fields by Keras Tuner, then trains and publishes the best through the gate.

`python tune.py IBM --trials 10` goes on, after a kill at any moment, with the trials it has. Keras
Tuner only says which configuration comes next, the same ones for the same seed: what was found is
kept here, a file a trial, since its own files may be cut short by a kill.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout
from tqdm import tqdm

from base_training import base_for
from bases import Base
from config import Settings, chosen_tickers, get_settings, with_flags
from contracts import BadSettings, ForecastingError, Prices
from data_pipeline import StockDataPipeline
from engines import choice_of
from evaluation import Prepared, prepare
from fitting import Lesson, Parts
from many import add_many_flags, exit_code
from recipes import Recipe
from recording import Outcome, parameters, summary
from registry import Registry, TrainingRun
from report import trials_page
from search_space import Space, extremes, own_space, parse_space
from search_trials import OBJECTIVE, explore, fit_trial
from train import LOG_FORM, MLflowTrainer, quiet_libraries, recipe_of
from trial_ledger import Ledger, Tried, Values, best_of

log = logging.getLogger(__name__)

MOST_TRIALS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is searched: everything that the loss of a trial depends on."""

    prices: Prices
    recipe: Recipe  # fields that are not varied
    space: Space
    settings: Settings
    parts: Parts  # the same sessions for every trial
    base: Base | None

    @property
    def key(self) -> str:
        """Another one for another question."""
        facts = {
            **self.described(),
            "fields": self.recipe.as_dict(),
            "start_date": str(self.settings.start_date),
            "base": self.base.card.name if self.base else None,
            "keras_tuner": importlib.metadata.version("keras-tuner"),
        }
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]

    def described(self) -> dict[str, object]:
        """What the parent run logs."""
        provenance = self.prices.provenance
        space = {field: asdict(dimension) for field, dimension in self.space.items()}
        return {
            "recipe": self.recipe.name,
            "ticker": self.prices.ticker,
            "space": json.dumps(space),
            "seed": self.settings.seed,
            "data_source": provenance.source,
            "data_adjustment": provenance.adjustment,
            "data_sha256": provenance.sha256,
            "data_last_session": str(provenance.last_session),
        }


class Search:
    """Trials of one question below one open run; what the ledger has is not done again."""

    def __init__(
        self, question: Question, ledger: Ledger, registry: Registry, parent: TrainingRun
    ) -> None:
        self.question, self.ledger, self.registry = question, ledger, registry
        self.ticker = question.prices.ticker
        self.tracked = registry.finished_trials(self.ticker, parent)

    def run(self, trials: int) -> list[Tried]:
        """So many trials, or as many different ones as the space has, in their order."""
        found: list[Tried] = []
        with tqdm(total=trials, desc=f"{self.ticker} search", unit="trial") as bar:

            def judge(number: int, values: Values) -> float:
                tried = self._trial(number, values, bar)
                found.append(tried)
                bar.set_postfix_str(f"best {min(t.best for t in found):.6g}", refresh=False)
                bar.update()
                return tried.best

            explore(self.question.space, trials, self.question.settings.seed, judge)
            bar.total = bar.n  # a small space ends early
        return found

    def _trial(self, number: int, values: Values, bar: Any) -> Tried:
        recipe = replace(self.question.recipe, **values)  # type: ignore[arg-type]
        data = prepare(self.question.prices, self.question.settings, recipe)
        tried = self.ledger.trial(number, values)
        if tried is not None and number in self.tracked:
            return tried
        logged = parameters(data, recipe, self.question.settings)
        with self.registry.trial(self.ticker, number, logged) as run:
            if tried is None:
                tried = self._fit(number, values, (data, recipe), (run, bar))
                self.ledger.keep(tried)
            else:  # its run was not ended, or the database is another one
                for epoch, both in enumerate(zip(tried.losses, tried.val_losses, strict=True)):
                    _log_epoch(run, epoch, *both)
            run.log_metrics({OBJECTIVE: tried.best})
        return tried

    def _fit(
        self,
        number: int,
        values: Values,
        what: tuple[Prepared, Recipe],
        to: tuple[TrainingRun, Any],
    ) -> Tried:
        (data, recipe), (run, bar) = what, to

        def ended(epoch: int, loss: float, val_loss: float) -> None:
            _log_epoch(run, epoch, loss, val_loss)
            bar.set_postfix_str(f"epoch {epoch + 1}, validation loss {val_loss:.6g}")

        question = self.question
        lesson = Lesson(data.bars, data.rows, question.parts, question.base)
        return fit_trial(lesson, recipe, question.settings.seed, (number, values), ended)


def _log_epoch(run: TrainingRun, epoch: int, loss: float, val_loss: float) -> None:
    run.log_epoch(epoch, {"train_loss": loss, "val_loss": val_loss})


def ask(prices: Prices, settings: Settings, recipe: Recipe, space: Space) -> Question:
    """The question, with the sessions that every trial is fitted to and judged on.

    They are those of the shortest input that may be tried, whose test part begins first: whatever
    wins, the rows it is tested on have chosen nothing.

    Raises:
        NotEnoughHistory: too few bars.
        NoBase: the recipe needs a base and there is none.
        BadSettings: the longest input leaves nothing to fit to.
    """
    shortest, longest = extremes("unrollings", space, recipe.unrollings)
    data = prepare(prices, settings, replace(recipe, unrollings=shortest))
    if longest >= data.parts.train.stop:
        raise BadSettings(f"unrollings: {longest} sessions leave none to fit to before validation")
    first_test = data.bars["Date"].iloc[int(data.rows.last[data.split.test][0])]
    base = base_for(pd.Timestamp(first_test).date(), recipe, settings, prices)
    return Question(prices, recipe, space, settings, data.parts, base)


@contextmanager
def alone(folder: Path, ticker: str) -> Iterator[None]:
    """One search of a ticker at a time, so that what is left open is known to be dead.

    Raises:
        BadSettings: another process is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BadSettings(
            f"another search for {ticker} is running here; wait until it ends"
        ) from None
    try:
        yield
    finally:
        lock.release()


def home_of(ticker: str, settings: Settings) -> Path:
    """Where the searches of a ticker are kept."""
    return settings.models_dir / "tuning" / ticker


def ledger_of(question: Question) -> Ledger:
    """What has been found of a question so far."""
    home = home_of(question.prices.ticker, question.settings)
    return Ledger(home / f"{question.recipe.name}_{question.key}")


def tune(question: Question, trials: int) -> tuple[pd.DataFrame, str]:
    """Search, then train, judge and register the best configuration.

    Returns:
        One row a trial, the best first, and what became of the best.

    Raises:
        BadSettings: no trial had a finite loss, or another search of the ticker is running.
    """
    ticker, settings = question.prices.ticker, question.settings
    with alone(home_of(ticker, settings), ticker):
        ledger = ledger_of(question)
        registry = Registry(settings.mlflow_tracking_uri)
        with opened(question, ledger, registry) as parent:
            found = Search(question, ledger, registry, parent).run(trials)
            table = tabled(question, found, parent)
            return table, _publish(question, ledger, found, parent)


@contextmanager
def opened(question: Question, ledger: Ledger, registry: Registry) -> Iterator[TrainingRun]:
    """The run of a search; what killed searches of the ticker left open is marked before."""
    ticker = question.prices.ticker
    home = home_of(ticker, question.settings)
    for earlier in {ledger.folder, *(path.parent for path in home.glob("*/search.json"))}:
        registry.close_left_open(ticker, Ledger(earlier).search_id)
    with registry.search(ticker, ledger.search_id, question.described()) as parent:
        yield parent


def tabled(question: Question, found: Sequence[Tried], parent: TrainingRun) -> pd.DataFrame:
    """The trials as a table, the best first, kept with the run of the search, plot and all."""
    table = results(found)
    parent.log_text(table.to_csv(index=False), "trials.csv")
    plot = table.drop(columns=["trial", "epochs"])
    title = f"{question.prices.ticker}: {len(found)} trials of {question.recipe.name}"
    parent.log_text(trials_page(plot, OBJECTIVE, title), "trials.html")
    return table


def results(found: Sequence[Tried]) -> pd.DataFrame:
    """Columns trial, the varied fields, the objective and epochs; the best trial first."""
    rows = [
        {"trial": t.number, **t.values, OBJECTIVE: t.best, "epochs": len(t.losses)} for t in found
    ]
    return pd.DataFrame(rows).sort_values([OBJECTIVE, "trial"], ignore_index=True)


def _publish(
    question: Question, ledger: Ledger, found: Sequence[Tried], parent: TrainingRun
) -> str:
    """Train the best as `train.py` would, unless an earlier call of the command has."""
    best, settings = best_of(found), question.settings
    parent.log_metrics({OBJECTIVE: best.best})
    if (said := ledger.published(best, settings.models_dir)) is not None:
        return f"{said}\n  registered before; nothing trained again"
    recipe = replace(question.recipe, **best.values)  # type: ignore[arg-type]
    trainer = MLflowTrainer(question.prices.ticker, settings)
    outcome = trainer.run(question.prices, recipe, ledger.job(best))
    return told(outcome, ledger, best, parent)


def told(outcome: Outcome, ledger: Ledger, best: Tried, parent: TrainingRun) -> str:
    """Remember that the best has been registered; what became of it."""
    parent.tag(best_trial=str(best.number), model_version=outcome.version)
    ledger.publish(best, outcome.folder, summary(outcome))
    return summary(outcome)


def main(argv: list[str] | None = None) -> int:
    """Search a recipe's fields for the lowest validation loss; train and register the best.

    Exit 1 if one of several tickers failed.
    """
    arguments = _parser().parse_args(argv)
    quiet_libraries()
    failed: list[str] = []
    try:
        settings = get_settings()
        logging.basicConfig(level=settings.log_level, format=LOG_FORM)
        tickers = chosen_tickers(arguments.tickers, arguments.tickers_file)
        recipe, space, settings = _wish(arguments, settings)
        if not tickers:
            raise BadSettings("name a ticker, such as IBM, or --tickers-file FILE")
        if len(tickers) == 1:
            prices = StockDataPipeline(tickers[0], settings).load()
            print(_searched(ask(prices, settings, recipe, space), arguments.trials))
        else:
            from many_searches import Searches, search_all

            searches = Searches(tickers, (recipe, space, arguments.trials), settings)
            for line in search_all(searches, choice_of(arguments), failed, arguments.afresh):
                tqdm.write(line)
    except ForecastingError as error:
        print(f"tune.py: {error}", file=sys.stderr)
        return 2
    if failed:
        print(f"tune.py: failed: {' '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _searched(question: Question, trials: int) -> str:
    """Search and train; the table of trials, and what became of the best."""
    table, said = tune(question, trials)
    lines = [table.to_string(index=False, float_format=lambda value: f"{value:.6g}")]
    if len(table) < trials:
        lines.append(f"the space gave only {len(table)} different configurations")
    return "\n".join([*lines, said])


def _wish(arguments: argparse.Namespace, settings: Settings) -> tuple[Recipe, Space, Settings]:
    """Recipe, space and settings; flags win over settings, the space over both."""
    flags = {n: v for n in ("recipe", "epochs") if (v := getattr(arguments, n)) is not None}
    settings = with_flags(settings, flags)
    recipe = recipe_of(settings)
    if arguments.space is None:
        return recipe, own_space(recipe), settings
    try:
        space = parse_space(arguments.space.read_text("utf-8"), recipe)
    except (OSError, UnicodeDecodeError, BadSettings) as error:
        raise BadSettings(f"--space {arguments.space}: {error}") from error
    if arguments.epochs is not None and "epochs" in space:
        raise BadSettings(f"--epochs {arguments.epochs}: {arguments.space} varies epochs")
    return recipe, space, settings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tune.py", description=main.__doc__)
    parser.add_argument("tickers", nargs="*", help="symbols, such as IBM")
    add_many_flags(parser)
    parser.add_argument(
        "--trials", type=_trials, default=10, help="configurations to try (default 10)"
    )
    parser.add_argument("--epochs", type=int, help="at most so many a trial (default STOCK_EPOCHS)")
    parser.add_argument("--space", type=Path, help="TOML: field = { low, high } or { choices }")
    parser.add_argument("--recipe", default="tuned_lstm", help="named recipe (default tuned_lstm)")
    return parser


def _trials(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_TRIALS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_TRIALS}")
    return int(text)


if __name__ == "__main__":
    sys.exit(exit_code(main))
