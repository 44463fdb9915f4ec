"""Kept training arrays: used only where they are exactly what would be made anew."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from builders import provenance

import features
from contracts import Prices
from data_pipeline import training_scale
from evaluation import prepare
from generate_synthetic_data import generate_synthetic_stock_data
from prices import processed
from recipes import find_recipe

BARS = generate_synthetic_stock_data("AAPL", "2020-01-01", "2020-12-31")
PRICES = Prices("AAPL", BARS, provenance(rows=len(BARS), sha256="a" * 64))
KEPT = Path("data/processed/AAPL_processed.npz")


@pytest.fixture
def made(monkeypatch) -> list[int]:
    """One entry per time the arrays were really made."""
    times: list[int] = []
    honest = features.trailing_extremes

    def counted(values, window_size):
        times.append(window_size)
        return honest(values, window_size)

    monkeypatch.setattr(features, "trailing_extremes", counted)
    return times


def same(one: features.Scale, other: features.Scale) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in processed.NAMES)


def fresh() -> features.Scale:
    return features.trailing_scale(
        features.mid_price(BARS["High"].to_numpy(), BARS["Low"].to_numpy()), 2500
    )


def test_a_second_training_on_the_same_prices_reads_what_the_first_has_made(settings, made):
    recipe = find_recipe("mlops_64_64_32")
    first, second = (prepare(PRICES, settings, recipe) for _ in range(2))
    assert made == [2500]
    np.testing.assert_array_equal(first.rows.x, second.rows.x)
    np.testing.assert_array_equal(first.rows.y, second.rows.y)
    np.testing.assert_array_equal(first.mids, second.mids)


def test_the_length_of_a_sequence_needs_no_arrays_of_its_own(settings, made):
    recipe = find_recipe("mlops_64_64_32")
    for length in (20, 50):
        prepare(PRICES, settings, replace(recipe, unrollings=length))
    assert made == [2500]


@pytest.mark.parametrize(
    "change",
    [
        {"prices": Prices("AAPL", BARS.assign(High=BARS["High"] * 1.001), PRICES.provenance)},
        {"prices": Prices("AAPL", BARS[:-1], PRICES.provenance)},
        {"prices": Prices("AAPL", BARS[1:], PRICES.provenance)},
        {"start_date": date(2020, 3, 2)},
        {"window_size": 60},
        {"code": "another version of features"},
    ],
)
def test_whatever_decides_the_arrays_decides_whether_they_are_used(
    settings, made, monkeypatch, change
):
    training_scale(PRICES, settings, 2500)
    if "code" in change:
        monkeypatch.setattr(processed, "_code", lambda: change["code"])
    wish = settings.model_copy(
        update={name: value for name, value in change.items() if name == "start_date"}
    )
    again = training_scale(change.get("prices", PRICES), wish, change.get("window_size", 2500))
    assert len(made) == 2
    assert same(again, training_scale(change.get("prices", PRICES), wish, made[-1]))
    assert len(made) == 2


def test_the_key_knows_the_code_that_makes_the_arrays():
    assert len(processed._code()) == 64
    assert processed.key_of({"bars": "a"}) != processed.key_of({"bars": "b"})


def test_a_damaged_byte_anywhere_is_never_believed(settings):
    training_scale(PRICES, settings, 2500)
    whole = KEPT.read_bytes()
    for place in range(0, len(whole), 61):
        broken = bytearray(whole)
        broken[place] ^= 0x55
        KEPT.write_bytes(bytes(broken))
        assert same(training_scale(PRICES, settings, 2500), fresh()), place


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_file_cut_off_is_made_anew(settings, share, caplog):
    training_scale(PRICES, settings, 2500)
    whole = KEPT.read_bytes()
    KEPT.write_bytes(whole[: int(share * len(whole))])
    assert same(training_scale(PRICES, settings, 2500), fresh())
    assert "processed_unreadable" in caplog.text
    assert KEPT.read_bytes() == whole


def test_no_code_is_run_from_a_kept_file(settings, made):
    training_scale(PRICES, settings, 2500)
    with np.load(KEPT, allow_pickle=False) as kept:
        key = kept["key"]
    objects = np.array([json.loads], dtype=object)
    np.savez(KEPT, allow_pickle=True, key=key, mids=objects, lo=objects, hi=objects)
    assert same(training_scale(PRICES, settings, 2500), fresh())
    assert made == [2500, 2500, 2500]


def test_arrays_of_another_shape_or_kind_are_made_anew(settings):
    training_scale(PRICES, settings, 2500)
    with np.load(KEPT, allow_pickle=False) as kept:
        key = kept["key"]
    np.savez(KEPT, key=key, mids=np.ones(3), lo=np.ones(2), hi=np.ones(3))
    assert same(training_scale(PRICES, settings, 2500), fresh())


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(settings, monkeypatch):
    training_scale(PRICES, settings, 2500)
    before = KEPT.read_bytes()

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert len(training_scale(PRICES, settings, 60).mids) == len(BARS)
    assert KEPT.read_bytes() == before
    assert [path.name for path in KEPT.parent.iterdir()] == [KEPT.name]


def test_a_folder_that_cannot_be_written_costs_only_the_keeping(settings):
    settings.data_dir.mkdir()
    KEPT.parent.write_text("a file where the folder should be")
    assert same(training_scale(PRICES, settings, 2500), fresh())


def test_what_is_kept_is_small(settings):
    training_scale(PRICES, settings, 2500)
    assert KEPT.stat().st_size < 3 * 8 * len(BARS) + 2000
