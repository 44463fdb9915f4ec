"""A training's run: begun in the past, told in a few batches, found again by the name of its job.

Takes a client that `registry` has opened.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

METRICS_AT_ONCE = 1000  # that MLflow takes in one call
RUNS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """What a run is told about a finished training, beside its bundle."""

    parameters: Mapping[str, object]
    epochs: Sequence[tuple[float, float]]  # training and validation loss of each
    metrics: Mapping[str, float]
    figures: Mapping[str, bytes]  # by file name
    model: str | None = None  # the id of MLflow's model, whose metrics these are too


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A run of a job, as a later process finds it."""

    run_id: str
    ticker: str
    status: str  # RUNNING where its process was killed
    version: str | None  # that was registered of it
    tags: Mapping[str, str]

    @property
    def lost(self) -> bool:
        """Whether it came to nothing and does not say so."""
        return self.version is None and self.status in ("RUNNING", "FINISHED")


def begin(client: Any, experiment: str, ticker: str, began: float, tags: Mapping[str, str]) -> str:
    """Create the open run of a training that began at `began` (seconds since 1970); its id.

    Below the run that is open in this thread, if one is.
    """
    import mlflow
    from mlflow.tracking.context.registry import resolve_tags

    parent = mlflow.active_run()
    below = {"mlflow.parentRunId": parent.info.run_id} if parent else {}
    run = client.create_run(
        experiment,
        start_time=int(began * 1000),
        run_name=f"{ticker}_training",
        tags=resolve_tags({"ticker": ticker, **below, **tags}),
    )
    return str(run.info.run_id)


def log_training(client: Any, run_id: str, logged: Logged) -> None:
    """Parameters, losses by epoch and metrics in as few calls as MLflow allows; the figures."""
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    of_the_model = {"model_id": logged.model, "run_id": run_id} if logged.model else {}
    rows = [
        Metric(name, loss, now, epoch, **of_the_model)
        for epoch, losses in enumerate(logged.epochs)
        for name, loss in zip(("train_loss", "val_loss"), losses, strict=True)
    ]
    rows += [
        Metric(name, float(value), now, 0, **of_the_model) for name, value in logged.metrics.items()
    ]
    parameters = [Param(name, str(value)) for name, value in logged.parameters.items()]
    for part in _parts(rows, METRICS_AT_ONCE - len(parameters)):
        client.log_batch(run_id, metrics=part, params=parameters)
        parameters = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, picture in logged.figures.items():
            (Path(scratch) / name).write_bytes(picture)
        client.log_artifacts(run_id, scratch)


def runs_of_job(client: Any, experiments: Sequence[str], job: str) -> Iterator[Begun]:
    """Every run that carries the name of a job, the oldest first."""
    token = None
    while experiments:
        page = client.search_runs(
            list(experiments),
            f"tags.job = '{job}'",
            max_results=RUNS_AT_ONCE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        yield from (_begun(client, run) for run in page)
        if not (token := page.token):
            return


def _begun(client: Any, run: Any) -> Begun:
    found = client.search_model_versions(f"run_id = '{run.info.run_id}'", max_results=1)
    return Begun(
        run_id=str(run.info.run_id),
        ticker=run.data.tags["ticker"],
        status=str(run.info.status),
        version=str(found[0].version) if found else None,
        tags={**run.data.tags, **(found[0].tags if found else {})},
    )


def _parts(rows: Sequence[Any], most: int) -> Iterator[list[Any]]:
    waiting = iter(rows)
    while part := list(islice(waiting, most)):
        yield part
