"""The benchmark's sums: what it runs, what it makes of what it measured, that it sees processes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import benchmark_module
import pytest


@pytest.fixture(scope="module")
def benchmark():
    with benchmark_module.benchmark("scale") as module:
        yield module


@pytest.fixture
def costs(benchmark):
    """Trainings that take 4 s to start and 2 s a ticker, a tenth of it in the command itself."""

    def of(tickers, workers):
        share = 1.0 if workers == 1 else 0.9
        return benchmark.Cost(
            *("train", tickers, workers, 4 + 2 * tickers / workers / share, 4 + 2 * tickers),
            *(0.2 * tickers, 300.0, 600.0, 50_000 * tickers, 0),
        )

    return [of(*row) for row in ((10, 1), (10, 2), (30, 1), (30, 2), (90, 2))]


def test_small_trainings_are_run_by_one_process_as_well(benchmark):
    rows = list(benchmark.plan((60, 15), ("train", "backtest"), workers=2, alone=15))
    assert rows == [
        ("train", 15, 1),
        ("train", 15, 2),
        ("backtest", 15, 2),
        ("train", 60, 2),
        ("backtest", 60, 2),
    ]


def test_efficiency_is_told_with_and_without_the_start(benchmark, costs):
    rows = [line.split(" | ") for line in benchmark.efficiency(costs)][2:]
    # 24 s against 15.1 s on two; then 40 s more against 22.2 s more
    assert rows == [["| train", "2", "10", "79%", "90% |"], ["| train", "2", "30", "86%", " |"]]


def test_a_projection_tells_the_workers_part_and_the_drivers(benchmark, costs):
    cluster = benchmark.Cluster(tickers=5000, machines=16, processors=8, share=0.5)
    (row,) = list(benchmark.projection(costs, cluster))[2:]
    # 1.8 s a ticker over 64 whole processors, 0.2 s a ticker in the command
    assert row == "| train | 1.80 | 0.20 | 2.3 | 16.7 |"


def test_the_table_has_a_row_for_each_run(benchmark, costs):
    failed = replace(costs[0], failed=2)
    rows = list(benchmark.table([failed, *costs[1:]]))
    assert rows[2] == "| train | 10 | 1 | 24.0 | 2.40 | 24 | 300 | 600 | 50 | 2 |"
    assert len(rows) == 2 + len(costs)


def test_it_is_drawn(benchmark, costs, tmp_path):
    benchmark.drawn(costs, tmp_path / "scale.png")
    assert (tmp_path / "scale.png").read_bytes().startswith(b"\x89PNG")


COMMAND = """
import subprocess, sys
filled = bytearray(80_000_000)
child = "filled = bytearray(160_000_000); import time; time.sleep(1.2)"  # written once: no copy
subprocess.run([sys.executable, "-c", child])
open("made", "w").write("x" * 5000)
print("3 done, 2 failed in 0:07")
sys.exit(1)
"""


def test_a_commands_memory_time_files_and_failures_are_counted(benchmark, tmp_path, monkeypatch):
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    project = benchmark.Project(tmp_path / "project", tmp_path / "prices")
    monkeypatch.setattr(benchmark, "ROOT", tmp_path)
    wish = benchmark.Wish("local", None, "2025-01-01", "2025-02-01")
    monkeypatch.setattr(benchmark.Wish, "command", lambda *_: ("command.py",))
    cost = benchmark.measured(project, "train", ["AAPL", "MSFT", "IBM"], 1, wish)
    assert (cost.tickers, cost.failed, cost.stored) == (3, 2, 5000)
    assert 80 < cost.driver < 120 < cost.worker < 300
    assert cost.seconds > 1.2 and 0 < cost.driving <= cost.processor


def test_commands_are_those_a_user_would_type(benchmark):
    wish = benchmark.Wish("ray", 2, "2025-10-01", "2025-12-01")
    names = Path("tickers.txt")
    assert " ".join(wish.command("train", names, 4)) == (
        "train.py --tickers-file tickers.txt --engine ray --workers 4 --afresh --epochs 2"
    )
    assert " ".join(wish.command("forecast", names, 4)) == (
        "predict.py --all --tickers-file tickers.txt --steps 30 --out forecasts.parquet"
    )


def test_a_users_settings_do_not_reach_the_commands(benchmark, monkeypatch):
    monkeypatch.setitem(os.environ, "STOCK_EPOCHS", "1")
    said = benchmark.Project(Path("here"), Path("prices")).environment()
    assert {name: text for name, text in said.items() if name.startswith("STOCK_")} == {
        "STOCK_AS_OF": "2025-12-31",
        "STOCK_DATA_DIR": "prices",
    }
