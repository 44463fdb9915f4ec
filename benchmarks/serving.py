"""How fast and how small serving is: every figure side by side in one run, as Markdown.

`python benchmarks/serving.py` on two idle cores: servers on core 0, clients on core 1. Champions
are copies of the shipped base on invented bars; the reference is a fresh network of the
specification's shape, loaded and asked as the specification lists it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import serving_stage
from serving_beside import beside
from serving_many import PROCESSORS, everyone, recursive
from serving_stage import REFERENCE, ROOT, Load, Stage, load, run_python

MANY = 500
BATCH = 100
LOOKED_AT_AGAIN = 0.7  # seconds after which files of models and prices are looked at again
PARTS = ("cold", "warm", "size", "everyone", "recursive", "beside", "batch")
COLD = """
import json, sys, time
sys.path.insert(0, sys.argv[1]); sys.path.insert(0, sys.argv[1] + "/benchmarks")
from pathlib import Path
import numpy as np
from dataclasses import replace
from serving_stage import Stage
from answers import forecast_answer
from champions import Champions
from data_pipeline import StockDataPipeline
from inference import Network, TrainedModel
from model_store import ModelStore
from recipes import RECIPES
from serving import make_forecast, make_probability
stage, settings = Stage(Path(sys.argv[2])), Stage(Path(sys.argv[2])).settings
loading = time.perf_counter()
direct = Champions(ModelStore(settings.models_dir), 9).get("T000").served
loading = time.perf_counter() - loading
recipe = RECIPES["mlops_64_64_32"].as_dict()
network = Network(Path(sys.argv[2]) / "recursive.onnx")
recursive = replace(direct, model=TrainedModel(network, recipe))
prices = StockDataPipeline("T000", settings).read()

def seconds(make, times=int(sys.argv[3])):
    make(); found = []
    for _ in range(times):
        began = time.perf_counter(); make(); found.append(time.perf_counter() - began)
    return float(np.median(found))

said = make_forecast(direct, prices, 30, 10)
print(json.dumps({
    "direct": seconds(lambda: make_forecast(direct, prices, 30, 10)),
    "recursive": seconds(lambda: make_forecast(recursive, prices, 30, 10)),
    "paths": seconds(lambda: make_probability(direct, prices, 30, ("above", said.last_mid))),
    "json": seconds(lambda: forecast_answer(said)),
    "read": seconds(lambda: StockDataPipeline("T000", settings).read()),
    "load": loading,
}))
"""


def cold(stage: Stage, times: int) -> list[str]:
    """One forecast from bars in memory, against the specification's loop."""
    reference = run_python(REFERENCE, ROOT, stage.folder, times)
    ours = run_python(COLD, ROOT, stage.folder, 50 * times)
    loads, loops = (statistics.median(column) for column in zip(*reference, strict=True))
    rows = [
        f"| the specification's loop: load the model, 30 times `model.predict` | "
        f"{(loads + loops) * 1e3:.0f} ms ({loads * 1e3:.0f} + {loops * 1e3:.0f}) | 1 |"
    ]
    for name, text in (
        ("direct", "`panel`, every step at once"),
        ("recursive", "`mlops_64_64_32`, 30 steps fed back"),
    ):
        ratio = (loads + loops) / ours[name]
        rows.append(
            f"| {text}: bars in memory to dates, points, bands | "
            f"{ours[name] * 1e3:.2f} ms | {ratio:.0f}x; {loops / ours[name]:.0f}x without "
            "the reference's loading |"
        )
    beside = {
        "json": "the answer's fields, rounded",
        "paths": "a probability over joint paths",
        "read": "reading and hashing the bars",
        "load": "reading and verifying the bundle",
    }
    rows += [f"| beside it: {text} | {ours[k] * 1e3:.2f} ms | |" for k, text in beside.items()]
    return ["| cold forecast, 30 steps | time | faster |", "|---|--:|--:|", *rows]


def warm(stage: Stage, seconds: float, rounds: int) -> list[str]:
    """The real route and a bare one with the same bytes, in turns, at several loads."""
    target, tickers = "/predict?ticker=T000&steps=30", ["T000", "T001", "T002"]
    rows = [
        "| warm `/predict`, one worker | requests/s, bare and service | share | p99, bare and "
        "service | ratio | processor time a request | share |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    with stage.api(tickers) as (server, _):
        body = stage.folder / "body.json"
        with serving_stage.urlopen(server.url + target) as said:
            body.write_bytes(said.read())
        more = {"BARE_BODY": str(body)}
        name, home = "serving_stage:bare", ROOT / "benchmarks"
        with serving_stage.serving(name, home, stage.folder, more) as plain:
            plain.ready("/predict")
            for connections in (1, 16, 64):
                asked = [
                    [load(one, target, seconds, connections) for one in (plain, server)]
                    for _ in range(rounds)
                ]
                rows.append(f"| {connections} connections {compared(asked)}")
    return rows


def compared(asked: Sequence[Sequence[Load]]) -> str:
    """Medians of (bare, service) pairs as the cells of a row."""
    rates, tails, works = (
        [statistics.median(getattr(pair[side], name) for pair in asked) for side in (0, 1)]
        for name in ("per_second", "p99", "processor")
    )
    return (
        f"| {rates[0]:,.0f} and {rates[1]:,.0f} | {rates[1] / rates[0]:.0%} "
        f"| {tails[0] * 1e3:.2f} and {tails[1] * 1e3:.2f} ms | {tails[1] / tails[0]:.1f} "
        f"| {works[0] * 1e6:.0f} and {works[1] * 1e6:.0f} us | {works[0] / works[1]:.0%} |"
    )


def batch(stage: Stage, tickers: Sequence[str], rounds: int) -> list[str]:
    """A hundred tickers whose forecasts are not at hand, at once and one by one.

    With one processor for the server, and with all of them: different networks run side by side.
    """
    rows = [
        "| 100 tickers, 30 steps, none kept | processors | one by one | one batch | faster | "
        "processor time | less |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for text in ("own weights each, `panel`", "all answered by the shared base, `panel`"):
        for cores, told in PROCESSORS.items():
            alone, together = timed(stage, tickers, cores, 5 * rounds)
            rows.append(
                f"| {text} | {told} | {alone[0] * 1e3:.0f} ms | {together[0] * 1e3:.0f} ms | "
                f"{alone[0] / together[0]:.1f}x | {alone[1] * 1e3:.0f} and "
                f"{together[1] * 1e3:.0f} ms | {alone[1] / together[1]:.1f}x |"
            )
        stage.take_champions_away()
    return rows


def timed(
    stage: Stage, tickers: Sequence[str], cores: str, times: int
) -> tuple[tuple[float, float], ...]:
    """Seconds one by one and at once, in turns, in a server that keeps no answer.

    For each the median of the clock, and the mean of what the server's processors worked.
    """
    with stage.api(tickers[:3], cores, STOCK_CACHED_ANSWERS="1") as (server, _):
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        at_once(connection, tickers, 1)  # models and prices are read
        found: dict[Way, list[tuple[float, float]]] = {one_by_one: [], at_once: []}
        for way in list(found) * times:
            one_by_one(connection, tickers[:1], 1)  # the one answer that is kept is this
            kept_awake(connection, LOOKED_AT_AGAIN)
            worked, began = server.processor(), time.perf_counter()
            way(connection, tickers, 30)
            took = time.perf_counter() - began
            found[way].append((took, server.processor() - worked))
        clocks = ([took for took, _ in seen] for seen in found.values())
        works = (statistics.mean(worked for _, worked in seen) for seen in found.values())
        return tuple(zip(map(statistics.median, clocks), works, strict=True))


def kept_awake(connection: http.client.HTTPConnection, seconds: float) -> None:
    """Ask for nothing much: the processors of a server at work do not have to be woken first."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        connection.request("GET", "/health")
        connection.getresponse().read()


Way = Callable[[http.client.HTTPConnection, Sequence[str], int], None]


def one_by_one(connection: http.client.HTTPConnection, tickers: Sequence[str], steps: int) -> None:
    """A request each, over one connection."""
    for ticker in tickers:
        connection.request("GET", f"/predict?ticker={ticker}&steps={steps}")
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()


def at_once(connection: http.client.HTTPConnection, tickers: Sequence[str], steps: int) -> None:
    """One request."""
    asked = json.dumps({"tickers": list(tickers), "steps": steps})
    connection.request("POST", "/predict/batch", asked, {"Content-Type": "application/json"})
    body = connection.getresponse().read()
    assert body.count(b'"prediction_steps"') == len(tickers), body[:500]


def size(stage: Stage, tickers: Sequence[str]) -> list[str]:
    """Start and memory, with few champions and with many."""
    rows = [
        "| champions | start to `/ready` | memory then | after each was asked |",
        "|---|--:|--:|--:|",
    ]
    for some in (tickers[:3], tickers):
        with stage.api(some) as (server, seconds):
            before = server.memory()
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            one_by_one(connection, some, 30)
            rows.append(
                f"| {len(some)} | {seconds:.1f} s | {before:.0f} MB | {server.memory():.0f} MB |"
            )
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="serving.py", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=3, help="of load in each round")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts")
    parser.add_argument("--champions", type=int, default=MANY, help="of the larger project")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="default: all")
    arguments = parser.parse_args(argv)
    os.sched_setaffinity(0, {1})
    tickers = [f"T{number:03}" for number in range(arguments.champions)]
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        stage.fill(tickers)
        parts = {
            "cold": partial(cold, stage, 2 * arguments.rounds),
            "warm": partial(warm, stage, arguments.seconds, arguments.rounds),
            "size": partial(size, stage, tickers),
            "everyone": partial(everyone, stage, len(tickers)),
            "recursive": partial(recursive, stage, arguments.rounds),
            "beside": partial(beside, stage, tickers[:BATCH], 4 * arguments.seconds),
            "batch": partial(batch, stage, tickers[:BATCH], arguments.rounds),  # takes them away
        }
        for name in PARTS:
            if name in arguments.parts:
                print("\n".join([*parts[name](), ""]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
