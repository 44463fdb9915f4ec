"""Bodies about training runs, as the tracking server tells them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from schemas.common import Out, Score

MAX_RUNS = 200
RECIPE_PATTERN = r"^[A-Za-z0-9_\-]{1,64}$"
RUN_ID_PATTERN = r"^[0-9a-f]{32}$"

_RUN: JsonDict = {
    "run_id": "9c1185a5c5e9fc54612808977ee8f548",
    "name": "AAPL_training",
    "status": "FINISHED",
    "recipe": "panel",
    "started_at": "2026-01-17T22:50:11Z",
    "seconds": 163.2,
    "parent": None,
    "version": "3",
    "champion": True,
    "best": True,
    "parameters": {"recipe": "panel", "epochs": "6"},
    "metrics": {"rmse_ratio": 1.002, "crps_ratio": 0.97},
    "url": "http://127.0.0.1:5000/#/experiments/1/runs/9c1185a5c5e9fc54612808977ee8f548",
}


class RunOut(Out):
    """One run of a ticker's experiment."""

    model_config = ConfigDict(json_schema_extra={"example": _RUN})

    run_id: str
    name: str
    status: str = Field(description="FINISHED, RUNNING, FAILED or KILLED, as MLflow says")
    recipe: str | None = Field(description="Null for a run that names none, such as a search")
    started_at: datetime = Field(description="UTC")
    seconds: float | None = Field(description="How long it took; null while it runs")
    parent: str | None = Field(description="The run it belongs below, such as a search")
    version: str | None = Field(description="The registered version it became")
    champion: bool = Field(description="It made the model that is served now")
    best: bool = Field(description="The finished run with the lowest `rmse_ratio` of all")
    parameters: Mapping[str, str]
    metrics: Mapping[str, Score] = Field(description="The last value of each, by name")
    url: str = Field(description="Its page in the MLflow UI, for a browser")


class RunsOut(Out):
    """Runs of one ticker, the newest first, a page at a time."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "ticker": "AAPL",
                "runs": [_RUN],
                "next_before": None,
                "best_by": "rmse_ratio",
                "url": "http://127.0.0.1:5000/#/experiments/1",
            }
        }
    )

    ticker: str
    runs: list[RunOut]
    next_before: int | None = Field(
        description="Give it as `before` for the next runs: milliseconds since 1970; null: no more"
    )
    best_by: str = Field(description="Metric, lower is better, that names the best run")
    url: str | None = Field(description="The experiment in the MLflow UI; null: no run yet")


class CurveOut(Out):
    """One metric over the epochs of a run."""

    epochs: list[int] = Field(description="From 0 on, ascending")
    values: list[Score] = Field(description="One per epoch; null where it was no number")


class RunHistoryOut(Out):
    """Training curves of one run."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "ticker": "AAPL",
                "run_id": "9c1185a5c5e9fc54612808977ee8f548",
                "curves": {"val_loss": {"epochs": [0, 1], "values": [0.031, 0.027]}},
            }
        }
    )

    ticker: str
    run_id: str
    curves: dict[str, CurveOut] = Field(description="By metric, such as `train_loss`, `val_loss`")
