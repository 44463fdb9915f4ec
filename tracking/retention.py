"""Which runs of an experiment have had their time, and which must stay whatever their age.

Decides from plain values; `runs_of` and `delete` take a client that `registry` has opened. A
deleted run is marked in MLflow and can be restored there until `mlflow gc` removes it for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tracking.settlements import KIND

PARENT = "mlflow.parentRunId"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFact:
    """One run, as far as its staying is concerned."""

    run_id: str
    name: str
    started_at: datetime  # UTC
    running: bool
    parent: str | None  # the search it is below
    settlement: str | None  # the version whose live figures it has


@dataclass(frozen=True, slots=True)
class Policy:
    """How much stays: the newest `keep` of each kind, and everything begun since `before`."""

    keep: int
    before: datetime | None = None  # UTC; None: age does not matter


def spent(runs: Sequence[RunFact], protected: set[str], policy: Policy) -> tuple[RunFact, ...]:
    """What may be deleted, the oldest first.

    A search goes with the trials below it, and stays with any of them. What is running, what is
    below something that runs, and the newest settlement of each version stay.

    Args:
        runs: all of one experiment.
        protected: ids of runs that made a champion, now or earlier.
        policy: how much stays.
    """
    families: dict[str, list[RunFact]] = {}
    for run in sorted(runs, key=lambda run: run.started_at, reverse=True):
        families.setdefault(run.parent or run.run_id, []).append(run)
    stay = protected | {run.run_id for run in runs if run.running} | _last_settled(runs)
    settled: list[list[RunFact]] = []
    others: list[list[RunFact]] = []
    for family in families.values():
        (settled if family[0].settlement else others).append(family)
    gone = [
        run
        for kind in (settled, others)
        for family in sorted(kind, key=_began, reverse=True)[policy.keep :]
        if not stay & {run.run_id for run in family} and _old(family, policy)
        for run in family
    ]
    return tuple(sorted(gone, key=lambda run: run.started_at))


def _began(family: Sequence[RunFact]) -> datetime:
    return max(run.started_at for run in family)


def _old(family: Sequence[RunFact], policy: Policy) -> bool:
    return policy.before is None or _began(family) < policy.before


def _last_settled(runs: Iterable[RunFact]) -> set[str]:
    """By it a loop knows that there is no news of a version."""
    newest: dict[str, RunFact] = {}
    for run in runs:
        if run.settlement is not None:
            known = newest.setdefault(run.settlement, run)
            newest[run.settlement] = max(known, run, key=lambda one: one.started_at)
    return {run.run_id for run in newest.values()}


def fact(run: Any) -> RunFact:
    """What matters of an MLflow run."""
    tags = run.data.tags
    return RunFact(
        run_id=run.info.run_id,
        name=run.info.run_name,
        started_at=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
        running=run.info.status in ("RUNNING", "SCHEDULED"),
        parent=tags.get(PARENT),
        settlement=tags.get("model_version") if tags.get("kind") == KIND else None,
    )


def delete(client: Any, model: str, runs: Iterable[RunFact]) -> None:
    """Delete the registered versions that some runs became, then the runs, the oldest first.

    A process killed in between leaves runs without their version, which the next call deletes.
    """
    found = client.search_model_versions(f"name = '{model}'", max_results=1000)
    versions = {row.run_id: row.version for row in found}
    for run in runs:
        if run.run_id in versions:
            client.delete_model_version(model, versions[run.run_id])
        client.delete_run(run.run_id)
