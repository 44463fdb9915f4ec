"""A real service whose champion changes under load: every answer is wholly of one version."""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from email.message import Message
from pathlib import Path

import pytest
from project import ROOT, Project, free_port
from staged import AS_OF, publish, put_prices, truncate

from config import Settings
from desk import ForecastDesk
from model_store import NETWORK, ModelStore

PATH = "/predict?ticker=AAPL&steps=30"


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    wish = {"STOCK_TICKERS": "AAPL", "STOCK_AS_OF": str(AS_OF), "STOCK_REFRESH": "false"}
    return Project(tmp_path_factory.mktemp("swap"), {**wish, "STOCK_MAX_MODEL_AGE_DAYS": "90"})


@pytest.fixture(scope="module")
def stored(project) -> Settings:
    """Where prices and models are. Version 1 has seen 2023 and version 2 will have seen 2025."""
    found = Settings(
        data_dir=project.folder / "data",
        models_dir=project.folder / "models",
        database_url=f"sqlite:///{project.folder}/forecasts.db",
        tickers=("AAPL",),
        as_of=AS_OF,
        refresh=False,
        max_model_age_days=90,
    )
    put_prices(found)
    publish(found, "1", which=0)
    return found


@pytest.fixture(scope="module")
def api(project, stored) -> Iterator[str]:
    with project.api() as url:
        yield url


@pytest.fixture(scope="module")
def second(stored) -> str:
    """The bundle of version 2, stored and not published."""
    folder = publish(stored, "2", which=1)
    ModelStore(stored.models_dir).rollback("AAPL")
    return folder.name


def get(url: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as said:
            return said.status, said.read(), lowered(said.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), lowered(error.headers)


def lowered(headers: Message) -> dict[str, str]:
    return {name.lower(): text for name, text in headers.items()}


def version(url: str) -> str:
    status, body, _ = get(url + PATH)
    assert status == 200, body
    return json.loads(body)["model"]["version"]


def until_version(url: str, wanted: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while version(url) != wanted:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def resident(process: int) -> float:
    """Memory of a process, in MB."""
    fields = Path(f"/proc/{process}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass
class Crowd:
    """Clients that ask the same thing all the time and keep what they are told."""

    url: str
    answers: set[tuple[int, bytes]] = field(default_factory=set)
    asked: int = 0
    leaving: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        while not self.leaving.is_set():
            status, body, _ = get(self.url + PATH)
            self.answers.add((status, body))
            self.asked += 1

    def __enter__(self) -> Crowd:
        self.threads = [threading.Thread(target=self.ask) for _ in range(4)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leaving.set()
        for thread in self.threads:
            thread.join()


def whole_answers(stored: Settings, second: str) -> set[tuple[int, bytes]]:
    """What the two versions say, each computed by a desk of its own that knows no other."""
    store, found = ModelStore(stored.models_dir), set()
    for name in ("1", "2"):
        if name == "2":
            store.publish("AAPL", stored.models_dir / second, "2")
        desk = ForecastDesk(stored, promising=False)
        answer = desk.answer("AAPL", 30, True)
        assert answer.forecast.model.version == name
        found.add((200, answer.body))
        desk.close()
    store.rollback("AAPL")
    return found


def swap(stored: Settings, second: str, times: int, crowd: Crowd) -> None:
    store = ModelStore(stored.models_dir)
    for _ in range(times):
        store.publish("AAPL", stored.models_dir / second, "2")
        until_version(crowd.url, "2")
        store.rollback("AAPL")
        until_version(crowd.url, "1")


def test_every_answer_under_load_is_wholly_one_version(api, stored, second):
    allowed = whole_answers(stored, second)
    assert len(allowed) == 2
    with Crowd(api) as crowd:
        swap(stored, second, 3, crowd)
    assert crowd.answers == allowed, "no failed request, no mixture"
    assert crowd.asked > 60


@pytest.mark.long
@pytest.mark.timeout(900)
def test_nor_do_six_hundred_changes_mix_versions(project, stored, second):
    allowed = whole_answers(stored, second)
    url = f"http://127.0.0.1:{(port := free_port())}"
    served = ("uvicorn", "eager:app", "--app-dir", str(ROOT / "tests"), "--port", str(port))
    with (
        project.serving(*served, until=f"{url}/health", PYTHONPATH=str(ROOT)) as process,
        Crowd(url) as crowd,
    ):
        swap(stored, second, 20, crowd)
        before = resident(process.pid)
        swap(stored, second, 280, crowd)
        grown = resident(process.pid) - before
    assert crowd.answers == allowed, "no failed request, no mixture"
    assert crowd.asked > 2000
    assert grown < 30, "MB: what was replaced is let go"


def test_a_half_written_version_is_refused_reported_and_the_old_one_serves(api, stored):
    store = ModelStore(stored.models_dir)
    before = get(api + PATH)[1]
    truncate(publish(stored, "3", which=1) / NETWORK)
    deadline = time.monotonic() + 20
    while not (ready := json.loads(get(f"{api}/ready")[1]))["refused"]:
        assert time.monotonic() < deadline
    assert (ready["status"], list(ready["refused"])) == ("ready", ["AAPL"])
    assert str(stored.models_dir) not in ready["refused"]["AAPL"]
    time.sleep(1.0)  # longer than files go unlooked at
    assert get(api + PATH)[:2] == (200, before)
    store.rollback("AAPL")
    assert json.loads(get(f"{api}/ready")[1])["refused"] == {}


def test_whoever_holds_the_answer_is_told_so(api):
    status, body, headers = get(api + PATH)
    assert (status, headers["cache-control"]) == (200, "private, max-age=5")
    tag = headers["etag"]
    for held in (tag, f'"other", W/{tag}', "*"):
        status, nothing, headers = get(api + PATH, **{"If-None-Match": held})
        assert (status, nothing, headers["etag"]) == (304, b"", tag)
    assert get(api + PATH, **{"If-None-Match": '"other"'})[:2] == (200, body)
    assert get(f"{api}/predict?ticker=AAPL&steps=29")[2]["etag"] != tag


@pytest.mark.parametrize(
    "path", [f"{PATH}&strict=true", "/probability?ticker=AAPL&above=300&strict=1"]
)
def test_a_strict_question_is_refused_with_the_reasons(api, stored, path):
    until_version(api, "1")
    for _ in range(2):  # computed, then at hand
        status, body, _ = get(api + path)
        problem = json.loads(body)
        assert (status, problem["type"]) == (409, "/problems/refused")
        assert problem["warnings"] == ["model_too_old"]
        assert (
            "90 are allowed" in problem["detail"] and str(date(2023, 12, 29)) in problem["detail"]
        )
    said = json.loads(get(api + path.partition("&strict")[0])[1])
    assert [warning["code"] for warning in said["warnings"]] == problem["warnings"]


def test_in_a_strict_batch_each_ticker_is_refused_by_itself(api):
    body = json.dumps({"tickers": ["AAPL", "NIX"], "strict": True}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{api}/predict/batch", body, headers)
    with urllib.request.urlopen(request, timeout=30) as said:
        answer = json.load(said)
    assert answer["predictions"] == {}
    types = {ticker: problem["type"] for ticker, problem in answer["errors"].items()}
    assert types == {"AAPL": "/problems/refused", "NIX": "/problems/unknown_ticker"}
