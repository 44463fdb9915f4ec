"""The benchmark compares two ways of doing the same; that they do is tested, their times not."""

from __future__ import annotations

import gzip
from pathlib import Path

import benchmark_module
import pytest

from generate_synthetic_data import generate_synthetic_stock_data


@pytest.fixture(scope="module")
def benchmark():
    with benchmark_module.benchmark("pipeline") as module:
        yield module


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    """Three invented tickers, one of them compressed."""
    folder = tmp_path_factory.mktemp("panel")
    for ticker in ("AAPL", "MSFT", "IBM"):
        text = generate_synthetic_stock_data(ticker, "2023-01-01", "2024-06-28").to_csv(index=False)
        (folder / f"{ticker}.csv").write_text(text)
    (folder / "AAPL.csv.gz").write_bytes(gzip.compress((folder / "AAPL.csv").read_bytes()))
    (folder / "AAPL.csv").unlink()
    return sorted(folder.iterdir())


def test_the_obvious_loops_give_the_same_inputs_bit_by_bit(benchmark, files):
    assert benchmark.disagreements(files) == 0


def test_a_way_that_differs_would_be_noticed(benchmark, files, monkeypatch):
    monkeypatch.setattr(benchmark, "WINDOW", 40)
    narrow = [benchmark._looped(path) for path in files]
    monkeypatch.setattr(benchmark, "_looped", lambda path: narrow[files.index(path)])
    monkeypatch.setattr(benchmark, "WINDOW", 2500)
    assert benchmark.disagreements(files) == 3


@pytest.mark.parametrize("way", ["OURS", "LOOPS"])
def test_a_cost_counts_every_bar_and_every_step(benchmark, files, way):
    cost = benchmark.run(getattr(benchmark, way), files)
    assert cost.bars == 3 * len(generate_synthetic_stock_data("AAPL", "2023-01-01", "2024-06-28"))
    assert len(cost.seconds) == len(benchmark.STEPS) and min(cost.seconds) > 0
    assert cost.whole == pytest.approx(sum(cost.seconds)) and cost.peak >= cost.before > 10
