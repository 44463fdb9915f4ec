"""`python drift_monitor.py settle` on real prices: due steps are settled once, failures told."""

from __future__ import annotations

import json
from datetime import date

import pytest
from promised import forecast

from contracts import SourceUnavailable
from data_pipeline import import_file
from drift_monitor import main
from forecast_log import ForecastLog

pytestmark = pytest.mark.real_data


@pytest.fixture
def promised(settings, real_data, monkeypatch) -> ForecastLog:
    """Real AAPL prices and one forecast of three sessions from 30 December 2025."""
    monkeypatch.setenv("STOCK_AS_OF", "2025-12-31")
    monkeypatch.setenv("STOCK_TICKERS", "AAPL")
    monkeypatch.setenv("STOCK_ALLOW_SYNTHETIC", "false")
    import_file("AAPL", real_data / "yahoo" / "AAPL.csv", settings)
    log = ForecastLog(settings.database_url)
    writer = log.writer()
    writer.put(forecast(date(2025, 12, 30), (273.0, 273.0, 273.0)), "a-request")
    writer.close()
    yield log
    log.close()


def test_due_steps_are_settled_and_the_others_wait(promised, capsys):
    assert main(["settle"]) == 0
    assert capsys.readouterr().out == (
        "AAPL: through 2025-12-31, 1 steps settled, 2 waiting, 0 prices revised, "
        "0 steps past due without an outcome\n"
    )
    assert promised.performance("AAPL").settled == 1


def test_settling_again_settles_nothing_more(promised, capsys):
    main(["settle", "AAPL"])
    capsys.readouterr()
    assert main(["settle", "AAPL", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["ticker"], row["settled"], row["waiting"]) == ("AAPL", 0, 2)


def test_a_ticker_without_prices_fails_alone(promised, capsys, monkeypatch):
    monkeypatch.setattr("data_pipeline.providers", lambda _: [Away()])
    assert main(["settle", "IBM", "AAPL"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("IBM: ")
    assert "1 steps settled" in said[1]


class Away:
    """A source that does not answer."""

    name, adjustment, in_parts = "yfinance", "split", True

    def fetch(self, ticker: str, first: date, last: date) -> None:
        raise SourceUnavailable("Yahoo does not answer")


def test_a_word_that_is_no_ticker_is_said_plainly(promised, capsys):
    assert main(["settle", "../etc"]) == 2
    assert "is not a ticker symbol" in capsys.readouterr().err
