"""The page: the real script and client on a pretend wire, behind which stands the real service."""

from __future__ import annotations

import os
import subprocess
import sys

import httpx
import pytest
import streamlit as st
from conftest import ROOT
from fake_desk import FakeDesk
from fake_pages import FakePages
from shown import everything, figures, refuse, texts

from views.page import load

TABS = ["Predictions", "Compare", "Scores", "MLflow runs", "Drift", "Info"]


def test_the_first_view_is_a_forecast(page, behind):
    shown = page(behind(FakeDesk()))
    assert not shown.exception and not shown.error
    assert shown.title[0].value == "Stock price forecasts"
    assert "AAPL, the next 30 sessions" in texts(shown.header)
    assert [tab.label for tab in shown.tabs] == TABS


def test_only_the_open_tab_is_made(page, behind):
    desk = FakeDesk()
    shown = page(behind(desk), tab="Drift")
    assert desk.asked == []
    assert [len(tab.children) > 0 for tab in shown.tabs] == [tab == "Drift" for tab in TABS]


def test_the_address_bar_brings_a_view_back(page, behind):
    desk = FakeDesk()
    page(behind(desk), ticker="GOOGL", steps="60", smoothing="false")
    assert desk.asked == [("GOOGL", 60, False)]


@pytest.mark.parametrize("query", [{"steps": "many"}, {"steps": "9999"}, {"tab": "Nowhere"}])
def test_nonsense_in_the_address_bar_is_ignored(page, behind, query):
    desk = FakeDesk()
    shown = page(behind(desk), **query)
    assert not shown.exception
    assert desk.asked == [("AAPL", 30, True)]


def test_a_change_asks_for_what_was_chosen(page, behind):
    desk = FakeDesk()
    shown = page(behind(desk))
    shown.slider[0].set_value(45)
    shown.checkbox[0].uncheck()
    shown.selectbox[0].set_value("MSFT").run()
    assert desk.asked == [("AAPL", 30, True), ("MSFT", 45, False)]
    assert "MSFT, the next 45 sessions" in texts(shown.header)


def test_generate_asks_again_but_looking_around_does_not(page, behind):
    desk = FakeDesk()
    shown = page(behind(desk)).run()
    assert (len(desk.asked), len(desk.weighed)) == (1, 1)
    shown.button[0].click().run()
    assert (len(desk.asked), len(desk.weighed)) == (2, 2)


def test_any_symbol_may_be_typed(page, behind):
    desk = FakeDesk(known=("AAPL", "0700.HK"))
    pages = FakePages(known=desk.known)
    shown = page(behind(desk, pages), ticker=" 0700.hk ")
    assert desk.asked == [("0700.HK", 30, True)]
    assert not shown.error


@pytest.mark.parametrize("typed", ["../x", "[a](//x.y)", "A B"])
def test_what_is_no_symbol_is_said_and_another_can_be_chosen(page, behind, typed):
    shown = page(behind(FakeDesk()), ticker=typed)
    assert "is not a ticker symbol; expected something like AAPL" in shown.error[0].value
    assert "](" not in shown.error[0].value.replace("\\]", "")  # no link that somebody made
    assert not shown.selectbox[0].set_value("MSFT").run().error


def test_a_silent_service_is_said_plainly(page):
    shown = page(refuse)
    assert not shown.exception
    assert [error.value for error in shown.error] == [
        "The forecast service at http://127.0.0.1:8000 does not answer (connection refused); start "
        "it with: uvicorn app:app --port 8000, or set STOCK_API_URL to where it runs"
    ]
    assert [button.label for button in shown.button] == ["Try again"]


def test_a_service_that_comes_back_is_believed_at_once(page, behind, monkeypatch):
    shown = page(refuse)
    st.cache_resource.clear()  # the pretend wire is chosen when the client is made
    monkeypatch.setattr("api_client.wire", lambda: httpx.MockTransport(behind(FakeDesk())))
    shown.button[0].click().run()
    assert not shown.error
    assert len(figures(shown)) == 5


def test_a_slow_service_is_said_plainly(page):
    def late(_):
        raise httpx.ReadTimeout("too late")

    assert "did not answer in time; try again" in page(late).error[0].value


@pytest.mark.parametrize(
    ("status", "headers", "said", "again"),
    [
        (401, {}, "set STOCK_API_KEY where the page runs", False),
        (404, {}, "Choose another ticker above.", False),
        (429, {"Retry-After": "7"}, "was asked too often. Full up. Try again in 7 s.", True),
        (429, {}, "Try again in a moment.", True),
        (500, {}, "It is a bug of the service", True),
        (503, {"Retry-After": "30"}, "Full up. Try again in 30 s.", True),
        (503, {"Retry-After": "tomorrow"}, "Try again in a moment.", True),
    ],
)
def test_every_refusal_gets_a_sentence_and_a_way_on(page, behind, status, headers, said, again):
    healthy = behind(FakeDesk())
    body = {"type": "/problems/x", "title": "X", "status": status, "detail": "Full up"}

    def answer(request):
        sick = request.url.path == "/predict"
        return httpx.Response(status, headers=headers, json=body) if sick else healthy(request)

    shown = page(answer)
    assert not shown.exception
    assert said in shown.error[0].value
    assert ("Try again" in [button.label for button in shown.button]) == again


def test_a_proxy_in_the_way_is_said_plainly(page):
    shown = page(lambda _: httpx.Response(502, text="<html>Bad Gateway</html>"))
    assert "answered 502 Bad Gateway; its log says why" in shown.error[0].value


def test_an_answer_of_another_version_is_said_plainly(page):
    shown = page(lambda _: httpx.Response(200, json={"surprise": 1}))
    assert "are the service and this page of the same version?" in shown.error[0].value


def test_a_misspelt_setting_is_named(page, monkeypatch):
    monkeypatch.setenv("STOCK_API_ULR", "http://x")
    shown = page(refuse)
    assert "unknown setting STOCK_API_ULR" in shown.error[0].value
    assert not shown.button


def test_a_service_without_tickers_says_what_to_do(page, behind):
    shown = page(behind(FakeDesk(known=())))
    assert "python train.py AAPL" in shown.info[0].value
    assert not shown.exception


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_stands_and_has_the_disclaimer(page, behind, tab):
    shown = page(behind(FakeDesk()), tab=tab)
    assert not shown.exception and not shown.error
    assert len(shown.header) == 1
    assert "not investment advice" in everything(shown)


@pytest.mark.parametrize("tab", TABS)
def test_no_tab_falls_to_a_service_that_fails_at_everything(page, behind, tab):
    healthy = behind(FakeDesk())
    body = {"type": "/problems/x", "title": "X", "status": 503, "detail": "Down for now"}

    def answer(request):
        kept = request.url.path == "/tickers"
        return healthy(request) if kept else httpx.Response(503, json=body)

    shown = page(answer, tab=tab)
    assert not shown.exception
    assert "Down for now. Try again in a moment." in shown.error[0].value
    assert "not investment advice" in everything(shown)


def test_the_page_shows_its_key_to_the_service_and_to_nobody_else(page, behind, monkeypatch):
    monkeypatch.setenv("STOCK_API_KEY", "stock_secret")
    sent = []
    healthy = behind(FakeDesk())

    def answer(request):
        sent.append(request.headers.get("Authorization"))
        return healthy(request)

    shown = page(answer, command="true")
    assert set(sent) == {"Bearer stock_secret"}
    assert "secret" not in everything(shown) + shown.code[0].value
    assert shown.code[0].value.startswith('curl -H "Authorization: Bearer $STOCK_API_KEY"')


AS_THE_SERVER = """
import asyncio, sys, streamlit_app
async def start():
    async with streamlit_app.ready(streamlit_app.app):
        print(sorted({'app', 'fastapi', 'predict', 'onnxruntime', 'mlflow'} & set(sys.modules)))
        print(sorted({'views.info', 'plotly.graph_objs', 'httpcore'} & set(sys.modules)))
asyncio.run(start())
"""


def test_the_server_loads_the_page_before_a_visit_and_neither_service_nor_models():
    run = subprocess.run(
        [sys.executable, "-c", AS_THE_SERVER],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.stdout.split("\n")[:2] == [
        "[]",
        "['httpcore', 'plotly.graph_objs', 'views.info']",
    ], run.stderr


def test_a_wrong_setting_is_told_to_visitors_and_keeps_no_server_from_starting(
    page, behind, monkeypatch
):
    answer = behind(FakeDesk())
    monkeypatch.setenv("STOCK_PREDICTION_STEPS", "many")
    load()
    assert "STOCK_PREDICTION_STEPS='many'" in page(answer).error[0].value
