"""No later bar reaches what a model sees; and what would let one through is caught."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest

import evaluation
import features
import leakcheck
from contracts import NotEnoughHistory
from data_pipeline import import_file, real_shelf
from generate_synthetic_data import generate_synthetic_stock_data
from leakage import Rows, first_leak
from leakcheck import find_leak, main
from prices.cache import Label
from recipes import RECIPES

DAY = date(2025, 3, 5)
RECIPE = next(iter(RECIPES.values()))
DAYS = pd.bdate_range("2025-03-03", periods=5).to_numpy()


@pytest.fixture
def cached(settings, monkeypatch):
    """AAPL with bars of its own up to the end of 2025."""
    monkeypatch.setenv("STOCK_AS_OF", "2025-12-31")
    bars = generate_synthetic_stock_data("AAPL", "2019-01-01", "2025-12-31", None)
    label = Label(source="file", adjustment="split", fetched_at=datetime(2026, 1, 1, tzinfo=UTC))
    real_shelf(settings).put("AAPL", bars, label)
    return settings.model_copy(update={"as_of": date(2025, 12, 31)})


def table(*values: float) -> dict[str, Rows]:
    return {"prices": Rows(DAYS[: len(values)], np.array(values, dtype=float)[:, None])}


def test_what_was_known_then_is_the_same_now():
    assert first_leak(table(1, 2, 3, 4, 5), table(1, 2, 3), DAY) is None


@pytest.mark.parametrize(
    ("cut", "told"),
    [
        (table(1, 2, 3.0000000000000004), "prices of 2025-03-05: 1 rows change"),
        (table(1, np.nan, 3), "prices of 2025-03-04: 1 rows change"),
        (table(9, 9, 3), "prices of 2025-03-03: 2 rows change"),
        (table(1, 2), "3 rows are known by 2025-03-05 with the later bars, 2 without"),
        (table(1, 2, 3, 4), "3 rows are known by 2025-03-05 with the later bars, 4 without"),
        (table(), "0 without"),
    ],
)
def test_a_difference_is_said_with_its_day(cut, told):
    assert told in first_leak(table(1, 2, 3, 4, 5), cut, DAY)


def test_bits_are_compared_not_numbers():
    assert first_leak(table(np.nan), table(np.nan), DAY) is None
    assert first_leak(table(0.0), table(-0.0), DAY) is not None


def test_the_command_finds_no_leak_in_any_recipe(cached, capsys):
    assert main(["aapl", "--days", "12"]) == 0
    assert capsys.readouterr().out == "".join(f"AAPL {name}: no bit differs\n" for name in RECIPES)


@pytest.mark.real_data
def test_no_bit_of_real_bars_leaks_from_the_first_sequence_on(settings, real_data, monkeypatch):
    early = settings.model_copy(
        update={"as_of": date(2025, 12, 31), "start_date": date(1980, 1, 1)}
    )
    import_file("AAPL", real_data / "yahoo" / "AAPL.csv", early)
    for recipe in RECIPES.values():
        assert find_leak("AAPL", early, recipe, days=5) is None


def whole_history(values, window_size):
    """Fitted once over everything, as tutorials do."""
    return np.full(len(values), values.min()), np.full(len(values), values.max())


def in_blocks(values, window_size):
    """Fitted over consecutive blocks, as the specification's sources do."""
    blocks = pd.Series(values).groupby(np.arange(len(values)) // 250)
    return blocks.transform("min").to_numpy(), blocks.transform("max").to_numpy()


def one_day_ahead(values, window_size):
    """Trailing, and off by one."""
    lo, hi = HONEST(np.append(values, values[-1]), window_size)
    return lo[1:], hi[1:]


HONEST = features.trailing_extremes


@pytest.mark.parametrize("scaler", [whole_history, in_blocks, one_day_ahead])
def test_a_scaler_that_knows_later_bars_is_caught(cached, monkeypatch, capsys, scaler):
    monkeypatch.setattr(features, "trailing_extremes", scaler)
    assert main(["AAPL", "--days", "40"]) == 1
    assert "AAPL mlops_64_64_32: LEAK: scaled series" in capsys.readouterr().out


def test_a_mid_price_smoothed_over_the_next_day_is_caught(cached, monkeypatch, capsys):
    honest = features.mid_price
    monkeypatch.setattr(features, "mid_price", lambda high, low: _centred(honest(high, low)))
    assert main(["AAPL"]) == 1
    assert "LEAK: mid-prices" in capsys.readouterr().out


def _centred(mids: np.ndarray) -> np.ndarray:
    return pd.Series(mids).rolling(3, center=True, min_periods=1).mean().to_numpy()


def test_drift_features_measured_against_the_whole_sample_are_caught(cached, monkeypatch):
    honest = features.daily_features

    def standardised(bars):
        table = honest(bars)
        return table.assign(range=table["range"] / table["range"].mean())

    monkeypatch.setattr(leakcheck, "daily_features", standardised)
    assert find_leak("AAPL", cached, RECIPE, 3).startswith("drift features")


def test_parts_of_the_split_that_overlap_are_caught(cached, monkeypatch):
    overlapping = features.Split(slice(0, 900), slice(880, 1000), slice(1000, 1400))
    monkeypatch.setattr(evaluation, "split_rows", lambda *_: overlapping)
    assert "the parts overlap" in find_leak("AAPL", cached, RECIPE, 3)


@pytest.mark.parametrize("wish", [["../x"], ["NONE"], ["AAPL", "--recipe", "soup"]])
def test_the_command_explains_itself_in_one_line(cached, capsys, wish):
    assert main([*wish]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("leakcheck.py: ") and told.err.count("\n") == 1


def test_too_short_a_history_is_refused(cached):
    late = cached.model_copy(update={"start_date": date(2025, 10, 14)})
    with pytest.raises(NotEnoughHistory):
        find_leak("AAPL", late, RECIPE, 3)
