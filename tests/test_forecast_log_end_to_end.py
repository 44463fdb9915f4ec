"""From a request over a real port to its realised figures, on real prices."""

from __future__ import annotations

import json
import urllib.request
from datetime import date

import pytest
from project import Project

from config import Settings
from data_pipeline import StockDataPipeline
from forecast_log import ForecastLog

pytestmark = pytest.mark.real_data


def ask(url: str, name: str) -> dict:
    request = urllib.request.Request(url, headers={"X-Request-ID": name})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


@pytest.fixture(scope="module")
def served(real_data, tmp_path_factory) -> tuple[Project, list[dict]]:
    """Two forecasts of a base, asked of a real service that SIGTERM ended right afterwards."""
    project = Project(tmp_path_factory.mktemp("served"), {"STOCK_TICKERS": "AAPL"})
    bars = str(real_data / "yahoo" / "AAPL.csv")
    run = project.command("data_pipeline.py", "import", "AAPL", bars)
    assert run.returncode == 0, run.stderr
    with project.api(STOCK_AS_OF="2025-12-08", STOCK_REFRESH="false") as url:
        answers = [
            ask(f"{url}/predict?ticker=AAPL&steps={steps}", f"request-{steps}")
            for steps in (5, 7, 5)
        ]
    return project, answers


@pytest.fixture
def log(served):
    opened = ForecastLog(f"sqlite:///{served[0].folder}/forecasts.db")
    yield opened
    opened.close()


def test_what_was_answered_is_what_was_promised(served, log):
    _, answers = served
    (promise,) = log.promises("AAPL")
    longest = answers[1]
    assert promise.request_id == "request-5"
    assert (promise.origin, promise.cold_start) == (date(2025, 12, 8), True)
    assert [day.isoformat() for day in promise.dates] == longest["dates"]
    assert promise.points == pytest.approx(longest["prices"])
    assert promise.bands["80"].lower == pytest.approx(longest["intervals"]["80"]["lower"])
    assert promise.data_sha256 == longest["data"]["sha256"]


def test_what_came_settles_it(served, log, real_data):
    folder = served[0].folder
    settings = Settings(data_dir=folder / "data", as_of=date(2025, 12, 31), refresh=False)
    known = StockDataPipeline("AAPL", settings).load()
    found = log.settle(known, date(2025, 12, 31))
    assert (found.settled + log.settle(known, date(2025, 12, 31)).settled, found.waiting) == (7, 0)
    row = log.performance("AAPL").rows[-1]
    assert (row.n, row.cold_start, row.synthetic, row.step) == (7, True, False, None)
    assert 0 < row.model.mae < 0.1 * 280
