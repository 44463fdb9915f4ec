"""A run per settlement: what served forecasts turned out to be worth, beside what backtests said.

Takes a client that `registry` has opened.
"""

from __future__ import annotations

import time
from typing import Any

from contracts import Performance

KIND = "settlement"
NEWEST = 1000  # settlements looked at: those of the versions that still answer are among them


def record(client: Any, experiment: str, performance: Performance) -> tuple[str, ...]:
    """Log the live figures of each version whose settled steps are not logged as they stand.

    Args:
        client: MLflow's.
        experiment: its id.
        performance: of one ticker.

    Returns:
        The versions that were logged.
    """
    versions = {row.version: 0 for row in performance.rows if not row.synthetic}
    for row in performance.rows:
        if row.step is None and row.version in versions:
            versions[row.version] += row.n
    known = _known(client, experiment)
    marks = {v: f"{v}: {n} settled, {performance.revised} revised" for v, n in versions.items()}
    _close_left_open(client, experiment)
    new = tuple(version for version, mark in marks.items() if known.get(version) != mark)
    for version in new:
        _log(client, experiment, performance, version, marks[version])
    return new


def _close_left_open(client: Any, experiment: str) -> None:
    """Mark what a killed loop left running as killed; its figures are logged anew."""
    left = client.search_runs([experiment], f"tags.kind = '{KIND}' and status = 'RUNNING'")
    for run in left:
        client.set_terminated(run.info.run_id, "KILLED")


def _known(client: Any, experiment: str) -> dict[str, str]:
    """The newest mark of each version."""
    found: dict[str, str] = {}
    runs = client.search_runs(
        [experiment],
        f"tags.kind = '{KIND}' and status = 'FINISHED'",
        order_by=["attributes.start_time DESC"],
        max_results=NEWEST,
    )
    for run in runs:
        found.setdefault(run.data.tags["model_version"], run.data.tags["mark"])
    return found


def _log(client: Any, experiment: str, performance: Performance, version: str, mark: str) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    run = client.create_run(
        experiment,
        start_time=now,
        run_name=f"{performance.ticker}_live_{version}_{performance.through}",
        tags={
            "kind": KIND,
            "ticker": performance.ticker,
            "model_version": version,
            "through": str(performance.through),
            "mark": mark,
        },
    )
    values = performance.as_metrics(version)
    rows = [Metric(name, value, now, 0) for name, value in values.items()]
    client.log_batch(run.info.run_id, metrics=rows)
    client.set_terminated(run.info.run_id, "FINISHED")
