"""The whole stack as a visitor meets it: real servers, real Chromium, every figure compared."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright
from project import ROOT, Project, free_port

pytestmark = [pytest.mark.browser, pytest.mark.real_data]

ARTIFACTS = ROOT / "test-artifacts"
PATIENCE = 60_000  # milliseconds until the page must stand
QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


@dataclass
class Stack:
    """Where the two servers answer."""

    api: str
    page: str


@dataclass
class Visit:
    """One open page and what the browser complained about."""

    page: Page
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def stack(trained_project: Project) -> Iterator[Stack]:
    """The service and the dashboard, started by the commands of the README."""
    port = free_port()
    page = f"http://127.0.0.1:{port}"
    dashboard = ("streamlit", "run", str(ROOT / "streamlit_app.py"), "--server.port", str(port))
    with (
        trained_project.api() as api,
        trained_project.serving(*dashboard, until=f"{page}/_stcore/health", STOCK_API_URL=api),
    ):
        yield Stack(api, page)


@pytest.fixture(scope="module")
def visit(stack: Stack, chromium: str) -> Iterator[Visit]:
    """The dashboard, opened once; complaints are gathered from the first byte on."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        page = browser.new_page(viewport={"width": 1440, "height": 1900}, accept_downloads=True)
        seen = Visit(page)
        page.on("console", lambda said: note(seen, said.type, said.text))
        page.on("pageerror", lambda error: note(seen, "error", str(error)))
        page.on("request", lambda request: note_outsider(seen, request.url))
        page.goto(stack.page)
        expect(page.locator(".js-plotly-plot")).to_be_visible(timeout=PATIENCE)
        yield seen
        browser.close()


def note(seen: Visit, kind: str, text: str) -> None:
    if kind == "error":
        seen.complaints.append(text)


def note_outsider(seen: Visit, url: str) -> None:
    if not re.match(r"(https?|ws)://127\.0\.0\.1|data:|blob:", url):
        seen.complaints.append(f"asked the internet for {url}")


def answer(stack: Stack, path: str) -> dict:
    """What the service itself says."""
    said = httpx.get(stack.api + path, timeout=30)
    assert said.status_code == 200, said.text
    return said.json()


def generate(visit: Visit, stack: Stack, steps: int) -> dict:
    """Choose steps on the slider, click Generate, wait; returns the service's own answer."""
    slider = visit.page.get_by_role("slider", name="Sessions ahead")
    shown = visit.page.get_by_test_id("stSliderThumbValue")
    missing = steps - int(shown.inner_text())
    for _ in range(abs(missing)):
        slider.press("ArrowRight" if missing > 0 else "ArrowLeft")
    expect(shown).to_have_text(str(steps))
    visit.page.get_by_role("button", name="Generate forecast").click()
    expect(visit.page.get_by_role("heading", name=f"the next {steps} sessions")).to_be_visible()
    expect(visit.page.get_by_test_id("stMetric").nth(3)).to_contain_text(f"In {steps} sessions")
    ticker = visit.page.get_by_role("heading", name="the next").inner_text().split(",")[0]
    return answer(stack, f"/predict?ticker={ticker}&steps={steps}&smoothing=true")


def test_the_figures_shown_are_those_of_the_service(visit, stack):
    said = generate(visit, stack, 20)
    figures = visit.page.get_by_test_id("stMetricValue")
    wanted = [said["last_actual_price"], said["last_close"], said["prices"][0], said["prices"][-1]]
    for n, price in enumerate(wanted):
        expect(figures.nth(n)).to_have_text(f"{price:,.2f} {said['currency']}")
    band = said["intervals"]["80"]
    expect(visit.page.get_by_test_id("stMetric").nth(3)).to_contain_text(
        f"80 % band {band['lower'][-1]:,.2f} to {band['upper'][-1]:,.2f}"
    )


def test_the_chart_draws_the_figures_of_the_service(visit, stack):
    said = generate(visit, stack, 20)
    drawn = visit.page.eval_on_selector(
        ".js-plotly-plot",
        "plot => plot.data.map(line => [line.name, Array.from(line.y)])",
    )
    lines = {name: values for name, values in drawn if name}
    assert lines["Forecast"] == [said["last_actual_price"], *said["prices"]]
    assert lines["Smoothed forecast (EMA)"][1:] == said["smoothed_prices"]
    assert lines["95 % band"][1:] == said["intervals"]["95"]["lower"]
    assert set(lines["Last close, repeated"]) == {said["last_close"]}


def test_the_file_holds_the_figures_of_the_service(visit, stack, tmp_path):
    said = generate(visit, stack, 20)
    with visit.page.expect_download() as started:
        visit.page.get_by_role("button", name="Download CSV").click()
    started.value.save_as(tmp_path / "forecast.csv")
    with (tmp_path / "forecast.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert started.value.suggested_filename == f"{said['ticker']}_forecast_{said['as_of']}.csv"
    assert [row["date"] for row in rows] == said["dates"]
    assert [float(row["price"]) for row in rows] == said["prices"]
    assert [float(row["smoothed_price"]) for row in rows] == said["smoothed_prices"]
    assert [float(row["lower_80"]) for row in rows] == said["intervals"]["80"]["lower"]
    assert {row["source"] for row in rows} == {said["data"]["source"]}


def test_whose_prices_they_are_is_on_the_page(visit, stack):
    said = generate(visit, stack, 20)
    shown = visit.page.get_by_test_id("stMain").inner_text()
    assert ("SYNTHETIC PRICES" in shown) == (said["data"]["source"] == "synthetic")
    assert ("Stale" in shown) == said["data"]["stale"]
    assert f"Model version {said['model']['version']}" in shown
    assert said["model"]["recipe"] in shown


def test_the_address_bar_opens_the_same_view_again(visit, stack):
    said = generate(visit, stack, 20)
    assert "steps=20" in visit.page.url
    visit.page.reload()
    heading = visit.page.get_by_role("heading", name=f"{said['ticker']}, the next 20 sessions")
    expect(heading).to_be_visible(timeout=PATIENCE)


def test_every_tab_opens_and_says_what_the_service_says(visit, stack):
    ticker = generate(visit, stack, 20)["ticker"]
    page = visit.page
    picture(page, "dashboard-forecast.png")
    page.get_by_role("tab", name="Model & MLflow runs").click()
    model = answer(stack, f"/models/{ticker}")
    expect(page.get_by_text(f"{ticker}, version {model['version']}")).to_be_visible()
    expect(page.get_by_role("link", name="Open all runs in MLflow")).to_be_visible()
    picture(page, "dashboard-model.png")
    page.get_by_role("tab", name="Drift").click()
    verdict = httpx.get(f"{stack.api}/drift/{ticker}").json()
    expect(page.get_by_text(verdict.get("summary") or verdict["detail"])).to_be_visible()
    picture(page, "dashboard-drift.png")
    page.get_by_role("tab", name="Forecast").click()


def picture(page: Page, name: str) -> None:
    ARTIFACTS.mkdir(exist_ok=True)
    page.mouse.move(0, 0)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=ARTIFACTS / name, animations="disabled")


def test_the_browser_had_nothing_to_complain_about(visit):
    assert visit.complaints == []
