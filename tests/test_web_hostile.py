"""Every route of the real service, asked with what attackers try: nothing breaks, nothing leaks."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from urllib.parse import quote

import pytest
from fake_desk import FakeDesk
from invented_forecasts import make_champion
from starlette.testclient import TestClient
from test_app import every_error

from app import create_app
from config import Settings
from contracts import ForecastingError

HOSTILE = (
    *("../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%00", "AAPL\x00", "AAPL/../../x", "~root"),
    *("'; DROP TABLE forecasts;--", '" OR 1=1', "${jndi:ldap://x/y}", "{{7*7}}", "$(id)", "`id`"),
    *(
        "<script>alert(1)</script>",
        "\u202eLPAA",
        "\U0001f600" * 50,
        "A" * 3000,
        "\r\nSet-Cookie: a=b",
    ),
    *("-1", "0", "1e309", "nan", "Infinity", "0x10", "9" * 40, "[]", "{}", "null", "true", "", " "),
    *("con", "file:///etc/passwd", "http://169.254.169.254/", "__class__", "%s%s%n", "*", "?a=b"),
)
BODIES = (
    *(b"", b"{", b"\xff\xfe", b"[" * 5000, b'{"tickers":' * 500, b"null", b'"AAPL"', b"0"),
    *(b'{"tickers": ["../../etc/passwd"]}', b'{"tickers": ["AAPL"], "steps": 1e400}'),
    *(b'{"tickers": ["AAPL"], "__class__": 1}', b'{"tickers": [{"$ne": null}]}'),
)
EXPECTED = {200, 202, 204, 304, 400, 403, 404, 405, 409, 413, 414, 422, 429, 431, 503}
LIBRARIES = ("fastapi", "starlette", "pydantic", "uvicorn", "sqlalchemy", "onnxruntime", "pandas")
TELLTALE = re.compile(
    r"Traceback|site-packages|\.py\b.*line \d|sqlite3?\.|psycopg|Errno|0x[0-9a-f]{9,}"
    r"|root:x:0|uvicorn|starlette|pydantic|onnxruntime",
    re.I,
)


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Iterator[TestClient]:
    """The real desk and pages in an empty folder, without network."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("empty")
        patch.chdir(folder)
        patch.setenv("STOCK_REFRESH", "false")
        patch.setenv("STOCK_ALLOW_SYNTHETIC", "false")
        with TestClient(create_app(), "http://test", raise_server_exceptions=False) as client:
            client.folder = folder
            yield client


def operations(client: TestClient) -> list[tuple[str, str, list[dict]]]:
    """Method, path and parameters of every documented route that ends."""
    paths = client.get("/openapi.json").json()["paths"]
    return [
        (method, path, operation.get("parameters", []))
        for path, rows in paths.items()
        for method, operation in rows.items()
        if not path.startswith("/stream/")
    ]


def addresses(path: str, parameters: list[dict]) -> Iterator[str]:
    """The path with each of its parameters hostile in turn, the others as they should be."""
    usual = {"ticker": "AAPL", "tickers": "AAPL,MSFT", "above": "300"}
    for wrong in parameters:
        for text in HOSTILE:
            query, there = [], path
            for row in parameters:
                value = text if row is wrong else usual.get(row["name"], "")
                if row["in"] == "path":
                    there = there.replace(f"{{{row['name']}}}", quote(value, safe="") or "x")
                elif value or row is wrong:
                    query.append(f"{row['name']}={quote(value, safe='')}")
            yield f"{there}?{'&'.join(query)}" if query else there


def assert_tells_nothing(answer, folder: object = "/srv") -> None:
    assert answer.status_code in EXPECTED, (answer.request.url, answer.text)
    shown = answer.text + str(dict(answer.headers))
    for text in (str(folder), sys.prefix, str(Settings.model_fields["pretrained_dir"].default)):
        assert text not in shown, (answer.request.url, shown)
    assert "set-cookie" not in answer.headers
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json", answer.request.url
        asked = str(answer.request.url)
        found = TELLTALE.search(answer.json()["detail"])
        assert not found or found[0] in asked, (asked, answer.text)


def test_no_hostile_parameter_breaks_a_route_or_shows_the_inside(real):
    count = 0
    for method, path, parameters in operations(real):
        for address in addresses(path, parameters):
            if method == "get":
                assert_tells_nothing(real.get(address), real.folder)
                count += 1
    assert count > 500


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:20]))
def test_no_hostile_body_breaks_a_route_or_shows_the_inside(real, body):
    for method, path, _ in operations(real):
        if method == "post":
            there = path.replace("{ticker}", "AAPL")
            for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x"):
                answer = real.post(there, content=body, headers={"Content-Type": kind})
                assert_tells_nothing(answer, real.folder)


@pytest.mark.parametrize(
    "path",
    [
        *("/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/static/../config.py", "/.env"),
        *("/.git/config", "/models/", "/models/AAPL/card.json", "/reports/../forecasts.db"),
        *("/admin", "/redoc", "/docs/oauth2-redirect", "/server-status", "/%00"),
    ],
)
def test_nothing_lies_where_scanners_look(real, path):
    answer = real.get(path, follow_redirects=False)
    assert answer.status_code in (404, 405, 422)
    assert_tells_nothing(answer, real.folder)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "X" * 50])
def test_other_methods_are_refused(real, method):
    answer = real.request(method, "/predict?ticker=AAPL")
    assert answer.status_code == 405
    assert_tells_nothing(answer, real.folder)


SECRET = '/srv/models/AAPL.onnx postgresql://stock:hunter2@10.0.0.5/db File "x.py", line 3'


OWN_WORDS = {"may_not_operate", "no_base"}  # raised in one place, with words and no place
FREE_TEXT = sorted(
    kind.code
    for kind in every_error()
    if kind.__init__ is ForecastingError.__init__ and kind.code not in OWN_WORDS
)


@pytest.mark.parametrize("code", FREE_TEXT)
def test_what_an_error_says_of_files_and_servers_stays_inside(service, code):
    kind = next(kind for kind in every_error() if kind.code == code)
    answer = service(FakeDesk(failures={"AAPL": kind(SECRET)})).get("/predict?ticker=AAPL")
    for secret in ("hunter2", "/srv", "10.0.0.5", "x.py"):
        assert secret not in answer.text


def test_a_bug_says_nothing_of_itself(service):
    bug = RuntimeError(SECRET)
    answer = service(FakeDesk(failures={"AAPL": bug})).get("/predict?ticker=AAPL")
    assert answer.status_code == 500
    assert answer.json()["type"] == "/problems/internal_error"
    assert "hunter2" not in answer.text and "RuntimeError" not in answer.text


def test_which_libraries_made_a_model_is_told_to_operators_only(service, monkeypatch):
    told = make_champion().card.versions
    assert service(client="10.0.0.7").get("/models/AAPL").json()["card"]["versions"] == {}
    assert service(client="127.0.0.1").get("/models/AAPL").json()["card"]["versions"] == told


def test_no_answer_names_a_library_and_its_version(service):
    client = service()
    for path in (
        "/",
        "/health",
        "/ready",
        "/tickers",
        "/predict?ticker=AAPL",
        "/models/AAPL",
        "/info",
    ):
        shown = client.get(path).text
        for library in LIBRARIES:
            assert version(library) not in re.findall(r'"([^"]*)"', shown), (path, library)


def test_the_schema_shows_no_place_and_no_library(real):
    shown = json.dumps(real.get("/openapi.json").json())
    assert str(real.folder) not in shown
    assert not re.search(r"starlette|uvicorn|onnxruntime|sqlalchemy|/srv/|/home/", shown)
