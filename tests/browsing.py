"""A visitor with a real Chromium: opening the dashboard, waiting for it, walking it by keyboard."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import httpx
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

PATIENCE = 60_000  # milliseconds until the page must stand
QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
TABS = {  # with what the heading of each begins or ends with
    "Predictions": "the next",
    "Compare": "side by side",
    "Scores": "how good the model is",
    "MLflow runs": "training runs",
    "Drift": "drift since training",
    "Info": "What runs here",
}
# asked of the whole page at once: what stood a moment ago may be on its way out
SETTLED = """() => {
  const shown = (mark) => [...document.querySelectorAll(mark)].filter(e => e.offsetParent);
  return document.querySelector('[data-testid=stApp][data-test-script-state=notRunning]')
    && !shown('[data-testid=stSkeleton]').length
    && shown('[data-testid=stPlotlyChart]').every(e => e.querySelector('.main-svg'));
}"""
AT_ONCE = "*, *::before, *::after { transition: none !important; animation: none !important; }"
# What can be operated and is shown, and is no part of a group that arrow keys walk through
CONTROLS = """() => [...document.querySelectorAll(
    'button, a[href], input, select, textarea, summary')]
  .filter(e => e.tabIndex >= 0 && !e.disabled && e.getAttribute('role') !== 'radio'
    && e.checkVisibility({checkVisibilityCSS: true}))
  .map(e => e.dataset.stop = e.dataset.stop ?? String(Math.random()))"""
# Where the focus is now, and whether where it was before looks otherwise without it
STOP = """() => {
  const looks = ['outline', 'boxShadow', 'borderColor', 'backgroundColor', 'color', 'opacity'];
  const around = (e) => {
    const all = [...e.querySelectorAll('*')].slice(0, 12);
    for (let n = e, i = 0; n && i < 8; n = n.parentElement, i++) all.push(n);
    return all;
  };
  const drawn = (all) => JSON.stringify(all.flatMap(n => ['', '::before', '::after'].map(part => {
    const style = getComputedStyle(n, part);
    return looks.map(look => style[look]);
  })));
  const was = window.wasAt, e = document.activeElement;
  const left = was && {...was.told, seen: drawn(was.around) !== was.drawn};
  if (e === document.body) { window.wasAt = null; return left; }
  const box = e.getBoundingClientRect(), main = document.querySelector('[data-testid=stMain]');
  const told = {id: e.dataset.stop ?? '', tag: e.tagName, role: e.getAttribute('role') ?? '',
    name: (e.getAttribute('aria-label') || e.innerText || e.value || '').trim().slice(0, 40),
    top: box.top + main.scrollTop, bottom: box.bottom + main.scrollTop, left: box.left,
    right: box.right};
  const near = around(e);
  window.wasAt = {told, around: near, drawn: drawn(near)};
  return left;
}"""


@dataclass
class Visit:
    """One open page and what the browser complained about."""

    page: Page
    complaints: list[str] = field(default_factory=list)


def opened(browser: Browser, url: str, width: int, scheme: str = "light", **query: str) -> Visit:
    """A visitor of the dashboard, with a screen as wide as said."""
    seen = watched(browser, width, scheme)
    seen.page.goto(f"{url}/?{httpx.QueryParams(query)}")
    expect(seen.page.get_by_text("not investment advice")).to_be_visible(timeout=PATIENCE)
    settled(seen.page)
    return seen


def watched(browser: Browser, width: int, scheme: str = "light") -> Visit:
    """An empty page of a visitor of his own; complaints are gathered from the first byte on."""
    context = browser.new_context(
        viewport={"width": width, "height": 1000},
        color_scheme="dark" if scheme == "dark" else "light",
        accept_downloads=True,
    )
    seen = Visit(context.new_page())
    seen.page.on("console", lambda said: about_a_file(said) or note(seen, said.type, said.text))
    seen.page.on("pageerror", lambda error: note(seen, "error", str(error)))
    seen.page.on("request", lambda request: note_outsider(seen, request.url))
    return seen


def about_a_file(said: ConsoleMessage) -> bool:
    """Streamlit fetches a file to download whenever it draws its button, only to see whether it is
    there; where two runs of the script follow at once, the first one's has been replaced."""
    gone = "/media/" in said.location["url"] and said.text.endswith("404 (Not Found)")
    return gone or "Download Button source error - 404" in said.text


def note(seen: Visit, kind: str, text: str) -> None:
    if kind == "error":
        seen.complaints.append(text)


def note_outsider(seen: Visit, url: str) -> None:
    if not re.match(r"(https?|ws)://127\.0\.0\.1|data:|blob:", url):
        seen.complaints.append(f"asked the internet for {url}")


def settled(page: Page) -> None:
    """Return once the script has run and every chart stands."""
    page.wait_for_function(SETTLED, timeout=PATIENCE)


def open_tab(page: Page, name: str) -> None:
    tab = page.get_by_role("tab", name=name, exact=True)
    tab.click()
    is_open(page, name)


def is_open(page: Page, name: str) -> None:
    """Return once a tab is the open one and what is in it stands."""
    tab = page.get_by_role("tab", name=name, exact=True)
    expect(tab).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("heading", level=2, name=TABS[name])).to_be_visible()
    settled(page)


def controls(page: Page) -> set[str]:
    """Marks, by which `walk` names them, of all there is to operate."""
    return set(page.evaluate(CONTROLS))


def walk(page: Page, most: int = 150) -> list[dict[str, Any]]:
    """Press Tab from the document's first link to its end; every place where the focus was."""
    page.add_style_tag(content=AT_ONCE)
    page.evaluate("window.wasAt = null")
    page.get_by_role("link", name="Skip to main content").focus()
    page.keyboard.press("Tab")  # there and back, since a script's focus is not drawn
    page.keyboard.press("Shift+Tab")
    page.evaluate(STOP)
    stops: list[dict[str, Any]] = []
    for _ in range(most):
        page.keyboard.press("Tab")
        stops.append(page.evaluate(STOP))
        if page.evaluate("document.activeElement === document.body"):
            return stops
    raise AssertionError(f"the focus never left the page: {stops[-3:]}")
