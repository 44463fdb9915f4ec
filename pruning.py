"""What MLflow and the models folder may forget of a ticker: old runs, and bundles nobody names.

Knows which versions are or were champion; `tracking.retention` decides by that. Knows no training.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from config import Settings
from model_store import ModelStore
from registry import Registry
from tracking.retention import Policy, RunFact

YOUNG = timedelta(days=1)  # a bundle that a training has written and not yet registered


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What may go of one ticker."""

    ticker: str
    runs: tuple[RunFact, ...]  # the oldest first
    bundles: tuple[Path, ...]
    size: int  # bytes of the bundles

    def __str__(self) -> str:
        megabytes = f"{self.size / 1e6:.1f} MB"
        return f"{self.ticker}: {len(self.runs)} runs, {len(self.bundles)} bundles ({megabytes})"


class Pruning:
    """Plans, and what carries them out; both under the lock that a training publishes under."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self.store = ModelStore(settings.models_dir)
        self.registry = registry

    def plan(self, ticker: str, policy: Policy, now: datetime | None = None) -> Plan:
        """What may go of a ticker; touches nothing.

        Champions, the versions they came after and the alias's stay whatever their age, and so
        does what is running. A bundle stays while a run that stays names it.

        Raises:
            BadBundle: the pointer is unreadable, so that nobody can tell.
            TrackingUnavailable: MLflow does not answer.
        """
        reigns = self.store.reigns(ticker)
        runs = self.registry.prunable(ticker, [reign.version for reign in reigns], policy)
        going = {run.run_id for run in runs}
        versions = self.registry.versions(ticker)
        named = {reign.bundle for reign in reigns}
        named |= {one.tags.get("model_bundle", "") for one in versions if one.run_id not in going}
        before = (now or datetime.now(UTC)) - YOUNG
        bundles = tuple(
            folder
            for folder in self.store.bundles(ticker)
            if folder.name not in named and _written(folder) < before
        )
        size = sum(file.stat().st_size for bundle in bundles for file in bundle.iterdir())
        return Plan(ticker=ticker, runs=runs, bundles=bundles, size=size)

    def carry_out(self, ticker: str, policy: Policy) -> Plan:
        """Plan and delete; what is deleted in MLflow can be restored until `mlflow gc`.

        Raises:
            BadBundle, TrackingUnavailable: as `plan`; what was deleted before stays deleted.
        """
        with self.store.lock(ticker):
            plan = self.plan(ticker, policy)
            self.registry.delete_runs(ticker, plan.runs)
            for bundle in plan.bundles:
                self.store.discard(bundle)
        return plan


def _written(folder: Path) -> datetime:
    return datetime.fromtimestamp(folder.stat().st_mtime, UTC)
