"""Shared by all tests: where the real prices and the browser are, and an empty place to work in."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import curl_cffi  # noqa: F401  # before any test loads Keras by itself, see `model`
import httpx
import postgres
import pytest
import redis_process
import sqlalchemy as sa
from fake_desk import FakeDesk
from fake_pages import FakePages
from filelock import FileLock
from project import Project, free_port
from starlette.testclient import TestClient

from app import create_app
from config import Settings
from forecast_log import ForecastLog

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

Answer = Callable[[httpx.Request], httpx.Response]
Page = Callable[..., "AppTest"]

ROOT = Path(__file__).resolve().parent.parent
OF_THE_PAGE = ("test_streamlit_app", "test_views_")


def absent(what: str, required_by: str) -> None:
    """Skip where a user may lack it, fail where `required_by` is set (CI)."""
    if os.environ.get(required_by) == "1":
        pytest.fail(f"{what}, and {required_by}=1 forbids skipping")
    pytest.skip(what)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real prices: `yahoo/AAPL.csv`, `panel/`, `faulty/`, `yahoo_responses/`."""
    folder = Path(os.environ.get("REAL_DATA_DIR", ROOT.parent / "shared" / "data"))
    if not (folder / "yahoo" / "AAPL.csv").is_file():
        absent("no real prices here; set REAL_DATA_DIR to their folder", "REQUIRE_REAL_DATA")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium executable."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    absent("no Chromium on this machine; on Debian: apt-get install chromium", "REQUIRE_BROWSER")
    raise AssertionError("absent() always raises")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Address of an empty database on a real PostgreSQL server."""
    folder = postgres.programs()
    if folder is None:
        absent(
            "no PostgreSQL on this machine; on Debian: apt-get install postgresql",
            "REQUIRE_POSTGRES",
        )
        raise AssertionError("absent() always raises")
    with postgres.server(folder) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'forecasts.db'}"
    address: str = request.getfixturevalue("postgres_url")
    engine = sa.create_engine(address)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return address


@pytest.fixture
def forecast_log(database_url: str) -> Iterator[ForecastLog]:
    """The log on an empty database of either kind."""
    opened = ForecastLog(database_url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[redis_process.RedisServer]:
    """A real Redis that a test may stop and start."""
    program = shutil.which("redis-server")
    if program is None:
        absent("no Redis on this machine; on Debian: apt-get install redis-server", "REQUIRE_REDIS")
        raise AssertionError("absent() always raises")
    with redis_process.RedisServer(program) as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Default settings in an empty folder of their own, which is also the current folder."""
    for name in [n for n in os.environ if n.startswith("STOCK_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    return Settings()


@pytest.fixture
def service(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., TestClient]]:
    """Start the HTTP service: `service(desk, max_in_flight=1)`, by settings' names."""
    running: list[TestClient] = []

    def start(
        desk: FakeDesk | None = None, client: str = "testclient", **wish: object
    ) -> TestClient:
        for name, value in wish.items():
            monkeypatch.setenv(f"STOCK_{name}".upper(), str(value))
        app = create_app(lambda _: desk or FakeDesk(), lambda _: FakePages())
        made = TestClient(app, "http://test", raise_server_exceptions=False, client=(client, 50000))
        running.append(made.__enter__())
        return made

    yield start
    for made in running:
        made.__exit__()


@pytest.fixture
def page(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Page:
    """Open the dashboard with `answer` at the other end of the wire; the rest is the address."""
    import streamlit as st
    from streamlit.testing.v1 import AppTest

    def open_page(answer: Answer, **query: str) -> AppTest:
        st.cache_data.clear()
        st.cache_resource.clear()
        monkeypatch.setattr("api_client.wire", lambda: httpx.MockTransport(answer))
        monkeypatch.setattr("views.predictions.HEAD_START", 0)  # nobody watches it being drawn
        shown = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=30)
        for name, value in query.items():
            shown.query_params[name] = value
        return shown.run()

    return open_page


@pytest.fixture
def behind(settings: Settings) -> Iterator[Callable[..., Answer]]:
    """The real service on a fake desk and pages, as the other end of a wire."""
    running: list[TestClient] = []

    def answer_of(desk: FakeDesk, pages: FakePages | None = None) -> Answer:
        app = create_app(lambda _: desk, lambda _: pages or FakePages())
        service = TestClient(app, client=("127.0.0.1", 50000))
        running.append(service.__enter__())

        def answer(request: httpx.Request) -> httpx.Response:
            path = request.url.raw_path.decode()
            sent = {**request.headers, "Accept-Encoding": "identity"}
            said = service.request(request.method, path, headers=sent, content=request.content)
            return httpx.Response(said.status_code, headers=said.headers, content=said.content)

        return answer

    yield answer_of
    for service in running:
        service.__exit__()


@pytest.fixture(scope="session")
def trained_project(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Real AAPL prices and a champion of the specification's recipe, fitted for two epochs."""
    wish = {"STOCK_RECIPE": "mlops_64_64_32", "STOCK_EPOCHS": "2"}
    return _trained(tmp_path_factory, real_data, wish)


@pytest.fixture(scope="session")
def panel_project(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Real AAPL prices and a champion as `python train.py` makes it where nothing is set."""
    return _trained(tmp_path_factory, real_data, {})


@pytest.fixture(scope="session")
def mlflow_ui(trained_project: Project) -> Iterator[str]:
    """Address of a real `mlflow ui` over the runs of `trained_project`."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    arguments = ("mlflow", "ui", "--port", str(port), "--workers", "1")
    with trained_project.serving(*arguments, until=url, **quiet):
        yield url


def _trained(place: pytest.TempPathFactory, real_data: Path, recipe: dict[str, str]) -> Project:
    """A trained project of this process; where several run the tests, one trains for all."""
    wish = {"STOCK_TICKERS": "AAPL", "STOCK_AS_OF": "2025-12-31", **recipe}
    name = recipe.get("STOCK_RECIPE", "panel")
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return _train(Project(place.mktemp(name), wish), real_data)
    common = place.getbasetemp().parent / name
    with FileLock(f"{common}.lock"):
        if not common.exists():
            common.mkdir()
            _train(Project(common, wish), real_data)
    return Project(Path(shutil.copytree(common, place.mktemp("copy") / name)), wish)


def _train(project: Project, real_data: Path) -> Project:
    for command in (
        ("data_pipeline.py", "import", "AAPL", str(real_data / "yahoo" / "AAPL.csv")),
        ("train.py", "AAPL"),
    ):
        run = project.command(*command)
        assert run.returncode == 0, run.stderr
    return project


@pytest.fixture(scope="module", autouse=True)
def _still_heap(request: pytest.FixtureRequest) -> Iterator[None]:
    """Streamlit collects garbage after every run of a page: what earlier tests loaded (TensorFlow,
    MLflow) is not looked through each time."""
    if not request.module.__name__.startswith(OF_THE_PAGE):
        yield
        return
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
