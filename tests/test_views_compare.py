"""The tab that sets tickers side by side, as a visitor sees it."""

from __future__ import annotations

import json
from dataclasses import replace

from fake_desk import FakeDesk
from fake_pages import FakePages
from invented_forecasts import FILE, make_forecast
from shown import html_of, texts

from charts.comparison import comparison_chart
from charts.look import LIGHT
from contracts import LogUnavailable, NoChampion


def test_every_ticker_starts_at_100(page, behind):
    shown = page(behind(FakeDesk()), tab="Compare")
    spec = json.loads(shown.get("plotly_chart")[0].proto.spec)
    lines = {line["name"]: line["y"] for line in spec["data"] if "80" not in line.get("name", "80")}
    assert {name: values[0] for name, values in lines.items()} == {
        "AAPL": 100,
        "GOOGL": 100,
        "MSFT": 100,
    }
    assert "Each set to 100 on" in texts(shown.caption)


def test_the_chart_holds_the_figures_of_the_service():
    made = {ticker: make_forecast(ticker, steps=7) for ticker in ("AAPL", "MSFT")}
    compared = FakePages().compare(made, 20, 100)
    lines = {line.name: line for line in comparison_chart(compared, LIGHT).data if line.name}
    for ticker, series in compared.series.items():
        assert list(lines[ticker].y) == [*series.history, *series.prices]
        assert list(lines[f"{ticker} 80 %"].y)[1:] == series.intervals["80"].lower
    assert lines["AAPL"].line.dash != lines["MSFT"].line.dash


def test_the_ranking_is_the_services(page, behind):
    table = page(behind(FakeDesk()), tab="Compare").dataframe[0].value
    assert list(table["rank"]) == [1, 2, 3]
    assert set(table["verdict"]) == {"worse than the last price"}


def test_correlations_are_the_services(page, behind):
    table = page(behind(FakeDesk()), tab="Compare").dataframe[1].value
    wanted = FakePages().correlations(["AAPL", "GOOGL", "MSFT"], 250).matrix
    assert [list(row) for row in table[["AAPL", "GOOGL", "MSFT"]].to_numpy()] == wanted


def test_one_ticker_that_fails_leaves_the_others(page, behind):
    desk = FakeDesk(failures={"MSFT": NoChampion("MSFT")})
    shown = page(behind(desk), tab="Compare")
    assert "MSFT is missing: MSFT has no trained model yet" in shown.warning[0].value
    assert not shown.error
    assert set(shown.dataframe[0].value["ticker"]) == {"AAPL", "GOOGL"}


def test_the_picture_stands_without_correlations(page, behind):
    healthy = behind(FakeDesk())
    sick = behind(FakeDesk(), FakePages(failures={"AAPL": LogUnavailable("x")}))
    shown = page(
        lambda asked: (sick if "correlations" in asked.url.path else healthy)(asked), tab="Compare"
    )
    assert len(shown.error) == 1
    assert shown.get("plotly_chart")


def test_chosen_tickers_are_in_the_address(page, behind):
    shown = page(behind(FakeDesk()), tab="Compare", **{"with": ["MSFT"]})
    assert list(shown.dataframe[0].value["ticker"]) == ["MSFT"]
    assert len(shown.dataframe) == 1  # one alone has nothing to go together with


def test_no_ticker_is_no_error(page, behind):
    shown = page(behind(FakeDesk()), tab="Compare")
    shown.multiselect[0].set_value([]).run()
    assert "Choose at least one ticker" in texts(shown.info)
    assert not shown.exception and not shown.error


def test_invented_prices_cannot_be_overlooked(page, behind):
    invented = replace(FILE, source="synthetic")
    shown = page(behind(FakeDesk(source=invented), FakePages(source=invented)), tab="Compare")
    assert html_of(shown).count("SYNTHETIC PRICES") == 3
    assert "SYNTHETIC PRICES" in shown.get("plotly_chart")[0].proto.spec
