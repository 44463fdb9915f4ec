"""The tab of forecasts, as a visitor sees it, and the words and files it is made of."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from fake_desk import FakeDesk, cold_desk, stale_desk, synthetic_desk
from fake_pages import FakePages
from invented_forecasts import FILE, make_forecast, make_probability
from shown import everything, figures, html_of, refuse, sheet, texts

import wording
from contracts import BadBundle, Caution, LogUnavailable, NoChampion, UnknownTicker
from schemas import ForecastOut


def test_the_key_figures_are_those_of_the_service(page, behind):
    answer = make_forecast()
    low, high = answer.bands["80"].lower[-1], answer.bands["80"].upper[-1]
    found = figures(page(behind(FakeDesk())))
    assert {label: value for label, (value, _) in found.items()} == {
        "Last close, 31 Dec 2025": "271.86 USD",
        "Last mid-price, 31 Dec 2025": "272.72 USD",
        "Next session, 2 Jan 2026": f"{answer.prices[0]:.2f} USD",
        "In 30 sessions, 12 Feb 2026": f"{answer.prices[-1]:.2f} USD",
        "Chance above last close": "51 %",
    }
    assert found["In 30 sessions, 12 Feb 2026"][1] == f"80 % band {low:.2f} to {high:.2f}"


def test_the_chance_is_asked_at_the_last_close_and_the_horizon(page, behind):
    desk = FakeDesk()
    shown = page(behind(desk), ticker="MSFT", steps="45")
    assert desk.weighed == [("MSFT", 45, "above", 271.86)]
    wanted = make_probability("MSFT", 45, "above", 271.86)
    value, note = figures(shown)["Chance above last close"]
    assert value == f"{100 * wanted.probability:.0f} %"
    assert note == "on 5 Mar 2026, 1,000 paths"


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
    ],
)
def test_a_chance_is_never_said_to_be_certain(probability, said):
    assert wording.chance(probability) == said


def test_the_verdict_is_said_in_plain_words(page, behind):
    shown = page(behind(FakeDesk()))
    assert shown.warning[0].value.startswith(
        "Over the held-out sessions this model is **worse** than simply repeating the last close: "
        "its error is 3.1 times as large. Treat it as illustration. (One session ahead, RMSE; "
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


# Past sessions


def test_past_sessions_are_those_of_the_service(page, behind):
    spec = json.loads(page(behind(FakeDesk()), last="30").get("plotly_chart")[0].proto.spec)
    candles = next(line for line in spec["data"] if line["type"] == "candlestick")
    bars = FakePages().prices("AAPL", 30, None)
    assert candles["close"] == bars.close
    assert [day[:10] for day in candles["x"]] == [day.isoformat() for day in bars.dates]


def test_past_sessions_can_be_a_line(page, behind):
    spec = page(behind(FakeDesk()), drawn="Line").get("plotly_chart")[0].proto.spec
    assert "candlestick" not in {line["type"] for line in json.loads(spec)["data"]}


def test_the_forecast_stands_without_past_prices(page, behind):
    pages = FakePages(failures={"AAPL": LogUnavailable("x")})
    shown = page(behind(FakeDesk(), pages))
    assert len(shown.error) == 1
    assert len(figures(shown)) == 5 and shown.get("plotly_chart")


# Whose prices, which model


def test_real_prices_are_not_called_synthetic_or_stale(page, behind):
    said = everything(page(behind(FakeDesk())))
    assert "synthetic" not in said.lower() and "stale" not in said.lower()
    assert "Cached " in said and ": imported file" in said


def test_synthetic_prices_cannot_be_overlooked(page, behind):
    shown = page(behind(synthetic_desk()))
    assert 'class="invented" role="alert"><strong>SYNTHETIC PRICES' in html_of(shown)
    assert "SYNTHETIC PRICES" in shown.get("plotly_chart")[0].proto.spec


@pytest.mark.parametrize(
    ("source", "behind", "days", "said"),
    [
        ("yfinance", 0, 0, "Live: Yahoo Finance, fetched today"),
        ("alphavantage", 0, 2, "Live: Alpha Vantage, fetched 2 days ago"),
        ("file", 0, 0, "Cached under a day: imported file"),
        ("file", 0, 12, "Cached 12 days: imported file"),
        ("yfinance", 4, 6, "Stale: Yahoo Finance, 4 sessions behind, fetched 6 days ago"),
        ("file", 1, 1, "Stale: imported file, 1 session behind, fetched yesterday"),
        ("synthetic", 4, 0, "Prices: SYNTHETIC"),
    ],
)
def test_every_provenance_has_its_badge(source, behind, days, said):
    fetched = datetime.now(UTC) - timedelta(days=days, minutes=1)
    facts = {"stale": behind > 0, "sessions_behind": behind, "fetched_at": fetched}
    data = replace(FILE, source=source, **facts)
    badges = wording.provenance_badges(ForecastOut.of(make_forecast(data=data)))
    assert badges[0].said == said
    assert (badges[0].colour == "red") == (source == "synthetic")


def test_stale_prices_are_marked(page, behind):
    assert "Stale: imported file, 4 sessions behind" in everything(page(behind(stale_desk())))


def test_a_cold_start_is_said_in_plain_words(page, behind):
    shown = page(behind(cold_desk()))
    assert "Cold start: no model of its own yet" in everything(shown)
    assert not shown.error


def test_a_model_of_its_own_is_not_called_a_cold_start(page, behind):
    assert "cold start" not in everything(page(behind(FakeDesk()))).lower()


@pytest.mark.parametrize(
    ("days", "said"),
    [(0, "today"), (1, "yesterday"), (12, "12 days ago"), (1200, "1,200 days ago")],
)
def test_an_age_is_said_as_one_would(days, said):
    assert wording.age_of(datetime.now(UTC) - timedelta(days=days, hours=1)) == said


# Files and commands


def rows_of(forecast: ForecastOut) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(wording.csv_of(forecast))))


def test_every_row_of_a_synthetic_file_says_so():
    forecast = ForecastOut.of(make_forecast(data=replace(FILE, source="synthetic")))
    assert [row["source"] for row in rows_of(forecast)] == ["synthetic"] * 30


@pytest.mark.parametrize("smoothing", [True, False])
def test_the_file_holds_exactly_what_the_service_said(smoothing):
    forecast = ForecastOut.of(make_forecast(steps=9, smoothing=smoothing))
    rows = rows_of(forecast)
    assert [row["date"] for row in rows] == [day.isoformat() for day in forecast.dates]
    assert [float(row["price"]) for row in rows] == forecast.prices
    assert [float(row["upper_95"]) for row in rows] == forecast.intervals["95"].upper
    assert [float(row["raw_prediction"]) for row in rows] == forecast.raw_predictions
    assert ("smoothed_price" in rows[0]) == smoothing
    assert {(row["ticker"], row["source"], row["as_of"]) for row in rows} == {
        ("AAPL", "file", "2025-12-31")
    }


def test_a_forecast_without_bands_is_written_without_them():
    forecast = ForecastOut.of(replace(make_forecast(), bands={}))
    assert wording.band_at(forecast, 0) == "80 % band not known yet"
    assert "lower_80" not in wording.csv_of(forecast)


def test_both_files_can_be_downloaded(page, behind):
    buttons = page(behind(FakeDesk())).get("download_button")
    assert [button.proto.label for button in buttons] == ["Download CSV", "Download JSON"]


def test_no_smoothed_column_without_smoothing(page, behind):
    shown = page(behind(FakeDesk()), smoothing="false")
    assert "Smoothed" not in sheet(shown)[0]


def test_the_table_has_every_session_with_its_bands(page, behind):
    forecast = ForecastOut.of(make_forecast())
    first = sheet(page(behind(FakeDesk())))[0]
    band = forecast.intervals["95"]
    assert first["Session"] == forecast.dates[0].isoformat()
    assert first["Forecast"] == f"{forecast.prices[0]:,.2f}"
    assert (first["95 % from"], first["95 % to"]) == (
        f"{band.lower[0]:,.2f}",
        f"{band.upper[0]:,.2f}",
    )
    assert len(sheet(page(behind(FakeDesk()), steps="9"))) == 9


def test_the_command_shown_is_the_very_request(page, behind):
    assert page(behind(FakeDesk()), command="true").code[0].value == (
        "curl 'http://127.0.0.1:8000/predict?ticker=AAPL&steps=30&smoothing=true'"
    )


# Trouble


def test_a_missing_model_is_no_alarm_and_another_ticker_can_be_chosen(page, behind):
    shown = page(behind(FakeDesk(failures={"AAPL": NoChampion("AAPL")})))
    assert "AAPL has no trained model yet; run: python train.py AAPL" in shown.info[0].value
    shown.selectbox[0].set_value("MSFT").run()
    assert not shown.info
    assert len(figures(shown)) == 5


def test_a_broken_bundle_shows_no_path(page, behind):
    shown = page(behind(FakeDesk(failures={"AAPL": BadBundle("/srv/models/x: altered")})))
    assert "train it again" in shown.error[0].value
    assert "/srv" not in everything(shown)


@pytest.mark.parametrize("trouble", [LogUnavailable("x"), BadBundle("/srv/models/x: altered")])
def test_a_page_stands_without_the_chance(page, behind, trouble):
    healthy, sick = behind(FakeDesk()), behind(FakeDesk(failures={"AAPL": trouble}))
    shown = page(lambda asked: (sick if "/probability" in asked.url.path else healthy)(asked))
    assert not shown.exception
    assert len(shown.error) == 1
    assert len(figures(shown)) == 4
    assert "/srv" not in everything(shown)
    assert shown.get("plotly_chart")


def test_a_page_stands_when_the_wire_breaks_at_the_chance(page, behind):
    healthy = behind(FakeDesk())
    shown = page(lambda asked: (refuse if "/probability" in asked.url.path else healthy)(asked))
    assert not shown.exception
    assert len(figures(shown)) == 4
    assert "is **worse** than" in shown.warning[0].value


# A symbol nobody asked for before


class Fetching(FakeDesk):
    """Has no prices until it was asked three times; lists the symbol, as AppTest needs."""

    def forecast(self, ticker, steps, smoothing):
        self.failures = {ticker: UnknownTicker(ticker)} if len(self.asked) < 3 else {}
        return super().forecast(ticker, steps, smoothing)


def test_a_new_symbol_is_waited_for_and_then_shown(page, behind):
    shown = page(behind(Fetching(cold=True)), ticker="MSFT")
    assert "MSFT" in texts(shown.header) and not figures(shown)
    assert not shown.error
    shown.run()
    assert len(figures(shown)) == 5
    assert "Cold start" in everything(shown)


def test_a_symbol_that_does_not_exist_is_said_so_in_the_end(page, behind, monkeypatch):
    monkeypatch.setattr("views.waiting.TRIES", 3)
    shown = page(behind(FakeDesk(failures={"AAPL": UnknownTicker("AAPL")})))
    for _ in range(3):
        shown.run()
    assert "AAPL has neither a trained model nor prices here" in shown.error[0].value
    assert "Choose another ticker above." in shown.error[0].value


def test_what_speaks_against_relying_on_it_is_said(page, behind):
    class Cautious(FakeDesk):
        def forecast(self, ticker, steps, smoothing):
            caution = Caution(code="model_too_old", detail="its model is 90 days old")
            return replace(super().forecast(ticker, steps, smoothing), warnings=(caution,))

    shown = page(behind(Cautious()))
    assert "Do not rely on this forecast: its model is 90 days old" in texts(shown.warning)
