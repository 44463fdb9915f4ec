"""Findings as they are counted, shortened, cut at a day, written down and carried on."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pandas as pd

from contracts import Finding
from generate_synthetic_data import generate_synthetic_stock_data
from prices.breaker import Breaker
from prices.cache import Label, Shelf
from prices.findings import LISTED, Report, as_rows, from_rows
from prices.guard import Guarded
from prices.pace import Pace
from prices.refresh import Need, refreshed

FIRST = date(2025, 1, 2)


def finding(code: str, day: int | None = 0, action: str = "kept") -> Finding:
    when = None if day is None else FIRST + timedelta(days=day)
    return Finding(code=code, date=when, action=action, text="so it is")


def test_all_are_counted_the_first_of_each_code_are_spelt_out_in_order():
    many = [finding("zero_volume", day) for day in reversed(range(100))]
    report = Report.of([*many, finding("header_lines", None), finding("large_move", 3)])
    assert report.counts == {"header_lines": 1, "large_move": 1, "zero_volume": 100}
    assert str(report) == "header_lines=1 large_move=1 zero_volume=100"
    assert len(report.listed) == LISTED + 2 and report.listed[0].code == "header_lines"
    assert [f.date for f in report.listed] == sorted(
        (f.date for f in report.listed), key=lambda day: day or date.min
    )


def test_cut_at_a_day_only_what_was_known_by_then_is_told():
    report = Report.of([finding("a", None), finding("b", 1), finding("b", 5), finding("c", 9)])
    early = report.through(FIRST + timedelta(days=4))
    assert early.counts == {"a": 1, "b": 1} and len(early.listed) == 2


def test_what_is_written_is_read_back():
    findings = (finding("a", None, "repaired"), finding("b", 1, "dropped"))
    assert from_rows(as_rows(findings)) == findings


def test_nothing_is_told_as_none():
    assert str(Report()) == "none" and Report.of([]) == Report()


class Feed:
    """A source that has all sessions of a year."""

    name, adjustment, in_parts = "yfinance", "split", True

    def __init__(self, bars: pd.DataFrame) -> None:
        self.bars = bars

    def fetch(self, ticker: str, first: date, last: date) -> pd.DataFrame:
        return self.bars[self.bars["Date"] >= pd.Timestamp(first)].reset_index(drop=True)


def test_a_cache_that_is_carried_on_keeps_what_was_done_to_its_bars(tmp_path):
    bars = generate_synthetic_stock_data("AAPL", "2025-01-01", "2025-12-31", None, "calm")
    shelf = Shelf(tmp_path, "raw", adopts="file")
    done = Report.of([finding("range_widened", 7, "repaired"), finding("large_move", 9)])
    moment = datetime(2025, 7, 1, tzinfo=UTC)
    label = Label(source="yfinance", adjustment="split", fetched_at=moment, report=done)
    shelf.put("AAPL", bars[bars["Date"] < "2025-07-01"], label)
    source = Guarded(
        Feed(bars), Breaker(tmp_path / "state.json", "yfinance"), Pace(tmp_path / "pace", 0)
    )
    longer = refreshed(shelf, "AAPL", Need(through=date(2025, 12, 31), since=FIRST), [source])
    assert longer.last == date(2025, 12, 31)
    assert longer.label.report.counts == {"range_widened": 1}  # there is no large move to be found
