"""A project for the loop: real AAPL prices and a registered champion said to be a month old."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from project import Project

from config import Settings
from contracts import DriftVerdict
from data_pipeline import import_file
from forecast_log import ForecastLog
from model_store import CARD, MANIFEST, ModelStore, card_json
from registry import Registry

TRAINED_THROUGH = date(2025, 11, 28)


def placed(folder: Path, **changes: object) -> Settings:
    plain = {
        "data_dir": folder / "data",
        "models_dir": folder / "models",
        "reports_dir": folder / "reports",
        "database_url": f"sqlite:///{folder}/forecasts.db",
        "mlflow_tracking_uri": f"sqlite:///{folder}/mlflow.db",
        "tickers": ("AAPL",),
        "allow_synthetic": False,
        "watch_lease_seconds": 2,
    }
    return Settings(**(plain | changes))


def with_champion(folder: Path, panel_project: Project, real_data: Path) -> Settings:
    """The panel project's network as version 1, registered and published anew.

    Its card claims an earlier last session, so that it may be run on the December after it.
    """
    settings = placed(folder)
    import_file("AAPL", real_data / "yahoo" / "AAPL.csv", settings)
    old = ModelStore(panel_project.folder / "models").champion("AAPL")
    store, registry = ModelStore(settings.models_dir), Registry(settings.mlflow_tracking_uri)
    with registry.run("AAPL", {}) as run:
        files = {item.name: item for item in old.path.iterdir() if item.name != MANIFEST}
        made = replace(old.card, trained_through=TRAINED_THROUGH, run_id=run.run_id)
        bundle = store.write("AAPL", datetime.now(UTC), {**files, CARD: card_json(made)})
        run.log_bundle(bundle)
    version = registry.register(run.run_id, "AAPL", {"model_bundle": bundle.name})
    registry.publish(store, "AAPL", bundle, version)
    return settings


def on(settings: Settings, day: str, **changes: object) -> Settings:
    """The same on the evening of a day."""
    return settings.model_copy(update={"as_of": date.fromisoformat(day), **changes})


def calm(ticker: str, settings: Settings, requests: ForecastLog, **changes: object) -> DriftVerdict:
    """A drift check that finds nothing, at no cost, recorded as the real one records."""
    plain = DriftVerdict(
        ticker=ticker,
        checked_at=datetime.now(UTC),
        as_of=settings.as_of,
        alarm=False,
        summary="No drift.",
        features=(),
        reference_rows=1000,
        current_rows=60,
        rmse_ratio_reference=1.0,
        rmse_ratio_current=1.0,
        model_version="1",
        data_source="file",
        reports=(),
    )
    verdict = replace(plain, **changes)
    requests.record_verdict(verdict)
    return verdict
