"""Training runs as the MLflow server's REST interface tells them; its library is not needed.

Knows one server; nothing of models on disk but which run made the champion.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx

from contracts import TrackingUnavailable, UnknownRun, experiment_name
from schemas import CurveOut, RunHistoryOut, RunOut, RunsOut

# A page waits for it, and so does one of the threads that forecasts need.
TIMEOUT = httpx.Timeout(3.0, connect=1.0)
AT_ONCE = 4  # threads that may wait for it together; the next caller is told at once
BEST_BY = "rmse_ratio"
MOST_CURVES = 12
MOST_EPOCHS = 2000


class TrackingServer:
    """One MLflow server.

    Every call raises TrackingUnavailable where it does not answer in time, or not as it should.

    Args:
        api_url: where this process finds it.
        ui_url: where a browser finds it.
        transport: what carries the requests; the network by default.
    """

    def __init__(
        self, api_url: str, ui_url: str, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._ui = ui_url.rstrip("/")
        # given a transport, httpx ignores proxies, which are meant for the internet
        wire = transport or httpx.HTTPTransport()
        self._http = httpx.Client(base_url=api_url.rstrip("/"), transport=wire, timeout=TIMEOUT)
        self._places = threading.BoundedSemaphore(AT_ONCE)

    def close(self) -> None:
        """Release the connections."""
        self._http.close()

    def check(self) -> str:
        """A sentence, if it answers."""
        with self._reached():
            self._http.get("/health").raise_for_status()
        return "answers"

    def runs(self, ticker: str, recipe: str | None, before: int | None, limit: int) -> RunsOut:
        """Runs of a ticker, the newest first; none where it has no experiment.

        Args:
            ticker: whose runs.
            recipe: only runs of this one.
            before: only runs that started before, in milliseconds since 1970.
            limit: how many at most.
        """
        with self._reached():
            experiment = self._experiment(ticker)
            if experiment is None:
                return RunsOut(ticker=ticker, runs=[], next_before=None, best_by=BEST_BY, url=None)
            wanted = [f"params.recipe = '{recipe}'"] if recipe else []
            wanted += [f"attributes.start_time < {before}"] if before else []
            order = "attributes.start_time DESC"
            found = self._search(experiment, " and ".join(wanted), order, limit + 1)
            ended = "attributes.status = 'FINISHED'"
            best = self._search(experiment, ended, f"metrics.{BEST_BY} ASC", 1)
        names = {_run_id(run) for run in best if BEST_BY in _metrics(run)}
        shown = [self._run(run, names) for run in found[:limit]]
        more = int(found[limit - 1]["info"]["start_time"]) if len(found) > limit else None
        url = f"{self._ui}/#/experiments/{experiment}"
        return RunsOut(ticker=ticker, runs=shown, next_before=more, best_by=BEST_BY, url=url)

    def history(self, ticker: str, run_id: str) -> RunHistoryOut:
        """Every metric of a run that was logged at more than one epoch.

        Raises:
            UnknownRun: the ticker has no such run.
        """
        with self._reached():
            answer = self._get("runs/get", run_id=run_id)
            run = None if answer is None else answer["run"]
            experiment = self._experiment(ticker)
            if run is None or str(run["info"]["experiment_id"]) != experiment:
                raise UnknownRun(ticker, run_id)
            rows = run["data"].get("metrics", [])
            names = sorted(row["key"] for row in rows if int(row.get("step", 0)) > 0)[:MOST_CURVES]
            curves = {name: self._curve(run_id, name) for name in names}
        return RunHistoryOut(ticker=ticker, run_id=run_id, curves=curves)

    def _experiment(self, ticker: str) -> str | None:
        found = self._get("experiments/get-by-name", experiment_name=experiment_name(ticker))
        return None if found is None else str(found["experiment"]["experiment_id"])

    def _search(self, experiment: str, wanted: str, order: str, limit: int) -> list[dict[str, Any]]:
        asked = {
            "experiment_ids": [experiment],
            "filter": wanted,
            "order_by": [order],
            "max_results": limit,
        }
        answer = self._http.post("/api/2.0/mlflow/runs/search", json=asked)
        answer.raise_for_status()
        runs: list[dict[str, Any]] = answer.json().get("runs", [])
        return runs

    def _curve(self, run_id: str, name: str) -> CurveOut:
        asked = {"run_id": run_id, "metric_key": name, "max_results": str(MOST_EPOCHS)}
        found = self._get("metrics/get-history", **asked) or {}
        rows = {int(row.get("step", 0)): float(row["value"]) for row in found.get("metrics", [])}
        epochs = sorted(rows)
        return CurveOut(epochs=epochs, values=[rows[epoch] for epoch in epochs])

    def _get(self, path: str, **asked: str) -> dict[str, Any] | None:
        """The answer; None where the server knows no such thing."""
        answer = self._http.get(f"/api/2.0/mlflow/{path}", params=asked)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def _run(self, run: Mapping[str, Any], best: set[str]) -> RunOut:
        info, data = run["info"], run["data"]
        tags = {row["key"]: row["value"] for row in data.get("tags", [])}
        parameters = {row["key"]: row["value"] for row in data.get("params", [])}
        began, ended = int(info["start_time"]), info.get("end_time")
        run_id = _run_id(run)
        return RunOut(
            run_id=run_id,
            name=str(info.get("run_name") or tags.get("mlflow.runName") or run_id[:8]),
            status=str(info["status"]),
            recipe=parameters.get("recipe"),
            started_at=datetime.fromtimestamp(began / 1000, UTC),
            seconds=(int(ended) - began) / 1000 if ended else None,
            parent=tags.get("mlflow.parentRunId"),
            version=tags.get("model_version"),
            champion=False,
            best=run_id in best,
            parameters=parameters,
            metrics=_metrics(run),
            url=f"{self._ui}/#/experiments/{info['experiment_id']}/runs/{run_id}",
        )

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Say plainly that the server is away, whichever way it is."""
        if not self._places.acquire(blocking=False):
            raise TrackingUnavailable(f"{AT_ONCE} callers are waiting for the tracking server")
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
            raise TrackingUnavailable(f"the tracking server does not answer: {error!r}") from error
        finally:
            self._places.release()


def _run_id(run: Mapping[str, Any]) -> str:
    return str(run["info"]["run_id"])


def _metrics(run: Mapping[str, Any]) -> dict[str, float]:
    """The last value of each metric that is a number; the server writes NaN as a text."""
    rows = {row["key"]: float(row["value"]) for row in run["data"].get("metrics", [])}
    return {name: value for name, value in sorted(rows.items()) if math.isfinite(value)}
