"""The tab about what runs, as a visitor sees it."""

from __future__ import annotations

import httpx
from fake_desk import FakeDesk
from fake_pages import FakePages
from shown import figures, texts

from contracts import NoChampion


def test_the_health_of_each_service_is_told(page, behind):
    found = figures(page(behind(FakeDesk()), tab="Info"))
    assert found["API"] == ("up", "version 0.1.0")
    assert found["MLflow"] == ("down", "does not answer, 06:00:00 UTC")
    assert found["Database"] == ("up", "answers, 06:00:00 UTC")


def test_trainer_and_monitor_say_what_they_did_last_and_what_is_next(page, behind):
    shown = page(behind(FakeDesk()), tab="Info")
    rows = shown.dataframe[0].value.set_index("Job").to_dict("index")
    assert rows["Monitor"] == {
        "At work": "yes",
        "Finished last": "drift check of AAPL",
        "When": "16 Jan 2026, 21:31 UTC",
        "Requests waiting": 0,
        "Next round": "20 Jan 2026, 21:30 UTC",
    }
    assert (rows["Trainer"]["At work"], rows["Trainer"]["Requests waiting"]) == ("no", 1)
    assert "Start one that is not at work with" in texts(shown.caption)


def test_every_ticker_has_its_data_range(page, behind):
    table = page(behind(FakeDesk()), tab="Info").dataframe[1].value
    assert list(table["Ticker"]) == ["AAPL", "GOOGL", "MSFT"]
    assert {str(day) for day in table["Through"]} == {"2025-12-31"}
    assert set(table["Prices"]) == {"imported file"}


def test_versions_are_told_as_the_service_tells_them_to_an_operator(page, behind):
    shown = page(behind(FakeDesk()), tab="Info")
    rows = shown.dataframe[2].value.set_index("What").to_dict("index")
    assert rows["This API"]["Runs here"] == "0.1.0"
    assert rows["numpy"]["Runs here"] == "2.4.6"
    assert rows["tensorflow"]["Trained AAPL"] == "2.21.0"


def test_a_page_that_may_only_read_says_why_there_are_no_library_versions(page, behind):
    whole = behind(FakeDesk())

    def answer(request):
        said = whole(request).json()
        if request.url.path == "/info":
            said["libraries"] = {}
        if request.url.path == "/models/AAPL":
            said["card"]["versions"] = {}
        return httpx.Response(200, json=said)

    shown = page(answer, tab="Info")
    assert list(shown.dataframe[2].value["What"]) == ["This API"]
    assert "told to a page whose key may operate" in texts(shown.caption)


def test_settings_are_said_in_words(page, behind):
    table = page(behind(FakeDesk()), tab="Info").dataframe[3].value
    said = dict(zip(table["Setting"], table["Value"], strict=True))
    assert said == {
        "recipe": "panel",
        "prediction_steps": "30",
        "as_of": "not set",
        "refresh": "yes",
    }


def test_a_ticker_that_cannot_answer_is_named(page, behind):
    desk = FakeDesk(reasons={"AAPL": None, "MSFT": NoChampion("MSFT")})
    shown = page(behind(desk), tab="Info")
    assert "MSFT cannot answer: MSFT has no trained model yet" in texts(shown.warning)
    assert not shown.error


def test_the_rest_stands_without_the_facts(page, behind):
    healthy = behind(FakeDesk(), FakePages())
    sick = {"type": "/problems/x", "title": "X", "status": 503, "detail": "Away"}

    def answer(request):
        return httpx.Response(503, json=sick) if request.url.path == "/info" else healthy(request)

    shown = page(answer, tab="Info")
    assert "Away. Try again" in shown.error[0].value
    assert "Architecture" in texts(shown.subheader)
