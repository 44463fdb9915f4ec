"""Tests of equal accuracy by NumPy alone, held against SciPy and against their own promise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from significance import diebold_mariano, equal_accuracy, student_two_sided

ROOT = Path(__file__).resolve().parent.parent


# SciPy rounds statistics below 1e-8 to none, through v / (v + t * t).
@given(statistic=st.floats(1e-3, 60), freedom=st.integers(1, 3000))
def test_students_tail_is_scipys_on_either_side(statistic, freedom):
    expected = 2 * stats.t.sf(statistic, freedom)
    assert student_two_sided(statistic, freedom) == pytest.approx(expected, abs=1e-12)
    assert student_two_sided(-statistic, freedom) == student_two_sided(statistic, freedom)


def test_no_difference_at_all_has_a_p_value_of_one():
    assert student_two_sided(0.0, 1) == student_two_sided(0.0, 30) == 1.0


def test_equal_forecasts_are_told_apart_about_as_often_as_stated():
    draws = np.random.default_rng(3).normal(size=(400, 2, 120))
    p_values = np.array([diebold_mariano(ours, theirs) for ours, theirs in draws])
    assert 0.02 < (p_values < 0.05).mean() < 0.09


def test_a_better_forecast_is_told_apart():
    theirs = np.random.default_rng(4).normal(size=200)
    assert diebold_mariano(0.8 * theirs, theirs) < 1e-6


@pytest.mark.parametrize("rows", [0, 1, 9])
def test_too_few_rows_tell_nothing(rows):
    assert equal_accuracy(np.ones(rows), np.zeros(rows)) == 1.0


def test_it_needs_neither_scipy_nor_scikit_learn():
    code = "import significance, sys; print([m for m in ('scipy', 'sklearn') if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
