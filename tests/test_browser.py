"""The dashboard in a real browser, on a real service with a real champion: each figure compared."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import (
    PATIENCE,
    QUIET,
    TABS,
    Visit,
    controls,
    is_open,
    open_tab,
    opened,
    settled,
    walk,
)
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from project import ROOT, Project, free_port

pytestmark = [pytest.mark.browser, pytest.mark.real_data]

ARTIFACTS = ROOT / "test-artifacts"


@dataclass
class Stack:
    """Where the two servers answer."""

    api: str
    page: str


@pytest.fixture(scope="module")
def checked(trained_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy, since others ask the project for a check that nobody has made."""
    folder = tmp_path_factory.mktemp("checked")
    shutil.copytree(trained_project.folder, folder, dirs_exist_ok=True)
    project = Project(folder, trained_project.settings)
    check = project.command("drift_monitor.py", "AAPL")
    assert check.returncode == 0, check.stderr
    return project


@pytest.fixture(scope="module")
def stack(checked: Project, mlflow_ui: str) -> Iterator[Stack]:
    """The service and the dashboard over a checked model, started by the README's commands."""
    port = free_port()
    page = f"http://127.0.0.1:{port}"
    dashboard = ("streamlit", "run", str(ROOT / "streamlit_app.py"), "--server.port", str(port))
    with (
        checked.api(STOCK_MLFLOW_API_URL=mlflow_ui, STOCK_MLFLOW_URL=mlflow_ui) as api,
        checked.serving(*dashboard, until=f"{page}/_stcore/health", STOCK_API_URL=api),
    ):
        yield Stack(api, page)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """One Chromium for all visits."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield started
        started.close()


@pytest.fixture(scope="module")
def visit(stack: Stack, browser: Browser) -> Iterator[Visit]:
    """The dashboard, opened once; complaints are gathered from the first byte on."""
    yield opened(browser, stack.page, 1280)


def answer(stack: Stack, path: str) -> dict:
    """What the service itself says."""
    said = httpx.get(stack.api + path, timeout=30)
    assert said.status_code == 200, said.text
    return said.json()


def generate(visit: Visit, stack: Stack, steps: int) -> dict:
    """Choose steps on the slider with the keyboard, click Generate; the service's own answer."""
    page = visit.page
    open_tab(page, "Predictions")
    slider = page.get_by_role("slider", name="Sessions ahead")
    shown = page.get_by_test_id("stSliderThumbValue")
    missing = steps - int(shown.inner_text())
    for _ in range(abs(missing)):
        slider.press("ArrowRight" if missing > 0 else "ArrowLeft")
    expect(shown).to_have_text(str(steps))
    page.get_by_role("button", name="Generate forecast").click()
    expect(page.get_by_role("heading", name=f"the next {steps} sessions")).to_be_visible()
    expect(figure(page, f"In {steps} sessions")).to_be_visible()
    settled(page)
    return answer(stack, f"/predict?ticker=AAPL&steps={steps}&smoothing=true")


def figure(page: Page, label: str) -> Locator:
    """A key figure by the beginning of its label."""
    return page.locator("dl.figures > div").filter(has_text=re.compile(f"^{re.escape(label)}"))


def test_the_figures_shown_are_those_of_the_service(visit, stack):
    said = generate(visit, stack, 20)
    wanted = {
        "Last mid-price": said["last_actual_price"],
        "Last close": said["last_close"],
        "Next session": said["prices"][0],
        "In 20 sessions": said["prices"][-1],
    }
    for label, price in wanted.items():
        shown = figure(visit.page, label).locator(".value")
        expect(shown).to_have_text(f"{price:,.2f} {said['currency']}")
    band = said["intervals"]["80"]
    expect(figure(visit.page, "In 20 sessions")).to_contain_text(
        f"80 % band {band['lower'][-1]:,.2f} to {band['upper'][-1]:,.2f}"
    )


def test_the_chart_draws_the_figures_of_the_service(visit, stack):
    said = generate(visit, stack, 20)
    drawn = visit.page.eval_on_selector(
        ".js-plotly-plot",
        "plot => plot.data.map(line => [line.name, Array.from(line.y ?? [])])",
    )
    lines = {name: values for name, values in drawn if name}
    assert lines["Forecast"] == [said["last_actual_price"], *said["prices"]]
    assert lines["Smoothed forecast"][1:] == said["smoothed_prices"]
    assert lines["95 % band"][1:] == said["intervals"]["95"]["lower"]
    assert set(lines["Last close, repeated"]) == {said["last_close"]}


def downloaded(visit: Visit, button: str, folder: Path) -> Path:
    with visit.page.expect_download() as started:
        visit.page.get_by_role("button", name=button).click()
    started.value.save_as(folder / started.value.suggested_filename)
    return folder / started.value.suggested_filename


def test_the_table_file_holds_the_figures_of_the_service(visit, stack, tmp_path):
    said = generate(visit, stack, 20)
    file = downloaded(visit, "Download CSV", tmp_path)
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert file.name == f"AAPL_forecast_{said['as_of']}.csv"
    assert [row["date"] for row in rows] == said["dates"]
    assert [float(row["price"]) for row in rows] == said["prices"]
    assert [float(row["smoothed_price"]) for row in rows] == said["smoothed_prices"]
    assert [float(row["lower_80"]) for row in rows] == said["intervals"]["80"]["lower"]
    assert {row["source"] for row in rows} == {said["data"]["source"]}


def test_the_other_file_is_the_answer_of_the_service(visit, stack, tmp_path):
    said = generate(visit, stack, 20)
    file = downloaded(visit, "Download JSON", tmp_path)
    assert json.loads(file.read_text()) == said


def show_command(page: Page) -> None:
    """Open what is folded away, by the keyboard."""
    if not page.get_by_test_id("stCode").count():
        page.locator("summary", has_text="The same from a command line").press("Enter")
    expect(page.get_by_test_id("stCode").last).to_be_visible()


def test_the_command_shown_gives_the_same_answer(visit, stack):
    said = generate(visit, stack, 20)
    show_command(visit.page)
    command = visit.page.get_by_test_id("stCode").last.inner_text()
    url = re.search(r"'(.+)'", command.replace("\n", ""))
    assert url and httpx.get(url[1], timeout=30).json() == said


def test_whose_prices_they_are_is_on_the_page(visit, stack):
    said = generate(visit, stack, 20)
    shown = visit.page.get_by_test_id("stMain").inner_text()
    assert ("SYNTHETIC PRICES" in shown) == (said["data"]["source"] == "synthetic")
    assert ("Stale" in shown) == said["data"]["stale"]
    assert f"Model version {said['model']['version']}" in shown
    assert said["model"]["recipe"] in shown


def test_every_tab_opens_and_the_address_bar_names_it(visit, stack):
    generate(visit, stack, 20)
    for tab in list(TABS)[1:]:
        open_tab(visit.page, tab)
        expect(visit.page).to_have_url(re.compile(f"tab={tab.replace(' ', '.')}"))


def test_runs_are_those_of_mlflow_and_lead_there(visit, stack):
    open_tab(visit.page, "MLflow runs")
    said = answer(stack, "/runs/AAPL")
    assert said["runs"]
    link = visit.page.get_by_role("link", name="Open all in MLflow")
    expect(link).to_have_attribute("href", said["url"])
    expect(visit.page.get_by_test_id("stPlotlyChart").last).to_be_visible()


def test_a_drift_report_is_shown_in_the_page(visit, stack):
    open_tab(visit.page, "Drift")
    verdict = answer(stack, "/drift/AAPL")
    expect(visit.page.get_by_test_id("stAlert").first).to_contain_text(verdict["summary"][:40])
    name = verdict["reports"][0]
    visit.page.get_by_role("radio", name=name.removesuffix(".html")).click()
    report = visit.page.frame_locator("iframe").first
    expect(report.get_by_text("Drift").first).to_be_visible(timeout=PATIENCE)


def test_a_check_can_be_asked_for(visit, stack):
    open_tab(visit.page, "Drift")
    visit.page.get_by_role("button", name="Check now").click()
    expect(visit.page.get_by_role("progressbar").first).to_be_visible()


def test_the_address_bar_opens_the_same_view_again(visit, stack):
    generate(visit, stack, 20)
    open_tab(visit.page, "Scores")
    expect(visit.page).to_have_url(re.compile("tab=Scores"))
    visit.page.reload()
    expect(visit.page.get_by_role("tab", name="Scores")).to_have_attribute(
        "aria-selected", "true", timeout=PATIENCE
    )
    heading = visit.page.get_by_role("heading", name="AAPL, the next 20 sessions")
    open_tab(visit.page, "Predictions")
    expect(heading).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_hard_to_read_or_to_reach(stack, browser, scheme):
    seen = opened(browser, stack.page, 1280, scheme)
    for tab in TABS:
        open_tab(seen.page, tab)
        found = Axe().run(seen.page).response["violations"]
        bad = [row for row in found if row["impact"] in ("serious", "critical")]
        told = [(row["id"], [node["html"] for node in row["nodes"]]) for row in bad]
        assert told == [], f"{tab}, {scheme}"
        picture(seen.page, f"dashboard-{tab.split()[0].lower()}-{scheme}.png")
    assert seen.complaints == []
    seen.page.context.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_no_figure_is_cut_off(stack, browser, width):
    seen = opened(browser, stack.page, width)
    cut = "cells => cells.filter(c => c.scrollWidth > c.clientWidth + 1).map(c => c.innerText)"
    cells = "dl.figures dt, dl.figures dd, [data-testid=stBadge]"
    assert seen.page.eval_on_selector_all(cells, cut) == []
    wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert seen.page.evaluate(wider) == 0
    picture(seen.page, f"dashboard-{width}.png")
    seen.page.context.close()


def out_of_order(stops: list[dict]) -> list[tuple[str, str]]:
    """Neighbours of which the second lies above the first and not in the next column, or left of
    it in one row. Tables are left out: a canvas and what scrolls it lie over their own buttons."""
    wrong = []
    seen = [s for s in stops if s["tag"] not in ("CANVAS", "MAIN") and (s["name"] or s["role"])]
    for one, two in zip(seen, seen[1:], strict=False):
        above = two["bottom"] <= one["top"] and two["left"] < one["right"]
        beside = two["bottom"] > one["top"] and one["bottom"] > two["top"]
        if above or (beside and two["left"] < one["left"] - 1):
            wrong.append((one["name"], two["name"]))
    return wrong


@pytest.mark.parametrize("tab", list(TABS))
def test_every_control_is_reached_by_tab_seen_there_and_in_the_order_of_the_page(visit, tab):
    open_tab(visit.page, tab)
    wanted = controls(visit.page)
    stops = walk(visit.page)
    assert wanted - {stop["id"] for stop in stops} == set()
    # a table is one canvas and draws its own frame around the cell
    assert [s for s in stops if not s["seen"] and s["tag"] != "CANVAS"] == []
    assert out_of_order(stops[2:]) == []  # the link to skip to the page, the menu at its corner


def test_the_keyboard_alone_changes_the_tab_and_generates(visit, stack):
    page = visit.page
    open_tab(page, "Predictions")
    # each key goes to the control by name: a page that is drawn anew may take the focus with it
    page.get_by_role("tab", name="Predictions").press("ArrowRight")
    page.get_by_role("tab", name="Compare").press("Enter")
    is_open(page, "Compare")
    settled(page)
    page.get_by_role("tab", name="Compare").press("ArrowLeft")
    page.get_by_role("tab", name="Predictions").press("Space")
    is_open(page, "Predictions")
    settled(page)
    slider = page.get_by_role("slider", name="Sessions ahead")
    for key, steps in (("Enter", 12), ("Space", 9)):
        slider.press("Home")
        for _ in range(steps - 7):
            slider.press("ArrowRight")
        page.get_by_role("button", name="Generate forecast").press(key)
        expect(page.get_by_role("heading", name=f"the next {steps} sessions")).to_be_visible()
    settled(page)
    show_command(page)
    page.get_by_test_id("stCode").last.press("Tab")
    expect(page.get_by_role("button", name="Copy to clipboard").last).to_be_focused()


def picture(page: Page, name: str) -> None:
    """The whole page, however long."""
    ARTIFACTS.mkdir(exist_ok=True)
    page.mouse.move(0, 0)
    whole = "document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight"
    width = page.viewport_size["width"] if page.viewport_size else 1280
    page.set_viewport_size({"width": width, "height": page.evaluate(whole) + 60})
    settled(page)
    page.screenshot(path=ARTIFACTS / name, animations="disabled")
    page.set_viewport_size({"width": width, "height": 1000})


def test_the_browser_had_nothing_to_complain_about(visit):
    assert visit.complaints == []
