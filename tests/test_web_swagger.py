"""The page at `/docs` in a real browser: it works, and asks nobody but the service."""

from __future__ import annotations

import os

import httpx
import pytest
from browsing import PATIENCE, QUIET, watched
from conftest import absent
from playwright.sync_api import expect, sync_playwright
from project import ROOT, Project, free_port

from web import swagger


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A service with invented answers, as a process of its own."""
    if swagger.files() is None:
        absent("fastapi-offline is not installed; make install", "REQUIRE_BROWSER")
    address = f"http://127.0.0.1:{(port := free_port())}"
    served = ("uvicorn", "fake_desk:app", "--app-dir", str(ROOT / "tests"), "--port", str(port))
    project = Project(tmp_path_factory.mktemp("docs"))
    ours = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    with project.serving(*served, until=f"{address}/health", PYTHONPATH=ours):
        yield address


@pytest.mark.browser
def test_the_page_shows_every_operation_and_asks_nobody_else(url, chromium):
    paths = httpx.get(f"{url}/openapi.json").json()["paths"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        seen = watched(browser, 1280)
        asked: list[str] = []
        seen.page.on("request", lambda request: asked.append(request.url))
        seen.page.goto(f"{url}/docs")
        shown = seen.page.locator(".opblock")
        every = sum(len(operations) for operations in paths.values())
        expect(shown).to_have_count(every, timeout=PATIENCE)
        tried = seen.page.locator("#operations-service-health_health_get")
        tried.get_by_role("button").first.click()
        tried.get_by_role("button", name="Try it out").click()
        tried.get_by_role("button", name="Execute").click()
        expect(tried.locator(".live-responses-table")).to_contain_text('"status"')
        browser.close()
    assert seen.complaints == []
    assert [address for address in asked if not address.startswith((url, "data:"))] == []


def test_no_other_file_of_the_package_is_served(url):
    for name in ("redoc.standalone.js", "..%2F__init__.py", "favicon.png"):
        assert httpx.get(f"{url}/docs/{name}").status_code in (404, 422), name


def test_the_files_are_packed_and_kept_for_a_day(url):
    said = httpx.get(f"{url}/docs/{swagger.SCRIPT}")
    assert (said.status_code, said.headers["content-encoding"]) == (200, "gzip")
    assert said.headers["cache-control"] == "public, max-age=86400"
    assert said.headers["content-type"].startswith("text/javascript")


def test_without_the_package_the_page_says_so_and_names_the_schema(service, monkeypatch):
    monkeypatch.setattr(swagger, "_PACKAGE", "no_such_package")
    client = service()
    assert client.get(f"/docs/{swagger.SCRIPT}").status_code == 404
    assert "could not be loaded" in client.get("/docs").text
