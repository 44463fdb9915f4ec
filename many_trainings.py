"""Trainings of many tickers as one job: what was done is not done again, nor registered twice.

Workers fit and judge; this process alone writes bundles, runs, versions and champions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from assignments import Assignments
from bundling import Assignment, Trained, train_ticker
from config import Settings
from contracts import BadSettings
from data_pipeline import StockDataPipeline, today
from engines import EngineChoice
from engines.job import Job
from evaluation import Prepared
from group_training import train_group
from many import Group, Work, refreshed, worked
from recipes import Recipe
from recording import Outcome, Recorder, summary
from registry import Registry

Asked = tuple[Prepared, Recipe]


class Trainings:
    """Every ticker by every recipe.

    Args:
        tickers: whose models.
        recipes: one, or several to compare.
        settings: where prices, models and runs are.
        together: how many tickers' networks are fitted as one graph.

    Raises:
        BadSettings: several together, of several recipes or of one that is not fitted so.
    """

    def __init__(
        self,
        tickers: tuple[str, ...],
        recipes: tuple[Recipe, ...],
        settings: Settings,
        together: int = 1,
    ) -> None:
        if together > 1 and not (len(recipes) == 1 and recipes[0].has_base):
            raise BadSettings("--together fits networks of one recipe that has a base, as panel's")
        self.settings, self.together = settings, together
        self._assignments = Assignments(settings)
        pairs = itertools.product(tickers, recipes)
        self.asked = {self._key(*pair, len(recipes)): pair for pair in pairs}

    def job(self, *, afresh: bool = False) -> Job:
        """The job, where it stands.

        Raises:
            LeaseTaken: another process is at it.
        """
        recipes = {recipe.name: recipe.as_dict() for _, recipe in self.asked.values()}
        about = {
            "recipes": recipes,
            "seed": self.settings.seed,
            "start_date": str(self.settings.start_date),
            "together": self.together,
            "through": str(today(next(iter(self.asked.values()))[0], self.settings)),
        }
        folder = self.settings.models_dir / "jobs" / "train"
        return Job(folder, "training", tuple(self.asked), about, afresh=afresh)

    def run(self, job: Job, choice: EngineChoice) -> Iterator[tuple[str, dict[str, Any]]]:
        """Train what the job lacks; the record of each as it is registered, `said` among it.

        Raises:
            TrackingUnavailable: MLflow does not answer; what is done stays done.
            EngineUnavailable: the engine cannot be started.
        """
        registry = Registry(self.settings.mlflow_tracking_uri)
        recorder = Recorder(self.settings, registry, job.id, keras_models=False)
        yield from self._caught_up(job, recorder)

        refreshed(tuple(dict.fromkeys(self.asked[key][0] for key in job.pending())), self.settings)

        def write(asked: Asked, trained: Trained) -> Mapping[str, Any]:
            return record_of(recorder.record(trained, *asked))

        group = Group(self.together, train_group) if self.together > 1 else None
        yield from worked(job, choice, Work(self._prepared, train_ticker, write, group))

    def _caught_up(self, job: Job, recorder: Recorder) -> Iterator[tuple[str, dict[str, Any]]]:
        """What a killed process had registered and not told the job."""
        pending = {self.asked[key]: key for key in job.pending()}
        tickers = tuple(dict.fromkeys(ticker for ticker, _ in pending))
        left = recorder.left_behind(tickers) if tickers else {}
        for (ticker, recipe), key in pending.items():
            if (outcome := left.get((ticker, recipe.name))) is not None:
                job.keep(key, record := record_of(outcome))
                yield key, record

    def _prepared(self, key: str) -> tuple[Assignment, Asked]:
        ticker, recipe = self.asked[key]
        prices = StockDataPipeline(ticker, self.settings).load()
        assignment, data = self._assignments.of(prices, recipe)
        return assignment, (data, recipe)

    @staticmethod
    def _key(ticker: str, recipe: Recipe, recipes: int) -> str:
        return ticker if recipes == 1 else f"{ticker} {recipe.name}"


def record_of(outcome: Outcome) -> dict[str, Any]:
    """What a job keeps of a training: enough to say what became of it."""
    return {
        "said": summary(outcome),
        "version": outcome.version,
        "bundle": outcome.folder.name,
        "promoted": outcome.ruling.promoted,
    }
