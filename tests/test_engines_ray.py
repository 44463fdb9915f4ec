"""The same tasks on real Ray clusters: of several nodes that may be killed, and of our own."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import engine_work
import pandas as pd
import pytest
from loop_project import TRAINED_THROUGH, placed
from processes import command, descendants, gone, listening
from project import Project

import backtest
from contracts import EngineUnavailable
from data_pipeline import import_file
from engines import EngineChoice, open_engine, ray_cluster
from engines.job import Job
from engines.worker import ONE_THREAD
from model_store import CARD, MANIFEST, ModelStore, card_json

TESTS = Path(__file__).resolve().parent
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
PATH = f"{TESTS}{os.pathsep}{TESTS.parent}"


@pytest.fixture(scope="module")
def cluster():
    """Two nodes on 127.0.0.1, one task each at a time; the tests use the first one to the end."""
    folder = tempfile.mkdtemp(prefix="r-")  # below it are sockets, whose paths may not be long
    with pytest.MonkeyPatch.context() as patch:
        own = {"RAY_AUTH_TOKEN": "t" * 64, "RAY_TMPDIR": folder}
        for name, said in {**ray_cluster.PRIVATE, **own}.items():
            patch.setenv(name, said)
        patch.setenv("PYTHONPATH", str(TESTS))  # the tests' own tasks are installed on every node
        from ray.cluster_utils import Cluster

        nodes = Cluster(initialize_head=True, head_node_args=NODE)
        nodes.add_node(**NODE)
        yield nodes
        nodes.shutdown()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def engine(cluster):
    """All tasks of this file go through it."""
    with open_engine(EngineChoice("ray", address=cluster.address)) as joined:
        yield joined


def numbered(*numbers: float):
    return [(f"task{index}", number) for index, number in enumerate(numbers)]


def by_key(outcomes):
    return {done.key: done for done in outcomes}


def test_as_many_tasks_at_once_as_the_cluster_has_processors(engine):
    assert (engine.name, engine.workers) == ("ray", 2)


def test_a_process_gives_way_to_a_new_one_after_its_share_of_tasks(engine, monkeypatch):
    monkeypatch.setattr("engines.on_ray.TASKS_EACH", 2)
    pids = Counter(done.value for done in engine.map(engine_work.who, numbered(*[0.05] * 6)))
    assert sum(pids.values()) == 6 and max(pids.values()) <= 2


def test_values_errors_and_surprises_come_back_as_from_processes(engine, caplog):
    tasks = numbered(4, -1, 2)
    with open_engine(EngineChoice(workers=1)) as here:
        expected = by_key(here.map(engine_work.square_or_say_why, tasks))
    found = by_key(engine.map(engine_work.square_or_say_why, tasks))
    for key, done in expected.items():
        assert (found[key].value, found[key].error) == (done.value, done.error)
    assert "in square_or_say_why" in caplog.text


def test_what_a_worker_warns_of_is_said_by_the_driver(engine, caplog):
    caplog.set_level(logging.INFO)
    (done,) = engine.map(engine_work.grumble, numbered(7))
    assert done.value == 7
    assert [r.getMessage() for r in caplog.records] == ["odd key=task0 number=7"]


def test_what_cannot_travel_back_costs_only_itself(engine):
    (done,) = engine.map(engine_work.a_lock, numbered(1))
    assert done.error == "unexpected TypeError: cannot pickle '_thread.lock' object"


def test_nodes_run_the_drivers_code_and_not_what_they_may_have(engine):
    (done,) = engine.map(engine_work.where, numbered(0))
    assert "working_dir_files" in done.value


def test_a_node_gets_modules_and_shipped_bases_and_nothing_else(tmp_path):
    ray_cluster.copy_modules(ray_cluster.HOME, tmp_path)
    found = {path.name for path in tmp_path.iterdir()}
    assert {"train.py", "engines", "contracts", "pretrained"} <= found
    assert not {"tests", "docs", "deploy", "data", "models", ".git"} & found


def test_every_task_has_one_thread(engine):
    (done,) = engine.map(engine_work.surroundings, [("a", tuple(ONE_THREAD))])
    assert done.value == ONE_THREAD


def test_weights_are_the_same_to_the_last_bit_on_either_engine(engine):
    with open_engine(EngineChoice(workers=2)) as local:
        first, second = (one.map(engine_work.descended, numbered(7)) for one in (local, engine))
        assert next(first).value == next(second).value is not None


def test_a_dead_worker_costs_its_task_a_second_attempt_and_the_others_nothing(engine, tmp_path):
    tasks = [(key, str(tmp_path)) for key in ("a", "deadly", "b", "c", "d")]
    found = by_key(engine.map(engine_work.die, tasks))
    assert {key: (done.value, done.attempts) for key, done in found.items()} == {
        **dict.fromkeys("abcd", (1, 1)),
        "deadly": (2, 2),
    }


@pytest.mark.parametrize(
    ("count", "nodes"), [(14, 1), pytest.param(600, 3, marks=pytest.mark.long)]
)
def test_a_job_ends_with_every_key_done_once_though_nodes_are_killed(
    engine, cluster, tmp_path, count, nodes
):
    doomed = list(cluster.worker_nodes)
    doomed += [cluster.add_node(**NODE) for _ in range(nodes - len(doomed))]
    started, kept = tmp_path / "started", []
    started.mkdir()
    keys = [f"key{number}" for number in range(count)]
    with Job(tmp_path / "job", "keys", keys, {}) as job:
        for done in engine.map(engine_work.start_and_end, ((key, str(started)) for key in keys)):
            assert done.error is None
            job.keep(done.key, {"value": done.value, "attempts": done.attempts})
            kept.append(done.key)
            if doomed and len(kept) % 4 == 0:
                cluster.remove_node(doomed.pop(), allow_graceful=False)
        records = job.records()
        assert job.finish().failed == {}
    assert sorted(kept) == sorted(keys)
    assert {key: record["value"] for key, record in records.items()} == {key: key for key in keys}
    assert len(list(started.iterdir())) <= sum(record["attempts"] for record in records.values())


WALK = ("--champion", "--start", "2025-12-01", "--end", "2025-12-15", "--steps", "3")


@pytest.fixture
def two_champions(tmp_path, trained_project, real_data) -> Project:
    """One network under two names, its card saying that it has not seen December."""
    wish = {**trained_project.settings, "STOCK_TICKERS": "AAPL,AAA"}
    project, store = Project(tmp_path, wish), ModelStore(tmp_path / "models")
    old = ModelStore(trained_project.folder / "models").champion("AAPL")
    files = {item.name: item for item in old.path.iterdir() if item.name != MANIFEST}
    for ticker in ("AAPL", "AAA"):
        import_file(ticker, real_data / "yahoo" / "AAPL.csv", placed(tmp_path))
        card = replace(old.card, ticker=ticker, trained_through=TRAINED_THROUGH)
        bundle = store.write(ticker, datetime.now(UTC), {**files, CARD: card_json(card)})
        store.publish(ticker, bundle, "1")
    return project


def test_a_command_writes_by_ray_what_it_writes_by_itself(two_champions, cluster, monkeypatch):
    folder = two_champions.folder
    here = placed(folder, tickers=("AAPL", "AAA"), as_of="2025-12-31")
    monkeypatch.setattr(backtest, "get_settings", lambda: here)
    assert backtest.main([*WALK, "--forecasts", str(folder / "local.parquet")]) == 0
    by_ray = ("--engine", "ray", "--workers", "2", "--ray-address", cluster.address, "--afresh")
    done = two_champions.command("backtest.py", *WALK, "--forecasts", "ray.parquet", *by_ray)
    assert done.returncode == 0, done.stderr
    assert "2 done, 0 failed" in done.stdout
    local, ray = (pd.read_parquet(folder / f"{engine}.parquet") for engine in ("local", "ray"))
    assert {*ray["ticker"]} == {"AAPL", "AAA"}
    pd.testing.assert_frame_equal(ray, local, check_exact=True)


OWN = """
import json, sys, engine_work
from engines import EngineChoice, open_engine
from processes import descendants
import os
with open_engine(EngineChoice("ray", workers=2)) as engine:
    keys = [(f"task{n}", n) for n in range(5)]
    values = sorted(done.value["square"] for done in engine.map(engine_work.square, keys))
    print(json.dumps({"values": values, "workers": engine.workers}), flush=True)
    list(engine.map(engine_work.who, [("a", 600), ("b", 600)]))
"""


def test_a_cluster_of_our_own_is_private_and_ends_with_its_driver(tmp_path):
    quiet = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    with subprocess.Popen(
        [sys.executable, "-c", OWN],
        env={**quiet, "PYTHONPATH": PATH, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as driver:
        told = json.loads(driver.stdout.readline())
        pids = descendants(driver.pid)
        heard = {address for pid in pids for address in listening(pid)}
        # Ray's two agents, idle, look for the head that is gone for a minute more
        working = {pid for pid in pids if "Agent" not in command(pid)}
        driver.send_signal(signal.SIGKILL)
    assert told == {"values": [0, 1, 4, 9, 16], "workers": 2}
    assert len(working) >= 4 and heard == {"127.0.0.1"}
    assert not (tmp_path / ".ray").exists()  # no token in the home
    assert all(gone(pid) for pid in working)


def test_without_ray_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineUnavailable, match=r"pip install .* -r requirements-scale.txt"):
        open_engine(EngineChoice("ray"))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "ray://127.0.0.1:10001"])
def test_an_address_where_nothing_answers_is_told(address):
    with pytest.raises(EngineUnavailable, match=f"--ray-address {address}: "):
        open_engine(EngineChoice("ray", address=address))
