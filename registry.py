"""The only door to MLflow: runs, metrics, registered versions, the `champion` alias.

Publishes the champion into the model store. Knows no HTTP route and no training loop.
`python registry.py promote|rollback|history AAPL` and `sync` are in `registry_commands`.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock

from contracts import ForecastingError, Performance, TrackingUnavailable, experiment_name
from model_store import ModelStore, Published
from tracking.retention import Policy, RunFact, delete, fact, spent
from tracking.runs import BUNDLE, TrainingRun
from tracking.settlements import record
from tracking.trainings import Begun, begin, runs_of_job
from tracking.versions import Version, aliased, version_of, versions_of

log = logging.getLogger(__name__)

__all__ = ["CHAMPION", "Registry", "TrainingRun", "experiment_name", "model_name"]

CHAMPION = "champion"


def model_name(ticker: str) -> str:
    """One registered model per ticker."""
    return f"stock-lstm-{ticker}"


class Registry:
    """Runs and registered versions on one tracking server or database.

    Raises:
        TrackingUnavailable: it does not answer.
    """

    def __init__(self, tracking_uri: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        import mlflow

        self._uri = tracking_uri
        mlflow.set_tracking_uri(tracking_uri)
        with self._reached(), _alone_while_creating(tracking_uri):
            self._client = mlflow.MlflowClient(tracking_uri)
            self._client.search_experiments(max_results=1)

    @contextmanager
    def run(self, ticker: str, parameters: Mapping[str, object]) -> Iterator[TrainingRun]:
        """An open run `<ticker>_training` in the ticker's experiment; failed if the body raises.

        Below the search that is open in this thread, if one is.
        """
        with self._open(ticker, f"{ticker}_training", {}, parameters) as run:
            yield run

    @contextmanager
    def training(self, ticker: str, began: float, tags: Mapping[str, str]) -> Iterator[TrainingRun]:
        """The run `<ticker>_training` of one that began in the past; failed if the body raises.

        Below the search that is open in this thread, if one is.

        Args:
            ticker: whose.
            began: seconds since 1970.
            tags: that it carries from the first moment on.
        """
        with self._reached():
            run_id = begin(self._client, self._experiment(ticker), ticker, began, tags)
        try:
            with self._reached():
                yield TrainingRun(self._client, run_id)
                self._client.set_terminated(run_id, "FINISHED")
        except BaseException:
            with suppress(ForecastingError):  # what ended the body is the thing to say
                self.end(run_id, "FAILED")
            raise

    def end(self, run_id: str, status: str) -> None:
        """Mark a run as FINISHED, FAILED or KILLED."""
        with self._reached():
            self._client.set_terminated(run_id, status)

    def begun(self, tickers: Iterable[str], job: str) -> tuple[Begun, ...]:
        """The runs of a job in the experiments of some tickers, the oldest first."""
        with self._reached():
            names = {experiment_name(ticker) for ticker in tickers}
            found = self._client.search_experiments(max_results=50_000)
            wanted = [str(one.experiment_id) for one in found if one.name in names]
            return tuple(runs_of_job(self._client, wanted, job))

    @contextmanager
    def search(
        self, ticker: str, search_id: str, parameters: Mapping[str, object]
    ) -> Iterator[TrainingRun]:
        """The open run `<ticker>_search` that trials go below; one begun before goes on.

        Args:
            ticker: what is searched for.
            search_id: the same for the same search, and for no other.
            parameters: the same ones each time.
        """
        with self._reached():
            found = self._runs(ticker, f"tags.search = '{search_id}'")
        known = found[0].info.run_id if found else None
        tags = {"search": search_id}
        with self._open(ticker, f"{ticker}_search", tags, parameters, known) as run:
            yield run

    @contextmanager
    def trial(
        self, ticker: str, number: int, parameters: Mapping[str, object]
    ) -> Iterator[TrainingRun]:
        """An open run `<ticker>_trial_<n>` below the open search; failed if the body raises."""
        tags = {"trial": str(number)}
        with self._open(ticker, f"{ticker}_trial_{number}", tags, parameters) as run:
            yield run

    def finished_trials(self, ticker: str, search: TrainingRun) -> set[int]:
        """Numbers of the trials below a search whose runs ended well."""
        with self._reached():
            ended = self._runs(ticker, f"{_below(search.run_id)} and status = 'FINISHED'")
        return {int(run.data.tags["trial"]) for run in ended if "trial" in run.data.tags}

    def close_left_open(self, ticker: str, search_id: str) -> None:
        """Mark what a killed process left running as killed: a search and every run below it."""
        with self._reached():
            for search in self._runs(ticker, f"tags.search = '{search_id}'"):
                below = self._runs(ticker, f"{_below(search.info.run_id)} and status = 'RUNNING'")
                for run in (*below, search):
                    if run.info.status == "RUNNING":
                        log.warning("run_left_open run_id=%s marked=KILLED", run.info.run_id)
                        self._client.set_terminated(run.info.run_id, "KILLED")

    def _runs(self, ticker: str, condition: str) -> list[Any]:
        """Runs of the ticker's experiment, the oldest first."""
        found: list[Any] = []
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment(ticker)],
                condition,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            found += page
            if not (token := page.token):
                return found

    @contextmanager
    def _open(
        self,
        ticker: str,
        name: str,
        tags: Mapping[str, str],
        parameters: Mapping[str, object],
        known: str | None = None,
    ) -> Iterator[TrainingRun]:
        """A run that is open while the body runs; one of an earlier process if `known` names it."""
        import mlflow

        with self._reached():
            active = mlflow.start_run(
                run_id=known,
                experiment_id=self._experiment(ticker),
                run_name=name,
                nested=True,
                tags={"ticker": ticker, **tags},
            )
        with self._reached(), active:  # ending the run may fail as well
            mlflow.log_params({name: str(value) for name, value in parameters.items()})
            yield TrainingRun(self._client, active.info.run_id)

    def register(self, run_id: str, ticker: str, tags: Mapping[str, str]) -> str:
        """A new version of the ticker's registered model, carrying the run's bundle."""
        with self._reached():
            self._ensure_model(ticker)
            run = self._client.get_run(run_id)
            version = self._client.create_model_version(
                model_name(ticker),
                source=f"{run.info.artifact_uri}/{BUNDLE}",
                run_id=run_id,
                tags=dict(tags),
            )
            self._client.set_tag(run_id, "model_version", str(version.version))
        return str(version.version)

    def tag_version(self, ticker: str, version: str, tags: Mapping[str, str]) -> None:
        """Label a registered version, such as with the gate's ruling."""
        with self._reached():
            for name, value in tags.items():
                self._client.set_model_version_tag(model_name(ticker), version, name, value)

    def publish(self, store: ModelStore, ticker: str, folder: Path, version: str) -> Published:
        """Move the `champion` alias, then the model store's pointer, to one version."""
        self.name_champion(ticker, version)
        return store.publish(ticker, folder, version)

    def name_champion(self, ticker: str, version: str) -> None:
        """Move the `champion` alias alone."""
        with self._reached():
            self._client.set_registered_model_alias(model_name(ticker), CHAMPION, version)

    def named_champion(self, ticker: str) -> str | None:
        """The number of the version that the `champion` alias names; None where none has it."""
        with self._reached():
            return aliased(self._client, model_name(ticker), CHAMPION)

    def versions(self, ticker: str) -> tuple[Version, ...]:
        """Every registered version of a ticker, the oldest first."""
        with self._reached():
            return versions_of(self._client, model_name(ticker))

    def version(self, ticker: str, version: str) -> Version | None:
        """One registered version; None where there is none of that number."""
        with self._reached():
            return version_of(self._client, model_name(ticker), version)

    def download(self, version: Version, into: Path) -> Path:
        """The files of a version's bundle, copied below an empty folder; not yet verified."""
        from mlflow.artifacts import download_artifacts

        with self._reached():
            return Path(
                download_artifacts(
                    artifact_uri=version.source, dst_path=str(into), tracking_uri=self._uri
                )
            )

    def prunable(
        self, ticker: str, kept_versions: Iterable[str], policy: Policy
    ) -> tuple[RunFact, ...]:
        """Runs of a ticker that have had their time, the oldest first; deletes nothing.

        Args:
            ticker: whose.
            kept_versions: versions that made a champion; the alias's is added.
            policy: how much stays.
        """
        with self._reached():
            found = self._client.get_experiment_by_name(experiment_name(ticker))
            if found is None:
                return ()
            alias = aliased(self._client, model_name(ticker), CHAMPION)
            numbers = {*kept_versions, *([alias] if alias else [])}
            rows = self._client.search_model_versions(f"name = '{model_name(ticker)}'")
            protected = {str(row.run_id) for row in rows if str(row.version) in numbers}
            return spent([fact(run) for run in self._runs(ticker, "")], protected, policy)

    def delete_runs(self, ticker: str, runs: Iterable[RunFact]) -> None:
        """Delete runs with the versions they became; `mlflow gc` then frees what they hold."""
        with self._reached():
            delete(self._client, model_name(ticker), runs)

    def record_settlement(self, performance: Performance) -> tuple[str, ...]:
        """Log live figures, a run per version with news; the versions that had some."""
        with self._reached():
            return record(self._client, self._experiment(performance.ticker), performance)

    def _experiment(self, ticker: str) -> str:
        from mlflow.exceptions import MlflowException

        name = experiment_name(ticker)
        try:
            return str(self._client.create_experiment(name))
        except MlflowException:  # it exists, or another process was quicker
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)

    def _ensure_model(self, ticker: str) -> None:
        from mlflow.exceptions import MlflowException

        name = model_name(ticker)
        try:
            self._client.create_registered_model(name)
        except MlflowException:  # it exists, or another process was quicker
            self._client.get_registered_model(name)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Say plainly that tracking is away, whatever the library raises for it."""
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except ForecastingError:
            raise
        except (MlflowException, RequestException, SQLAlchemyError) as error:
            log.warning("tracking_failed uri=%s error=%s", _public(self._uri), error)
            raise TrackingUnavailable(
                f"MLflow at {_public(self._uri)} failed: {str(error).splitlines()[0][:200]}; "
                "check MLFLOW_TRACKING_URI and that the server or database is up"
            ) from error


def _below(run_id: str) -> str:
    """The condition that selects the runs nested in one."""
    return f"tags.`mlflow.parentRunId` = '{run_id}'"


def _public(uri: str) -> str:
    """A tracking address without user and password."""
    parts = urlsplit(uri)
    return uri if parts.username is None else uri.replace(parts.netloc.rpartition("@")[0] + "@", "")


@contextmanager
def _alone_while_creating(tracking_uri: str) -> Iterator[None]:
    """Two processes that create the same empty SQLite database collide; one goes first."""
    if not tracking_uri.startswith("sqlite:///"):
        yield
        return
    path = Path(tracking_uri.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        yield


def main(argv: list[str] | None = None) -> int:
    """Say who is champion and change it; see `registry_commands`."""
    from registry_commands import main as command

    return command(argv)


if __name__ == "__main__":
    sys.exit(main())
