"""Training runs for a page: from a real MLflow server, and what is said while it is away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime

import httpx
import pytest
from fake_desk import FakeDesk
from fake_pages import FakePages
from invented_forecasts import RUN_ID
from starlette.testclient import TestClient

from app import create_app
from config import Settings
from contracts import TrackingUnavailable, UnknownRun, UnknownTicker
from exhibits import Pages
from exhibits.runs import AT_ONCE, TrackingServer


@pytest.fixture(scope="module")
def real(trained_project, mlflow_ui) -> Iterator[Pages]:
    """Pages beside a real tracking server with one training of AAPL."""
    settings = Settings(
        tickers=("AAPL", "MSFT"),
        as_of=date(2025, 12, 31),
        data_dir=trained_project.folder / "data",
        models_dir=trained_project.folder / "models",
        mlflow_api_url=mlflow_ui,
        mlflow_url="http://browser:5000/",
    )
    pages = Pages(settings)
    yield pages
    pages.close()


def server(answer) -> TrackingServer:
    """A tracking server on a pretend wire."""
    return TrackingServer("http://t", "http://ui", httpx.MockTransport(answer))


def test_a_training_is_listed_with_what_it_was_and_became(real, trained_project):
    page = real.runs("aapl", None, None, 50)
    run = page.runs[-1]  # the first one: other tests may have trained since
    assert (run.name, run.status, run.recipe) == ("AAPL_training", "FINISHED", "mlops_64_64_32")
    assert run.parameters["epochs"] == "2"
    assert run.metrics["rmse_ratio"] > 1.2
    assert 1 < run.seconds < 600
    assert abs((datetime.now(UTC) - run.started_at).total_seconds()) < 7200
    assert run.url == f"{page.url}/runs/{run.run_id}"
    assert page.url.startswith("http://browser:5000/#/experiments/")


def test_the_champions_run_and_the_best_one_are_marked(real):
    runs = real.runs("AAPL", None, None, 50).runs
    made = real.scores("AAPL").version
    assert [run.version for run in runs if run.champion] == [made]
    finished = [run for run in runs if run.status == "FINISHED"]
    lowest = min(run.metrics["rmse_ratio"] for run in finished)
    assert [run.metrics["rmse_ratio"] for run in runs if run.best] == [lowest]


def test_runs_are_filtered_by_recipe(real):
    known = real.runs("AAPL", "mlops_64_64_32", None, 50).runs
    assert known and {run.recipe for run in known} == {"mlops_64_64_32"}
    assert real.runs("AAPL", "none_such", None, 50).runs == []


def test_the_next_page_begins_where_the_last_one_ended(real):
    whole = real.runs("AAPL", None, None, 50).runs
    before = int(whole[-1].started_at.timestamp() * 1000)
    assert real.runs("AAPL", None, before, 50).runs == []
    assert real.runs("AAPL", None, before + 1, 50).runs[0].run_id == whole[-1].run_id


def test_training_curves_have_a_value_per_epoch(real):
    run_id = real.runs("AAPL", None, None, 50).runs[-1].run_id
    curves = real.run_history("AAPL", run_id).curves
    assert set(curves) >= {"train_loss", "val_loss"}
    assert curves["val_loss"].epochs == [0, 1]
    assert all(value > 0 for value in curves["val_loss"].values)


@pytest.mark.parametrize("ticker", ["AAPL", "MSFT"])
def test_a_run_of_nobody_is_unknown(real, ticker):
    with pytest.raises(UnknownRun):
        real.run_history(ticker, "0" * 32)


def test_a_run_of_another_ticker_is_unknown_here(real):
    run_id = real.runs("AAPL", None, None, 1).runs[0].run_id
    with pytest.raises(UnknownRun):
        real.run_history("MSFT", run_id)


def test_a_ticker_that_was_never_trained_has_no_runs(real):
    assert real.runs("MSFT", None, None, 50).runs == []
    with pytest.raises(UnknownTicker):
        real.runs("ZZZZ", None, None, 50)


def test_the_tracking_server_is_up(real):
    assert real.info("n", "1", "d", limit=100, offset=0).services["mlflow"].status == "up"


# Away, slow, or something else


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused")


def hang(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("slow")


@pytest.mark.parametrize(
    "answer",
    [
        refuse,
        hang,
        lambda _: httpx.Response(503),
        lambda _: httpx.Response(403, text="Invalid Host header"),
        lambda _: httpx.Response(200, text="<html>a proxy's page</html>"),
        lambda _: httpx.Response(200, json={"experiment": {}}),
        lambda _: httpx.Response(200, json=[]),
    ],
)
def test_whatever_it_answers_instead_is_said_plainly(answer):
    with pytest.raises(TrackingUnavailable):
        server(answer).runs("AAPL", None, None, 5)


def test_a_page_has_as_many_runs_as_asked_for_and_says_where_it_goes_on():
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"experiment": {"experiment_id": "7"}})
        runs = [
            {
                "info": {
                    "run_id": f"{n:032x}",
                    "status": "RUNNING",
                    "start_time": 9000 - n,
                    "experiment_id": "7",
                },
                "data": {"metrics": [{"key": "x", "value": "NaN", "step": "3"}]},
            }
            for n in range(3)
        ]
        return httpx.Response(200, json={"runs": runs})

    page = server(answer).runs("AAPL", None, None, 2)
    assert [run.run_id[-1] for run in page.runs] == ["0", "1"]
    assert page.next_before == 8999
    assert (page.runs[0].metrics, page.runs[0].seconds, page.runs[0].best) == ({}, None, False)


def test_a_slow_server_holds_a_few_callers_only():
    held, waiting = threading.Event(), threading.Semaphore(0)

    def answer(request: httpx.Request) -> httpx.Response:
        waiting.release()
        held.wait(20)
        return httpx.Response(404)

    slow = server(answer)
    callers = [
        threading.Thread(target=slow.runs, args=("A", None, None, 1)) for _ in range(AT_ONCE)
    ]
    for caller in callers:
        caller.start()
    for _ in callers:
        assert waiting.acquire(timeout=20)
    with pytest.raises(TrackingUnavailable, match="waiting"):
        slow.runs("A", None, None, 1)
    held.set()
    for caller in callers:
        caller.join()
    assert slow.runs("A", None, None, 1).runs == []  # and it answers again


# Routes


@pytest.fixture
def client(settings) -> Iterator[TestClient]:
    """The service on fake pages."""
    with TestClient(
        create_app(lambda _: FakeDesk(), lambda _: FakePages()), "http://test"
    ) as running:
        yield running


def test_runs_reach_the_page(client):
    answer = client.get("/runs/AAPL?recipe=panel").json()
    assert [(run["status"], run["champion"]) for run in answer["runs"]] == [("FAILED", False)]
    curves = client.get(f"/runs/AAPL/{RUN_ID}/history").json()["curves"]
    assert curves["val_loss"] == {"epochs": [0, 1, 2], "values": [0.031, 0.027, 0.026]}


def test_a_tracking_server_that_is_away_is_503_with_a_time_to_come_back(settings):
    away = FakePages(tracked=False)
    with TestClient(create_app(lambda _: FakeDesk(), lambda _: away), "http://test") as client:
        answer = client.get("/runs/AAPL")
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/tracking_unavailable")
    assert "retry-after" in answer.headers
    assert "hunter2" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/runs/AAPL?recipe=a'%20or%201",
        "/runs/AAPL?limit=0",
        "/runs/AAPL?before=0",
        "/runs/AAPL/zz/history",
        "/runs/AAPL/..%2F..%2Fx/history",
    ],
)
def test_what_could_reach_the_query_of_another_service_is_refused(client, path):
    assert client.get(path).status_code in (404, 422)
