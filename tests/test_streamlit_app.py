"""The page: the real script and client on a pretend wire, behind which stands the real service."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import httpx
import pytest
import streamlit as st
from conftest import ROOT
from fake_desk import (
    FILE,
    FakeDesk,
    cold_desk,
    make_forecast,
    make_probability,
    stale_desk,
    synthetic_desk,
)
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

import api_client
import wording
from app import create_app
from config import Settings
from contracts import BadBundle, LogUnavailable, NoChampion
from forecast_chart import forecast_chart
from schemas import ForecastOut

Answer = Callable[[httpx.Request], httpx.Response]
Page = Callable[[Answer], AppTest]


@pytest.fixture
def page(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Page:
    """Open the page with `answer` at the other end of the wire."""

    def open_page(answer: Answer, **query: str) -> AppTest:
        st.cache_data.clear()
        st.cache_resource.clear()
        monkeypatch.setattr(api_client, "wire", lambda: httpx.MockTransport(answer))
        shown = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=30)
        for name, value in query.items():
            shown.query_params[name] = value
        return shown.run()

    return open_page


@pytest.fixture
def behind(settings: Settings) -> Iterator[Callable[[FakeDesk], Answer]]:
    """The real service on a fake desk, as the other end of a wire."""
    running: list[TestClient] = []

    def answer_of(desk: FakeDesk) -> Answer:
        service = TestClient(create_app(lambda _: desk))
        running.append(service.__enter__())

        def answer(request: httpx.Request) -> httpx.Response:
            said = service.get(request.url.raw_path.decode())
            return httpx.Response(said.status_code, headers=said.headers, content=said.content)

        return answer

    yield answer_of
    for service in running:
        service.__exit__()


def refuse(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused")


def texts(elements) -> str:
    return "\n".join(str(element.value) for element in elements)


def test_the_first_view_is_a_forecast(page, behind):
    shown = page(behind(FakeDesk()))
    assert not shown.exception and not shown.error
    assert shown.title[0].value == "Stock price forecasts"
    assert "AAPL, the next 30 sessions" in texts(shown.subheader)
    assert [tab.label for tab in shown.tabs] == ["Forecast", "Model & MLflow runs", "Drift"]


def test_the_key_figures_are_those_of_the_service(page, behind):
    shown = page(behind(FakeDesk()))
    answer = make_forecast()
    band = answer.bands["80"]
    assert {metric.label: metric.value for metric in shown.metric} == {
        "Last mid-price, 31 Dec 2025": "272.72 USD",
        "Last close, 31 Dec 2025": "271.86 USD",
        "Next session, 2 Jan 2026": f"{answer.prices[0]:.2f} USD",
        "In 30 sessions, 12 Feb 2026": f"{answer.prices[-1]:.2f} USD",
        "Chance above last close": "51 %",
    }
    assert shown.metric[3].delta == f"80 % band {band.lower[-1]:.2f} to {band.upper[-1]:.2f}"


def test_the_chance_is_asked_at_the_last_close_and_the_horizon(page, behind):
    desk = FakeDesk()
    shown = page(behind(desk), ticker="MSFT", steps="45")
    assert desk.weighed == [("MSFT", 45, "above", 271.86)]
    wanted = make_probability("MSFT", 45, "above", 271.86)
    figure = shown.metric[4]
    assert figure.value == f"{100 * wanted.probability:.0f} %"
    assert figure.delta == "on 5 Mar 2026, 1,000 paths"


def test_generate_asks_for_the_chance_again_too(page, behind):
    desk = FakeDesk()
    shown = page(behind(desk)).run()
    assert len(desk.weighed) == 1
    shown.button[0].click().run()
    assert len(desk.weighed) == 2


@pytest.mark.parametrize(
    ("probability", "said"),
    [
        (0.0005, "under 1 %"),
        (0.0099, "under 1 %"),
        (0.01, "1 %"),
        (0.137, "14 %"),
        (0.5, "50 %"),
        (0.99, "99 %"),
        (0.9951, "over 99 %"),
        (0.9995, "over 99 %"),
    ],
)
def test_a_chance_is_never_said_to_be_certain(probability, said):
    assert wording.chance(probability) == said


def test_generate_asks_for_what_was_chosen(page, behind):
    desk = FakeDesk()
    shown = page(behind(desk))
    shown.selectbox[0].set_value("MSFT")
    shown.slider[0].set_value(45)
    shown.checkbox[0].uncheck()
    shown.button[0].click().run()
    assert desk.asked == [("AAPL", 30, True), ("MSFT", 45, False)]
    assert "MSFT, the next 45 sessions" in texts(shown.subheader)
    assert "smoothed_price" not in shown.get("dataframe")[0].value.columns


def test_generate_asks_again_but_looking_around_does_not(page, behind):
    desk = FakeDesk()
    shown = page(behind(desk)).run()
    assert len(desk.asked) == 1
    shown.button[0].click().run()
    assert len(desk.asked) == 2


def test_the_address_bar_brings_a_view_back(page, behind):
    desk = FakeDesk()
    page(behind(desk), ticker="GOOGL", steps="60", smoothing="false")
    assert desk.asked == [("GOOGL", 60, False)]


@pytest.mark.parametrize("query", [{"ticker": "../x"}, {"steps": "many"}, {"steps": "9999"}])
def test_nonsense_in_the_address_bar_is_ignored(page, behind, query):
    desk = FakeDesk()
    shown = page(behind(desk), **query)
    assert not shown.exception
    assert desk.asked == [("AAPL", 30, True)]


def test_the_verdict_is_said_in_plain_words(page, behind):
    shown = page(behind(FakeDesk()))
    assert shown.warning[0].value.startswith(
        "Over the held-out sessions this model is **worse** than simply repeating the last close: "
        "its error is 3.1 times as large. Treat it as illustration."
    )


@pytest.mark.parametrize(
    ("verdict", "times", "said"),
    [
        ("worse than the last price", 3.123, "worse than .*3.1 times.*illustration"),
        ("worse than the last price", 1.123, "worse than .*1.12 times"),
        ("no better than the last price", 1.02, "no better than .*1.02 times.*chance"),
        ("better than the last price", 0.953, "is better than .*0.95 times as large"),
    ],
)
def test_every_verdict_has_its_sentence(verdict, times, said):
    skill = ForecastOut.of(make_forecast()).skill
    skill = skill.model_copy(update={"verdict": verdict, "rmse_ratio": times})
    assert re.search(said, wording.verdict_sentence(skill).replace("*", ""))


def test_real_prices_are_not_called_synthetic_or_stale(page, behind):
    shown = page(behind(FakeDesk()))
    assert "synthetic" not in everything(shown).lower()
    assert "stale" not in everything(shown).lower()
    assert "imported file" in everything(shown)


def test_synthetic_prices_cannot_be_overlooked(page, behind):
    shown = page(behind(synthetic_desk()))
    assert "SYNTHETIC PRICES" in shown.error[0].value
    assert "SYNTHETIC PRICES" in shown.get("plotly_chart")[0].proto.spec


def test_a_cold_start_is_said_in_plain_words(page, behind):
    shown = page(behind(cold_desk()))
    assert "Cold start: no model of its own yet" in everything(shown)
    assert not shown.error
    assert "AAPL has no trained model yet" in shown.tabs[1].info[0].value


def test_a_model_of_its_own_is_not_called_a_cold_start(page, behind):
    assert "cold start" not in everything(page(behind(FakeDesk()))).lower()


def test_stale_prices_are_marked(page, behind):
    assert "Stale: 4 sessions have ended since" in everything(page(behind(stale_desk())))


def everything(shown: AppTest) -> str:
    return texts([*shown.markdown, *shown.error, *shown.warning, *shown.caption, *shown.subheader])


def test_every_row_of_a_synthetic_file_says_so():
    forecast = ForecastOut.of(make_forecast(data=replace(FILE, source="synthetic")))
    rows = csv.DictReader(io.StringIO(wording.csv_of(forecast)))
    assert [row["source"] for row in rows] == ["synthetic"] * 30


@pytest.mark.parametrize("smoothing", [True, False])
def test_the_file_holds_exactly_what_the_service_said(smoothing):
    forecast = ForecastOut.of(make_forecast(steps=9, smoothing=smoothing))
    rows = list(csv.DictReader(io.StringIO(wording.csv_of(forecast))))
    assert [row["date"] for row in rows] == [day.isoformat() for day in forecast.dates]
    assert [float(row["price"]) for row in rows] == forecast.prices
    assert [float(row["upper_95"]) for row in rows] == forecast.intervals["95"].upper
    assert [float(row["raw_prediction"]) for row in rows] == forecast.raw_predictions
    assert ("smoothed_price" in rows[0]) == smoothing
    assert {(row["ticker"], row["source"], row["as_of"]) for row in rows} == {
        ("AAPL", "file", "2025-12-31")
    }


def test_the_chart_draws_the_answer_from_the_last_price_on():
    forecast = ForecastOut.of(make_forecast(steps=12))
    lines = {line.name: line for line in forecast_chart(forecast).data if line.name}
    assert list(lines["Forecast"].y) == [272.72, *forecast.prices]
    assert list(lines["Smoothed forecast (EMA)"].y) == [272.72, *(forecast.smoothed_prices or [])]
    assert set(lines["Last close, repeated"].y) == {271.86}
    assert list(lines["80 % band"].y)[1:] == forecast.intervals["80"].lower
    assert list(lines["80 % band"].customdata)[1:] == forecast.intervals["80"].upper
    assert lines["Forecast"].x[0] == "31 Dec 2025"
    assert lines["Forecast"].x[1] == "2 Jan 2026"


def test_a_chart_says_its_unit():
    drawing = forecast_chart(ForecastOut.of(make_forecast()))
    assert drawing.layout.yaxis.title.text == "AAPL mid-price (USD)"
    assert drawing.layout.xaxis.title.text == "Exchange session"


def test_a_forecast_without_bands_is_drawn_without_them():
    forecast = ForecastOut.of(replace(make_forecast(), bands={}))
    assert not [line for line in forecast_chart(forecast).data if "band" in (line.name or "")]
    assert wording.band_at(forecast, 0) == "80 % band not known yet"
    assert "lower_80" not in wording.csv_of(forecast)


def test_the_command_shown_is_the_very_request(page, behind):
    shown = page(behind(FakeDesk()))
    assert shown.code[0].value == (
        "curl 'http://127.0.0.1:8000/predict?ticker=AAPL&steps=30&smoothing=true'"
    )


def test_the_model_tab_compares_every_baseline(page, behind):
    table = page(behind(FakeDesk())).tabs[1].dataframe[0].value
    assert list(table["Model"]) == [
        *("This model (LSTM)", "Repeat the last mid-price"),
        *("Repeat the last close", "ARIMA(5,1,0)"),
    ]
    assert list(table.columns) == ["Model", "rmse", "mae", "direction_accuracy", "mse"]
    assert list(table["rmse"]) == [8.11, 2.91, 2.62, 2.74]


def test_a_score_nobody_named_is_shown_under_its_own_name():
    assert wording.scores_table({"novel": {"pinball": 0.5}}) == [{"Model": "novel", "pinball": 0.5}]


def test_the_model_tab_leads_to_mlflow(page, behind):
    link = page(behind(FakeDesk())).tabs[1].get("link_button")[0]
    assert link.proto.url == "http://127.0.0.1:5000"


def test_a_drift_alarm_is_a_warning_with_its_table(page, behind):
    tab = page(behind(FakeDesk())).tabs[2]
    assert "range of AAPL has widened" in tab.warning[0].value
    assert list(tab.dataframe[0].value["drifted"]) == ["no", "yes"]


def test_no_drift_check_yet_is_no_error(page, behind):
    shown = page(behind(FakeDesk(checked=False)))
    assert "has not been checked for drift yet" in shown.tabs[2].info[0].value
    assert not shown.error


# Trouble


def test_a_silent_service_is_said_plainly(page):
    shown = page(refuse)
    assert not shown.exception
    assert [error.value for error in shown.error] == [
        "The forecast service at http://127.0.0.1:8000 does not answer (connection refused); start "
        "it with: uvicorn app:app --port 8000, or set STOCK_API_URL to where it runs"
    ]
    assert not shown.metric


def test_a_service_that_comes_back_is_believed_at_once(page, behind, monkeypatch):
    shown = page(refuse)
    st.cache_resource.clear()  # the pretend wire is chosen when the client is made
    monkeypatch.setattr(api_client, "wire", lambda: httpx.MockTransport(behind(FakeDesk())))
    assert not shown.run().error
    assert len(shown.metric) == 5


def test_a_missing_model_is_said_and_another_ticker_can_be_chosen(page, behind):
    shown = page(behind(FakeDesk(failures={"AAPL": NoChampion("AAPL")})))
    assert [error.value for error in shown.error] == [
        "AAPL has no trained model yet; run: python train.py AAPL"
    ]
    shown.selectbox[0].set_value("MSFT")
    shown.button[0].click().run()
    assert not shown.error
    assert len(shown.metric) == 5


def test_a_broken_bundle_shows_no_path(page, behind):
    shown = page(behind(FakeDesk(failures={"AAPL": BadBundle("/srv/models/x: altered")})))
    assert "train it again" in shown.error[0].value
    assert "/srv" not in everything(shown)


@pytest.mark.parametrize(("path", "tab"), [("/models", 1), ("/drift", 2)])
def test_trouble_in_one_tab_leaves_the_others(page, behind, path, tab):
    healthy, sick = behind(FakeDesk()), behind(FakeDesk(failures={"AAPL": LogUnavailable("x")}))
    shown = page(lambda request: (sick if path in request.url.path else healthy)(request))
    assert "does not answer; try again later" in shown.tabs[tab].error[0].value
    assert len(shown.error) == 1
    assert len(shown.metric) == 5


@pytest.mark.parametrize("trouble", [LogUnavailable("x"), BadBundle("/srv/models/x: altered")])
def test_a_page_stands_without_the_chance(page, behind, trouble):
    healthy, sick = behind(FakeDesk()), behind(FakeDesk(failures={"AAPL": trouble}))
    shown = page(lambda asked: (sick if "/probability" in asked.url.path else healthy)(asked))
    assert not shown.exception and not shown.error
    assert len(shown.metric) == 4
    assert "The chance of being above the last close is not known: The" in texts(shown.caption)
    assert "/srv" not in everything(shown)
    assert "is **worse** than" in shown.warning[0].value
    assert shown.get("plotly_chart")


def test_a_page_stands_when_the_wire_breaks_at_the_chance(page, behind):
    healthy = behind(FakeDesk())
    shown = page(lambda asked: (refuse if "/probability" in asked.url.path else healthy)(asked))
    assert not shown.exception and not shown.error
    assert "is not known: The forecast service at" in texts(shown.caption)


def test_a_misspelt_setting_is_named(page, monkeypatch):
    monkeypatch.setenv("STOCK_API_ULR", "http://x")
    shown = page(refuse)
    assert "unknown setting STOCK_API_ULR" in shown.error[0].value


def test_a_service_without_tickers_says_what_to_do(page, behind):
    shown = page(behind(FakeDesk(known=())))
    assert "python train.py AAPL" in shown.info[0].value
    assert not shown.exception


def test_the_page_needs_neither_the_service_nor_its_models():
    script = (
        "import sys, streamlit_app; "
        "print(sorted({'app', 'fastapi', 'predict', 'onnxruntime', 'mlflow'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "[]"
