"""How long the dashboard takes to be drawn, beside a page of Streamlit that only says hello.

    python benchmarks/dashboard.py --api http://127.0.0.1:8000

asks a running service, whose models should be loaded. Both pages are served by this command, on
the same machine, and opened in turn by one Chromium: first by the first visitor of servers just
started, then by later ones. Every visit is that of a browser that has kept nothing.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
HELLO = "import streamlit as st\n\nst.title('Hello')\n"
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
FIRST = "dl.figures"  # the key figures: what a visitor came for
CHART = ".js-plotly-plot .main-svg"


@contextmanager
def page(script: Path, **more: str) -> Iterator[str]:
    """A Streamlit server of one script; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = (sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port))
    quiet = {"STREAMLIT_SERVER_HEADLESS": "true", "STREAMLIT_BROWSER_SERVER_ADDRESS": "localhost"}
    settings = {**os.environ, **quiet, **more}
    with subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL) as server:
        try:
            _wait(f"{url}/_stcore/health", server)
            yield url
        finally:
            server.terminate()


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"no page at {url}")


def opened(browser: Browser, url: str, *marks: str) -> list[float]:
    """Seconds from asking for a page until each mark is on it, in a visit of its own; then the
    processor time that the page's own thread had spent by the last, whatever else was running."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    visit = context.new_page()
    inside = context.new_cdp_session(visit)
    inside.send("Performance.enable", {"timeDomain": "threadTicks"})
    begin = time.perf_counter()
    visit.goto(url, wait_until="commit")
    taken = []
    for mark in marks:
        visit.wait_for_selector(mark, timeout=60_000)
        taken.append(time.perf_counter() - begin)
    told = inside.send("Performance.getMetrics")["metrics"]
    context.close()
    return [*taken, *(row["value"] for row in told if row["name"] == "TaskDuration")]


def first_visits(browser: Browser, script: Path, api: str, starts: int) -> list[list[float]]:
    """By mark, the seconds of the first visits of servers just started, of both pages in turn."""
    found = []
    for _ in range(starts):
        with page(script) as hello, page(ROOT / "streamlit_app.py", STOCK_API_URL=api) as url:
            title, _ = opened(browser, hello, "h1")
            found.append([title, *opened(browser, url, FIRST, CHART)[:2]])
    return [list(column) for column in zip(*found, strict=True)]


def change_of_ticker(visit: Page, ticker: str) -> float:
    """Seconds from choosing another ticker until its key figures stand."""
    visit.get_by_role("combobox").first.click()
    option = visit.get_by_role("option", name=ticker, exact=True)
    option.wait_for()
    begin = time.perf_counter()
    option.click()
    visit.get_by_role("heading", name=f"{ticker}, the next").wait_for(timeout=60_000)
    visit.wait_for_selector(f'{FIRST} >> text="Chance above last close"')
    return time.perf_counter() - begin


def changes(browser: Browser, url: str, tickers: list[str], rounds: int) -> list[float]:
    """Every change of ticker within one visit."""
    visit = browser.new_page(viewport={"width": 1280, "height": 1000})
    visit.goto(f"{url}/?ticker={tickers[0]}")
    visit.wait_for_selector(CHART, timeout=60_000)
    order = [tickers[(n + 1) % len(tickers)] for n in range(rounds)]
    return [change_of_ticker(visit, ticker) for ticker in order]


def measured(rounds: int, measure: Callable[[], list[float]]) -> list[list[float]]:
    """By mark, the seconds of every round but the first, which fills caches."""
    found = [measure() for _ in range(rounds + 1)][1:]
    return [list(column) for column in zip(*found, strict=True)]


def rows(
    browser: Browser, script: Path, wish: argparse.Namespace
) -> dict[str, tuple[list[float], list[float]]]:
    """By what was measured, its seconds and those of the page that only says hello."""
    new_hellos, new_firsts, new_charts = first_visits(browser, script, wish.api, wish.starts)
    with page(script) as hello, page(ROOT / "streamlit_app.py", STOCK_API_URL=wish.api) as url:
        # in turn, so that whatever else the machine does weighs on both alike
        hellos, hello_work, firsts, charts, work = measured(
            wish.rounds,
            lambda: [*opened(browser, hello, "h1"), *opened(browser, url, FIRST, CHART)],
        )
        switched = changes(browser, url, wish.tickers.split(","), wish.rounds)
    return {
        "first visit: hello page, title": (new_hellos, new_hellos),
        "first visit: key figures": (new_firsts, new_hellos),
        "first visit: chart": (new_charts, new_hellos),
        "later visits: hello page, title": (hellos, hellos),
        "later visits: key figures": (firsts, hellos),
        "later visits: chart": (charts, hellos),
        "another ticker, key figures": (switched, hellos),
        "hello page, browser's own work": (hello_work, hello_work),
        "dashboard, browser's own work": (work, hello_work),
    }


def main(argv: list[str] | None = None) -> int:
    """Measure and print, medians with the range of the rounds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--api", required=True, help="address of a running service")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser's program")
    parser.add_argument("--tickers", default="AAPL,MSFT", help="to change between")
    parser.add_argument("--rounds", type=int, default=7, help="visits of each page (default 7)")
    parser.add_argument("--starts", type=int, default=3, help="servers started (default 3)")
    wish = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        script = Path(folder) / "hello.py"
        script.write_text(HELLO)
        browser = playwright.chromium.launch(executable_path=wish.chromium, args=QUIET)
        found = rows(browser, script, wish)
        browser.close()
    for name, (seconds, hello) in found.items():
        middle, low, high = statistics.median(seconds), min(seconds), max(seconds)
        ratio = middle / statistics.median(hello)
        print(f"{name:<32}{middle:6.2f} s  ({low:.2f} to {high:.2f})  {ratio:5.2f} times hello")
    return 0


if __name__ == "__main__":
    sys.exit(main())
