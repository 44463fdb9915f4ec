"""`check`: a file or the cached bars judged row by row, without taking anything in."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from data_pipeline import import_file, main, real_shelf
from generate_synthetic_data import generate_synthetic_stock_data
from prices.cache import Label

BARS = generate_synthetic_stock_data("AAPL", "2020-01-01", "2023-12-31", None, "calm")


def saved(bars=BARS, name: str = "AAPL.csv") -> str:
    bars.to_csv(name, index=False)
    return name


def faulty(rows: int) -> str:
    bars = BARS.copy()
    bars.loc[100 : 99 + rows, "Close"] = float("nan")
    return saved(bars)


def told(capsys) -> dict:
    return json.loads(capsys.readouterr().out)


def test_a_good_file_is_fine_and_nothing_is_written(settings, capsys):
    assert main(["check", saved()]) == 0
    assert capsys.readouterr().out == "AAPL.csv: fine, 1006 bars; no findings\n"
    assert [path.name for path in Path.cwd().iterdir()] == ["AAPL.csv"]


def test_findings_are_told_row_by_row_and_the_file_is_usable(settings, capsys):
    assert main(["check", faulty(1)]) == 0
    day = f"{BARS['Date'][100]:%Y-%m-%d}"
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        f"{day} dropped  missing_price      a price is missing",
        f"{day} kept     missing_session    XNYS held a session and there is no bar",
        "AAPL.csv: usable, with findings, 1005 bars; findings: missing_price=1 missing_session=1",
    ]


def test_what_is_refused_exits_1_with_every_reason(settings, capsys):
    assert main(["check", faulty(30), "--json"]) == 1
    answer = told(capsys)
    assert (answer["verdict"], answer["rows"]) == ("refused", 0)
    assert answer["counts"] == {"missing_price": 30, "too_many_bad_rows": 1}
    assert answer["findings"][0] == {
        "code": "too_many_bad_rows",
        "date": None,
        "action": "refused",
        "text": f"30 of 1006 rows cannot be used, the first on {BARS['Date'][100]:%Y-%m-%d}: "
        "a price is missing",
    }


def test_a_long_report_is_cut_in_the_table_and_whole_in_json(settings, capsys):
    name = saved(BARS.assign(Volume=[0] * 100 + [5] * 906))
    main(["check", name])
    table = capsys.readouterr().out
    assert table.count("zero_volume") == 20 + 2 and "... and 80 more zero_volume" in table
    main(["check", name, "--json"])
    assert len(told(capsys)["findings"]) == 100


@pytest.mark.parametrize("content", ["", "Date,Open,High,Low,Close,Volume\n", "<html>"])
def test_what_is_no_table_would_be_refused(settings, capsys, content):
    Path("AAPL.csv").write_text(content)
    assert main(["check", "AAPL.csv"]) == 1
    assert "unreadable_table" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent.csv"], "absent.csv cannot be read"),
        (["../nowhere/AAPL"], "cannot be read"),
        (["NFLX"], "NFLX has neither"),
        (["not a symbol"], "is not a ticker"),
        (["!.csv"], "add --ticker"),
        (["AAPL.csv", "--ticker", "../x"], "is not a ticker"),
    ],
)
def test_an_unusable_argument_exits_2_with_one_line(settings, capsys, arguments, said):
    saved(), saved(name="!.csv")
    assert main(["check", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and said in err


def test_the_calendar_is_that_of_whom_the_file_belongs_to(settings, capsys):
    assert main(["check", saved(name="0700.HK_2020.csv"), "--json"]) == 0
    assert "calendar_unfit" in told(capsys)["counts"]
    assert main(["check", "0700.HK_2020.csv", "--ticker", "MSFT", "--json"]) == 0
    assert told(capsys)["findings"] == []


def test_cached_bars_are_told_with_what_was_done_to_them_on_the_way_in(settings, capsys):
    import_file("AAPL", faulty(1), settings)
    assert main(["check", "aapl", "--json"]) == 0
    answer = told(capsys)
    assert answer["name"] == "AAPL_raw.csv (file)" and answer["rows"] == 1005
    assert answer["counts"] == {"missing_price": 1, "missing_session": 1}


def test_bars_changed_by_hand_are_told_as_such(settings, capsys):
    label = Label(
        source="yfinance", adjustment="split", fetched_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    shelf = real_shelf(settings)
    shelf.put("AAPL", BARS, label)
    path = shelf.csv_path("AAPL")
    path.write_text(path.read_text().replace("2020-01-02", "2019-12-31"))
    assert main(["check", "AAPL", "--json"]) == 0
    answer = told(capsys)
    assert answer["name"] == "AAPL_raw.csv (file)"
    assert answer["counts"] == {"edited_by_hand": 1, "missing_session": 1}


def test_show_counts_what_was_found(settings, capsys):
    import_file("AAPL", faulty(1), settings)
    assert main(["show", "AAPL"]) == 0
    assert "findings       missing_price 1, missing_session 1\n" in capsys.readouterr().out
    assert main(["show", "AAPL", "--json"]) == 0
    assert told(capsys)["findings"] == {"missing_price": 1, "missing_session": 1}
