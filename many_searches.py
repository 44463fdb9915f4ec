"""Searches of many tickers: workers fit trials and the best of each, this process tracks them.

Two jobs, one after the other: the trials of every ticker, then the training of every best.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from assignments import Assignments
from bundling import Assignment, Trained, train_ticker
from config import Settings
from data_pipeline import StockDataPipeline, today, training_bars
from engines import EngineChoice
from engines.job import Job
from evaluation import Prepared
from many import Work, refreshed, worked
from recipes import Recipe
from recording import Recorder
from registry import Registry
from search_space import Space
from search_trials import OBJECTIVE, Asked, search_ticker
from trial_ledger import Ledger, Tried, best_of
from tune import (
    Question,
    Search,
    alone,
    ask,
    home_of,
    ledger_of,
    opened,
    tabled,
    told,
)


@dataclass(frozen=True, slots=True, eq=False)
class Best:
    """A search that has ended, its best about to be trained."""

    question: Question
    ledger: Ledger
    tried: Tried
    data: Prepared


class Searches:
    """The same search for many tickers.

    Args:
        tickers: for whom.
        wish: the recipe, what of it is varied, and how often.
        settings: where prices, models and runs are.
    """

    def __init__(
        self, tickers: tuple[str, ...], wish: tuple[Recipe, Space, int], settings: Settings
    ) -> None:
        self.tickers, self.settings = tickers, settings
        self.recipe, self.space, self.trials = wish
        self._assignments = Assignments(settings)

    def job(self, name: str, title: str, *, afresh: bool = False) -> Job:
        """The trials (`tune`) or the trainings (`tune-best`) of all, where they stand.

        Raises:
            LeaseTaken: another process is at them.
        """
        about = {
            "recipe": self.recipe.as_dict(),
            "space": str(self.space),
            "trials": self.trials,
            "seed": self.settings.seed,
            "start_date": str(self.settings.start_date),
            "through": str(today(self.tickers[0], self.settings)),
        }
        folder = self.settings.models_dir / "jobs" / name
        return Job(folder, title, self.tickers, about, afresh=afresh)

    def search(self, job: Job, choice: EngineChoice) -> Iterator[str]:
        """Make the trials that the job lacks and track them; each ticker as it is done.

        Raises:
            TrackingUnavailable, EngineUnavailable: what is done stays done.
        """
        registry = Registry(self.settings.mlflow_tracking_uri)
        refreshed(job.pending(), self.settings)

        def write(question: Question, found: tuple[Tried, ...]) -> Mapping[str, Any]:
            return self._tracked(question, found, registry)

        for ticker, _ in worked(job, choice, Work(self._asked, search_ticker, write)):
            yield ticker

    def train(self, job: Job, lacking: tuple[str, ...], choice: EngineChoice) -> Iterator[str]:
        """Train the best of every search but those `lacking`; what became of each, in lines.

        Raises:
            TrackingUnavailable, EngineUnavailable: what is done stays done.
        """
        for ticker in lacking:
            job.fail(ticker, "its search has not ended")
        registry = Registry(self.settings.mlflow_tracking_uri)

        def prepare(ticker: str) -> tuple[Assignment, Best] | Mapping[str, Any]:
            return self._best(ticker, registry)

        def write(best: Best, trained: Trained) -> Mapping[str, Any]:
            return self._registered(best, trained, registry)

        wanted = tuple(ticker for ticker in job.pending() if ticker not in lacking)
        for _, record in worked(job, choice, Work(prepare, train_ticker, write), wanted):
            yield str(record["said"])

    def _question(self, ticker: str) -> Question:
        prices = StockDataPipeline(ticker, self.settings).load()
        return ask(prices, self.settings, self.recipe, self.space)

    def _asked(self, ticker: str) -> tuple[Asked, Question]:
        question = self._question(ticker)
        ledger = ledger_of(question)
        ledger.folder.mkdir(parents=True, exist_ok=True)
        bars = training_bars(question.prices, self.settings.start_date)
        asked = Asked(
            prices=replace(question.prices, bars=bars),  # earlier ones need not travel
            recipe=self.recipe,
            space=self.space,
            parts=question.parts,
            base=question.base.packed() if question.base else None,
            seed=self.settings.seed,
            trials=self.trials,
            known=ledger.trials(),
            ledger=ledger.folder.resolve(),
        )
        return asked, question

    def _tracked(
        self, question: Question, found: tuple[Tried, ...], registry: Registry
    ) -> Mapping[str, Any]:
        ticker, ledger = question.prices.ticker, ledger_of(question)
        with alone(home_of(ticker, self.settings), ticker):
            for tried in found:
                ledger.keep(tried)
            with opened(question, ledger, registry) as parent:
                Search(question, ledger, registry, parent).run(self.trials)
                tabled(question, found, parent)
                best = best_of(found)
                parent.log_metrics({OBJECTIVE: best.best})
        return {"best": best.number, "trials": len(found)}

    def _best(self, ticker: str, registry: Registry) -> tuple[Assignment, Best] | Mapping[str, Any]:
        """The training of a search's best; the record of one that has been registered before."""
        question = self._question(ticker)
        ledger = ledger_of(question)
        best = best_of(ledger.trials()[: self.trials])
        if (said := ledger.published(best, self.settings.models_dir)) is not None:
            return {"said": f"{said}\n  registered before; nothing trained again"}
        recorder = Recorder(self.settings, registry, ledger.job(best), keras_models=False)
        for outcome in recorder.left_behind((ticker,)).values():
            with opened(question, ledger, registry) as parent:
                return {"said": told(outcome, ledger, best, parent)}
        recipe = replace(self.recipe, **best.values)  # type: ignore[arg-type]
        assignment, data = self._assignments.of(question.prices, recipe)
        return assignment, Best(question, ledger, best, data)

    def _registered(self, best: Best, trained: Trained, registry: Registry) -> Mapping[str, Any]:
        question, ledger = best.question, best.ledger
        recorder = Recorder(self.settings, registry, ledger.job(best.tried), keras_models=False)
        recipe = replace(self.recipe, **best.tried.values)  # type: ignore[arg-type]
        with opened(question, ledger, registry) as parent:
            outcome = recorder.record(trained, best.data, recipe)
            return {"said": told(outcome, ledger, best.tried, parent)}


def search_all(
    searches: Searches, choice: EngineChoice, failed: list[str], afresh: bool
) -> Iterator[str]:
    """Both jobs; what became of each ticker, in lines. `failed` takes those that could not be.

    Raises:
        LeaseTaken: another process is at them.
        TrackingUnavailable, EngineUnavailable: what is done stays done.
    """
    with searches.job("tune", "search", afresh=afresh) as trials:
        for _ in searches.search(trials, choice):
            pass
        lacking, searched = trials.pending(), trials.finish()
    with searches.job("tune-best", "best", afresh=afresh) as trainings:
        yield from searches.train(trainings, lacking, choice)
        trained = trainings.finish()
    failed += {**trained.failed, **searched.failed}
    yield f"search: {searched}"
    yield f"best: {trained}"
