"""Five hundred tickers: every list comes in pages that together are the whole."""

from __future__ import annotations

import pytest
from fake_desk import FakeDesk
from fake_pages import FakePages
from starlette.testclient import TestClient

from app import create_app

MANY = tuple(f"T{number:03}" for number in range(481))


@pytest.fixture
def client(settings):
    pages = FakePages(known=MANY, checked_tickers=481)
    app = create_app(lambda _: FakeDesk(known=MANY), lambda _: pages)
    with TestClient(app, "http://test") as opened:
        yield opened


def gathered(ask, names) -> list[str]:
    """Every row of a list, page by page."""
    found, offset = [], 0
    while offset is not None:
        answer = ask(offset)
        assert answer["total"] == len(MANY)
        found += names(answer)
        offset = answer["next_offset"]
    return found


PAGED = {
    "/tickers?limit=50": lambda answer: answer["tickers"],
    "/info?limit=50": lambda answer: [row["ticker"] for row in answer["tickers"]],
    "/drift?limit=50": lambda answer: [row["ticker"] for row in answer["checks"]],
}


@pytest.mark.parametrize("path", PAGED)
def test_the_pages_together_are_the_whole_list(client, path):
    assert len(PAGED[path](client.get(path).json())) == 50
    asked = gathered(lambda offset: client.get(f"{path}&offset={offset}").json(), PAGED[path])
    assert asked == list(MANY)


def test_a_batch_without_tickers_goes_through_all_of_them(client):
    def ask(offset: int) -> dict:
        body = {"steps": 1, "limit": 100, "offset": offset}
        return client.post("/predict/batch", json=body).json()

    assert gathered(ask, lambda answer: list(answer["predictions"])) == list(MANY)


def test_a_batch_of_named_tickers_is_paged_alike(client):
    body = {"tickers": ["T003", "NOPE", "T001"], "steps": 1, "limit": 2}
    first = client.post("/predict/batch", json=body).json()
    assert (list(first["predictions"]), list(first["errors"])) == (["T003"], ["NOPE"])
    assert (first["total"], first["next_offset"]) == (3, 2)
    last = client.post("/predict/batch", json=body | {"offset": 2}).json()
    assert (list(last["predictions"]), last["next_offset"]) == (["T001"], None)


def test_tickers_come_all_at_once_unless_a_page_is_asked_for(client):
    answer = client.get("/tickers").json()
    assert answer == {"tickers": list(MANY), "total": 481, "next_offset": None}


def test_a_search_finds_what_is_inside_a_symbol_in_any_case(client):
    answer = client.get("/tickers?search=t48&limit=1").json()
    assert answer == {"tickers": ["T480"], "total": 1, "next_offset": None}
    assert client.get("/tickers?search=nobody").json()["tickers"] == []


@pytest.mark.parametrize("path", PAGED)
def test_beyond_the_end_there_is_nothing(client, path):
    answer = client.get(f"{path}&offset=1000").json()
    assert (PAGED[path](answer), answer["total"], answer["next_offset"]) == ([], 481, None)


@pytest.mark.parametrize("wrong", ["limit=0", "limit=1001", "offset=-1", "offset=x"])
def test_a_page_that_makes_no_sense_is_refused(client, wrong):
    assert client.get(f"/tickers?{wrong}").status_code == 422
    assert client.get(f"/info?{wrong}").status_code == 422


def tables_with(shown, value: str) -> list:
    """Tables that name a ticker."""
    tables = [one.value for one in shown.dataframe]
    return [table for table in tables if value in set(table.get("Ticker", ()))]


@pytest.mark.parametrize("tab", ["Info", "Drift"])
def test_the_page_loads_the_fifty_rows_that_it_shows(page, behind, tab):
    answer = behind(FakeDesk(known=MANY), FakePages(known=MANY, checked_tickers=481))
    shown = page(answer, tab=tab)
    (table,) = tables_with(shown, "T001")
    assert list(table["Ticker"]) == list(MANY[:50])
    assert shown.number_input[0].label == "Page, of 10"
    shown.number_input[0].set_value(10).run()
    (table,) = tables_with(shown, "T480")
    assert list(table["Ticker"]) == list(MANY[450:])
    assert "Rows 451 to 481 of 481" in [caption.value for caption in shown.caption]
    assert not shown.exception and not shown.error


def test_any_of_five_hundred_tickers_can_be_chosen(page, behind):
    answer = behind(FakeDesk(known=MANY), FakePages(known=MANY))
    shown = page(answer)
    assert shown.selectbox(key="ticker").options == list(MANY)
    shown.selectbox(key="ticker").set_value("T444").run()
    assert not shown.exception and not shown.error
    compare = page(answer, tab="Compare")
    assert len(compare.multiselect(key="with").value) == 4, "a few, not all of them"
