"""Invented bars on their shelf: made once, carried on, left alone when changed by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from contracts import NotEnoughHistory
from generate_synthetic_data import Wish
from prices.cache import Shelf
from prices.synthetic import bars_through, invent

START, END = date(2020, 1, 1), date(2025, 12, 31)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "synthetic", "synthetic", adopts="synthetic")


def test_first_use_makes_and_stores_them_labelled_synthetic(shelf):
    made = bars_through(shelf, "AAPL", START, END)
    assert made.label.source == "synthetic"
    assert (made.first, made.last) == (date(2020, 1, 2), END)
    assert shelf.csv_path("AAPL").read_bytes() == made.data


def test_a_later_day_carries_them_on_without_touching_a_byte(shelf):
    early = bars_through(shelf, "AAPL", START, date(2025, 6, 30))
    later = bars_through(shelf, "AAPL", START, END)
    assert later.data.startswith(early.data) and later.last == END
    assert shelf.csv_path("AAPL").read_bytes() == later.data


def test_an_earlier_day_leaves_later_bars_on_disk(shelf):
    later = bars_through(shelf, "AAPL", START, END)
    assert bars_through(shelf, "AAPL", START, date(2025, 6, 30)).data == later.data


def test_training_that_begins_earlier_gets_bars_that_do(shelf):
    bars_through(shelf, "AAPL", START, END)
    assert bars_through(shelf, "AAPL", date(2015, 1, 1), END).first == date(2015, 1, 2)


def test_bars_ordered_by_command_keep_their_beginning_and_regime(shelf):
    wish = Wish(start=date(2022, 1, 1), end=date(2025, 6, 30), days=100, regime="bear")
    made = invent("DEMO", wish)
    shelf.put("DEMO", made.bars, made.label)
    later = bars_through(shelf, "DEMO", START, END)
    assert later.data.startswith(made.data) and later.last == END
    again = bars_through(shelf, "DEMO", START, END)
    assert again.data == later.data


def test_bars_of_a_regime_no_longer_known_are_shown_as_they_are(shelf):
    made = invent("AAPL", Wish(start=START, end=date(2025, 6, 30)))
    details = {**made.label.details, "regime": "turbulent"}
    shelf.put("AAPL", made.bars, replace(made.label, details=details))
    assert bars_through(shelf, "AAPL", START, END).data == made.data


def test_bars_changed_by_hand_stay_as_they_are_and_stay_synthetic(shelf):
    bars_through(shelf, "AAPL", START, date(2025, 6, 30))
    path = shelf.csv_path("AAPL")
    edited = path.read_text().replace("2020-01-02", "2020-01-01")
    path.write_text(edited)
    kept = bars_through(shelf, "AAPL", START, END)
    assert kept.label.source == "synthetic" and kept.last == date(2025, 6, 30)
    assert path.read_text() == edited


def test_a_busy_or_unwritable_shelf_delays_nobody(shelf, tmp_path):
    with shelf.locked("AAPL"):
        made = bars_through(shelf, "AAPL", START, END)
    assert not shelf.csv_path("AAPL").exists()
    (tmp_path / "blocked").write_text("no folder")
    blocked = Shelf(tmp_path / "blocked", "synthetic", adopts="synthetic")
    pd.testing.assert_frame_equal(bars_through(blocked, "AAPL", START, END).bars, made.bars)


def test_a_span_without_a_session_is_not_enough_history(shelf):
    with pytest.raises(NotEnoughHistory):
        bars_through(shelf, "AAPL", START, date(2019, 6, 30))
