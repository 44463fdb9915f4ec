"""The sums of the benchmark that holds several workers against one process."""

from __future__ import annotations

import benchmark_module
import pytest


@pytest.fixture(scope="module")
def linear():
    with benchmark_module.benchmark("linear") as module:
        yield module


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
    confined, alone = linear.Pace(28.0, 1.8, 1.8), linear.Pace(30.0, 1.9, 1.9)
    several = linear.Pace(50.4, 2.0, 0.1)
    ways = [("confined", 1, [confined]), ("alone", 1, [alone])]
    ways += [("2 workers", 2, [several]), ("beside", 2, [alone, alone])]
    assert [*linear.rows(ways, 2)][2:] == [
        "| confined | 28.0 | 100% | 93% | 1.80 | 1.80 | 16% |",
        "| alone | 30.0 | 107% | 100% | 1.90 | 1.90 | 5% |",
        "| 2 workers | 50.4 | 90% | 84% | 2.00 | 0.10 | 16% |",
        "| beside | 60.0 | 107% | 100% | 1.90 | 1.90 | 5% |",
    ]
