"""The published schema, held to by the service: generated requests, golden answers, fuzzing."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import hypothesis
import pytest
import schemathesis
from fake_desk import FakeDesk
from fake_pages import FakePages
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from schemathesis.engine import events, from_schema
from starlette.testclient import TestClient

import schemas
from app import create_app
from contracts import InvalidTicker, parse_ticker
from web.keys import new_key
from web.problems import STATUS_OF

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).parent / "golden"
UPDATE = "UPDATE_GOLDEN"  # set to 1 to write the golden answers anew, on purpose
STREAM = "^/stream/"  # never ends; test_stream.py listens to it


class Everyone(tuple[str, ...]):
    """Tickers that any symbol is among, so that generated ones are answered."""

    def __contains__(self, ticker: object) -> bool:
        return True


KNOWN = Everyone(("AAPL", "GOOGL", "MSFT"))


@pytest.fixture
def service(settings, monkeypatch) -> Iterator[TestClient]:
    """The service on fake parts that know every symbol."""
    monkeypatch.setenv("STOCK_OPERATE_WITHOUT_KEY", "true")
    app = create_app(lambda _: FakeDesk(known=KNOWN), lambda _: FakePages(known=KNOWN))
    with TestClient(app, "http://test", raise_server_exceptions=False) as client:
        yield client


# Whatever the schema allows or forbids

NOT_FOR_ALL = [
    # JSON Schema cannot say of query parameters that exactly one of three is given
    {"include-path": "/probability", "checks": {"positive_data_acceptance": {"enabled": False}}}
]


# schemathesis' own list, and what it does not know: a body, an address or headers too long
REFUSED = {
    "negative_data_rejection": {
        "expected-statuses": [400, 401, 403, 404, 405, 406, 409, 413, 414, 415, 422, 428, 429, 431]
    }
}


def contract(client: TestClient, wish: dict) -> tuple[Counter[str], list[str]]:
    """How often schemathesis made each check, every one on, and what it objects to."""
    settled = {"seed": 1, "continue-on-failure": True, "operations": NOT_FOR_ALL, "checks": REFUSED}
    config = schemathesis.Config.from_dict(settled | wish)
    published = schemathesis.openapi.from_asgi("/openapi.json", client.app, config=config)
    made: Counter[str] = Counter()
    objections: list[str] = []
    for event in from_schema(published.exclude(path_regex=STREAM)).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            objections.append(f"{event}")
        if isinstance(event, events.ScenarioFinished):
            made.update(check.name for checks in event.recorder.checks.values() for check in checks)
            made[event.phase.value] += len(event.recorder.cases)
            objections += objected(event)
    return made, objections


def drawn(examples: int) -> dict:
    """So many requests per route and kind, the same ones each time."""
    return {"generation": {"max-examples": examples, "database": "none"}}


def objected(event: events.ScenarioFinished) -> list[str]:
    """Each failed check of a scenario, with the request that anybody can repeat."""
    failed = (
        check.failure_info
        for checks in event.recorder.checks.values()
        for check in checks
        if check.failure_info
    )
    return [f"{event.label}: {one.failure.title}: {one.code_sample}" for one in failed]


def test_the_service_keeps_to_its_schema_whatever_is_sent(service):
    made, objections = contract(service, drawn(8))
    assert objections == []
    assert made["coverage"] > 300 and made["fuzzing"] > 100
    assert made["negative_data_rejection"] > 100 and made["response_schema_conformance"] > 100


def test_no_route_ignores_that_it_asks_for_a_key(settings, monkeypatch):
    key, known = new_key("tests", "operate")
    monkeypatch.setenv("STOCK_API_KEYS", known.line())
    app = create_app(lambda _: FakeDesk(known=KNOWN), lambda _: FakePages(known=KNOWN))
    with TestClient(app, "http://test", raise_server_exceptions=False) as client:
        shown = {"headers": {"Authorization": f"Bearer {key}"}}
        only = {"phases": {"coverage": {"enabled": False}, "stateful": {"enabled": False}}}
        made, objections = contract(client, drawn(3) | shown | only)
    assert objections == []
    assert made["ignored_auth"] > 50


@pytest.mark.long
def test_the_service_keeps_to_its_schema_for_thousands_of_requests(service):
    made, objections = contract(service, drawn(250))
    assert objections == []
    assert made["fuzzing"] > 2000


# What the schema has to say


def described(client: TestClient) -> dict:
    return client.get("/openapi.json").json()


def test_every_body_has_an_example_that_fits_it(service):
    document = described(service)
    used = set(
        re.findall(
            r'schema": {"\$ref": "#/components/schemas/(\w+)"', json.dumps(document["paths"])
        )
    )
    assert len(used) > 15
    for name in used:
        kind: type[BaseModel] = getattr(schemas, name)
        example = document["components"]["schemas"][name].get("example")
        assert example is not None, f"{name} has no example"
        sent = kind.model_validate(example).model_dump(mode="json", exclude_unset=True)
        assert sent == example, name


def test_every_route_has_a_tag(service):
    for path, operations in described(service)["paths"].items():
        assert all(operation["tags"] for operation in operations.values()), path


def test_every_number_is_described_or_counts_something(service):
    counts = {"status", "request", "rows", "seed", "version", "bytes", "limit", "shrinkage"}
    for name, schema in described(service)["components"]["schemas"].items():
        for field, body in schema.get("properties", {}).items():
            if body.get("type") == "number":
                assert body.get("description") or field in counts, f"{name}.{field} has no unit"


def test_the_documentation_names_every_kind_of_problem_with_its_status():
    text = (ROOT / "docs" / "API.md").read_text()
    rows = re.findall(r"^\| `/problems/(\w+)` \| (\d{3}) \|", text, re.M)
    told = {code: int(status) for code, status in rows}
    assert STATUS_OF.items() <= told.items()


def test_the_documentation_names_every_route(service):
    text = (ROOT / "docs" / "API.md").read_text()
    for path, operations in described(service)["paths"].items():
        for method in operations:
            assert f"`{method.upper()} {path}`" in text, (method, path)


# Golden answers: what a client of version 1 reads today

QUESTIONS = {
    "predict": "/predict?ticker=AAPL&steps=3",
    "predict_unsmoothed": "/predict?ticker=AAPL&steps=2&smoothing=false",
    "probability": "/probability?ticker=AAPL&steps=30&above=300",
    "batch": {"tickers": ["AAPL", "ZZZZ"], "steps": 2, "smoothing": False},
    "problem_unknown_ticker": "/predict?ticker=ZZZZ",
    "problem_invalid_request": "/predict?ticker=AAPL&steps=0",
    "problem_invalid_ticker": "/predict?ticker=../x",
    "problem_not_found": "/nowhere",
}


@pytest.fixture
def strict_service(settings) -> Iterator[TestClient]:
    """The service that knows three tickers."""
    with TestClient(
        create_app(lambda _: FakeDesk(), lambda _: FakePages()), "http://test"
    ) as client:
        yield client


@pytest.mark.parametrize("name", QUESTIONS)
def test_an_answer_of_version_1_has_not_changed(strict_service, name):
    asked = QUESTIONS[name]
    if isinstance(asked, str):
        answer = strict_service.get(asked)
    else:
        answer = strict_service.post("/predict/batch", json=asked)
    body = answer.json()
    if "request_id" in body:  # another one each time
        assert body["request_id"] == answer.headers["x-request-id"]
        body["request_id"] = "..."
    told = json.dumps({"status": answer.status_code, "body": body}, indent=2) + "\n"
    kept = GOLDEN / f"{name}.json"
    if os.environ.get(UPDATE) == "1":
        kept.write_text(told)
    assert told == kept.read_text(), f"if that is meant: {UPDATE}=1 pytest {__file__}"


def test_no_golden_answer_is_left_of_a_question_nobody_asks():
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(QUESTIONS)


# Words and numbers that nobody thought of, against the real service

SYMBOLS = st.one_of(
    st.text(max_size=20),
    st.from_regex(r"\A\^?[A-Z0-9]{1,6}([.\-=][A-Z]{1,2})?\Z"),
    st.sampled_from(["AAPL", "aapl ", "../AAPL", "AAPL\0", "AAPL/..", "%41APL", "NaN", "AAPL\n"]),
)
NUMBERS = st.one_of(st.integers(-5, 5001), st.floats(), st.text(max_size=6)).map(str)
ROUTES = {
    "/predict": ("ticker", "steps", "smoothing", "strict"),
    "/probability": ("ticker", "steps", "above", "below", "touch"),
    "/compare": ("tickers", "steps", "last", "index"),
    "/correlations": ("tickers", "last"),
    "/prices/{ticker}": ("last", "index"),
    "/scores/{ticker}": (),
    "/models/{ticker}": (),
    "/performance/{ticker}": (),
    "/drift/{ticker}/history": ("limit",),
}


@pytest.fixture(scope="module")
def real(trained_project) -> Iterator[TestClient]:
    """The real service over real AAPL prices and a champion."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("STOCK_")]:
            patch.delenv(name)
        for name, value in trained_project.settings.items():
            patch.setenv(name, value)
        patch.chdir(trained_project.folder)
        with TestClient(create_app(), raise_server_exceptions=False) as client:
            yield client


@st.composite
def questions(draw) -> tuple[str, dict[str, str]]:
    """A route with anything in its path and its parameters."""
    route = draw(st.sampled_from(sorted(ROUTES)))
    query = {
        name: draw(SYMBOLS if name.startswith("ticker") else NUMBERS)
        for name in ROUTES[route]
        if name.startswith("ticker") or draw(st.booleans())
    }
    return route.replace("{ticker}", quote(draw(SYMBOLS), safe="")), query


def ask_anything(client: TestClient, count: int) -> Counter[int]:
    """Ask, and hold every answer to what all answers promise; how many had which status."""
    seen: Counter[int] = Counter()

    @hypothesis.settings(max_examples=count, deadline=None, database=None, derandomize=True)
    @given(question=questions())
    def hold(question: tuple[str, dict[str, str]]) -> None:
        path, query = question
        answer = client.get(path, params=query)
        seen[answer.status_code] += 1
        assert answer.status_code in (200, 404, 409, 422, 503), answer.text
        if answer.status_code != 200:
            assert answer.headers["content-type"] == "application/problem+json"
            assert set(answer.json()) >= {"type", "title", "status", "detail"}
        json.loads(answer.text, parse_constant=pytest.fail)  # NaN and Infinity are no JSON
        assert "Traceback" not in answer.text

    hold()
    return seen


def test_whatever_is_asked_is_answered_or_refused_as_documented(real):
    seen = ask_anything(real, 150)
    assert seen[200] > 0 and seen[422] > 0 and seen[404] > 0


@pytest.mark.long
def test_whatever_is_asked_is_answered_or_refused_thousands_of_times(real):
    assert sum(ask_anything(real, 5000).values()) >= 5000


@hypothesis.settings(max_examples=60, deadline=None)
@given(text=SYMBOLS)
def test_what_is_no_symbol_is_never_looked_for(text):
    try:
        assert re.fullmatch(r"\^?[A-Z0-9]+([.\-=][A-Z0-9]+)*", parse_ticker(text))
    except InvalidTicker as error:
        assert len(str(error)) < 200
