"""Registered versions of one model and the alias on one of them, as plain values.

Takes a client that `registry` has opened; knows no ticker, no bundle and no address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One registered version with what its run said of it."""

    version: str
    run_id: str
    source: str  # where its bundle's files are
    created_at: datetime  # UTC
    tags: Mapping[str, str]  # its own over its run's
    metrics: Mapping[str, float]

    @property
    def as_published(self) -> bool:
        """Whether its run was fitted with a published system's leaking scale."""
        return self.tags.get("as_published") == "true"


def versions_of(client: Any, model: str) -> tuple[Version, ...]:
    """Every version of a registered model, the oldest first; none where there is no such model."""
    found = client.search_model_versions(f"name = '{model}'", max_results=1000)
    return tuple(_version(client, row) for row in sorted(found, key=lambda row: int(row.version)))


def version_of(client: Any, model: str, version: str) -> Version | None:
    """One version; None where the model has none of that number."""
    row = _or_none(lambda: client.get_model_version(model, version))
    return None if row is None else _version(client, row)


def aliased(client: Any, model: str, alias: str) -> str | None:
    """The number of the version an alias names; None where no version has it."""
    found = _or_none(lambda: client.get_registered_model(model))
    return None if found is None else _text(found.aliases.get(alias))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _version(client: Any, row: Any) -> Version:
    run = _or_none(lambda: client.get_run(row.run_id)) if row.run_id else None
    return Version(
        version=str(row.version),
        run_id=str(row.run_id or ""),
        source=str(row.source),
        created_at=datetime.fromtimestamp(row.creation_timestamp / 1000, UTC),
        tags={**(run.data.tags if run else {}), **row.tags},
        metrics=dict(run.data.metrics) if run else {},
    )


def _or_none(ask: Any) -> Any:
    """What the client answers; None where it says that there is no such thing."""
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
