"""The sums of the benchmark that holds several workers against one process."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def linear():
    """benchmarks/linear.py as a module."""
    spec = importlib.util.spec_from_file_location("benchmark_linear", FOLDER / "linear.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
        patch.syspath_prepend(FOLDER)
        spec.loader.exec_module(module)
        yield module
    sys.modules.pop("scale", None)


def test_start_and_end_do_not_count(linear):
    records = [30.0, 31.0, 32.0, 33.0, 34.5, 36.0, 37.5, 60.0]  # the last one ran alone
    looks = [(0.0, 0.0, 0.0), (33.0, 50.0, 8.0), (37.5, 59.0, 8.9), (70.0, 80.0, 10.0)]
    found = linear.pace(records, looks, workers=2)
    assert found.a_minute == pytest.approx(40)
    assert (found.processor, found.driving) == pytest.approx((3, 0.3))


def test_too_few_tickers_are_refused(linear):
    with pytest.raises(ValueError, match="4 tickers are too few for 2 workers"):
        linear.pace([1.0, 2.0, 3.0, 4.0], [], workers=2)


def test_workers_are_held_against_as_many_processes_by_themselves(linear):
    alone, several = linear.Pace(30.0, 1.9, 1.9), linear.Pace(54.0, 2.0, 0.1)
    lines = linear.rows(alone, [("2 workers", 2, [several]), ("beside", 2, [alone, alone])], 2)
    assert [*lines][2:] == [
        "| 2 workers | 54.0 | 90% | 2.00 | 0.10 | 10% |",
        "| beside | 60.0 | 100% | 1.90 | 1.90 | 5% |",
    ]
