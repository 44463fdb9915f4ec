"""Registered versions of one model and the alias on one of them, as plain values.

Takes a client that `registry` has opened; knows no ticker, no bundle and no address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    runs = _runs_of(client, found)
    return tuple(_version(row, runs.get(row.run_id)) for row in sorted(found, key=_number))


def version_of(client: Any, model: str, version: str) -> Version | None:
    """One version; None where the model has none of that number."""
    row = _or_none(lambda: client.get_model_version(model, version))
    return None if row is None else _version(row, _run_of(client, row))


def aliased(client: Any, model: str, alias: str) -> str | None:
    """The number of the version an alias names; None where no version has it."""
    found = _or_none(lambda: client.get_registered_model(model))
    return None if found is None else _text(found.aliases.get(alias))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _number(row: Any) -> int:
    return int(row.version)


def _run_of(client: Any, row: Any) -> Any:
    return _or_none(lambda: client.get_run(row.run_id)) if row.run_id else None


def _runs_of(client: Any, rows: Sequence[Any]) -> dict[str, Any]:
    """The runs that became some versions, by id: in one question where one experiment has them."""
    ids = [row.run_id for row in rows if row.run_id]
    newest = _run_of(client, rows[0]) if rows else None
    if newest is None:
        return {row.run_id: _run_of(client, row) for row in rows}
    chosen = f"attributes.run_id IN ({', '.join(map(repr, ids))})"
    together = client.search_runs([newest.info.experiment_id], chosen, max_results=len(ids))
    found = {run.info.run_id: run for run in together}
    return {row.run_id: found.get(row.run_id) or _run_of(client, row) for row in rows}


def _version(row: Any, run: Any) -> Version:
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
