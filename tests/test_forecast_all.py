"""Forecasts of every ticker in one file: the numbers are /predict's, and a failure costs itself."""

from __future__ import annotations

import csv
import json
import tracemalloc

import pandas as pd
import pytest
from staged import AS_OF, bars, publish, put_prices, truncate

import predict
from contracts import SourceUnavailable
from desk import ForecastDesk
from forecast_all import COLUMNS, forecast_all, written
from model_store import NETWORK

OWN = tuple(f"T{number:02}" for number in range(9))  # with champions of their own
COLD = ("C0", "C1")  # answered by a base, together


@pytest.fixture
def project(settings, monkeypatch):
    """Champions of both shipped networks and two tickers without one, each with other prices."""
    for place, ticker in enumerate((*OWN, *COLD)):
        put_prices(settings, ticker, rows=len(bars()) - place)
        if ticker in OWN:
            publish(settings, "1", which=place % 2, ticker=ticker)
    (settings.data_dir.parent / "list.txt").write_text(" ".join((*OWN, *COLD)))
    monkeypatch.setenv("STOCK_AS_OF", str(AS_OF))
    monkeypatch.setenv("STOCK_TICKERS", "T00")
    return settings.model_copy(update={"as_of": AS_OF, "tickers": ("T00",), "refresh": False})


def bytes_of_predict(project, ticker: str, steps: int) -> bytes:
    desk = ForecastDesk(project, promising=False)
    body = desk.answer(ticker, steps, True).body
    desk.close()
    return body


def run(*arguments: str) -> int:
    return predict.main(["--all", "--tickers-file", "list.txt", *arguments])


def test_every_number_is_the_one_that_predict_answers_to_the_last_bit(project):
    assert run("--steps", "30", "--out", "all.json") == 0
    said = (project.data_dir.parent / "all.json").read_bytes()
    for ticker in (*OWN, *COLD):
        assert bytes_of_predict(project, ticker, 30) in said
    assert list(json.loads(said)["predictions"]) == [*OWN, *COLD]


def test_the_table_has_a_row_per_session_and_the_same_numbers(project):
    assert run("--steps", "7") == 0
    table = pd.read_parquet("forecasts.parquet")
    assert list(table) == list(COLUMNS) and len(table) == 7 * 11
    answer = json.loads(bytes_of_predict(project, "T03", 7))
    own = table[table["ticker"] == "T03"]
    assert own["price"].tolist() == answer["prices"]
    assert own["upper_95"].tolist() == answer["intervals"]["95"]["upper"]
    assert [str(day) for day in own["date"]] == answer["dates"]
    assert table.groupby("ticker")["cold_start"].first().to_dict() == {
        **dict.fromkeys(OWN, False),
        **dict.fromkeys(COLD, True),
    }


def test_a_csv_says_the_same_as_the_table(project):
    assert run("--steps", "3", "--no-smoothing") == 0
    assert run("--steps", "3", "--no-smoothing", "--out", "all.csv") == 0
    table = pd.read_parquet("forecasts.parquet")
    with (project.data_dir.parent / "all.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["price"]) for row in rows] == table["price"].tolist()
    assert {row["smoothed_price"] for row in rows} == {""} and table["smoothed_price"].isna().all()


def test_without_a_list_every_configured_ticker_and_champion_is_forecast(project, capsys):
    assert predict.main(["--all", "--steps", "2"]) == 0
    assert capsys.readouterr().out == "9 forecasts of 2 sessions in forecasts.parquet\n"


def test_what_fails_costs_only_itself_and_is_named(project, capsys):
    truncate(publish(project, "2", ticker="T04") / NETWORK)
    truncate(next(project.models_dir.glob("T04_*")) / NETWORK)
    (project.data_dir.parent / "list.txt").write_text("T03 T04 NIX T05")
    assert run("--steps", "2", "--out", "all.json") == 1
    said = capsys.readouterr()
    assert said.out == "2 forecasts of 2 sessions in all.json; 2 failed\n"
    assert "T04: " in said.err and "NIX: " in said.err
    found = json.loads((project.data_dir.parent / "all.json").read_text())
    assert list(found["predictions"]) == ["T03", "T05"]
    assert found["errors"]["NIX"]["code"] == "unknown_ticker"


@pytest.mark.parametrize("ending", ["parquet", "csv", "json"])
def test_a_file_is_there_whole_or_as_it_was(project, tmp_path, ending):
    path = tmp_path / f"all.{ending}"
    path.write_text("what was there")
    with pytest.raises(SourceUnavailable), written(path):
        raise SourceUnavailable("in the middle")
    assert path.read_text() == "what was there"
    assert not list(tmp_path.glob(".all*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "all.xlsx"], ".parquet, .csv, .json"),
        (["--out", "nowhere/all.csv"], "cannot be written"),
    ],
)
def test_a_file_that_cannot_be_made_is_said_in_one_line(project, capsys, arguments, said):
    assert run(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize("arguments", [[], ["AAPL", "--all"]])
def test_a_ticker_or_all_of_them(project, arguments):
    with pytest.raises(SystemExit):
        predict.main(arguments)


def test_memory_does_not_grow_with_the_number_of_tickers(project, tmp_path):
    few = project.model_copy(update={"cached_answers": 8})
    desk = ForecastDesk(few, promising=False)

    def peak(times: int) -> int:
        tickers = [*OWN, *COLD] * times
        tracemalloc.reset_peak()
        with written(tmp_path / "all.json") as write:
            for some in forecast_all(desk, tickers, 30, True):
                write(some)
        return tracemalloc.get_traced_memory()[1]

    tracemalloc.start()
    peak(2)
    small, large = peak(6), peak(30)
    tracemalloc.stop()
    desk.close()
    assert large < small * 1.3
