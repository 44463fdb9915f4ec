"""A base's fit: windows from disk, in Keras' order, resumable, the same weights bit for bit."""

import json
import math
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from project import ROOT, free_port

from contracts import BadSettings, NoBase, NotEnoughHistory, WorkerLost
from generate_synthetic_data import generate_synthetic_stock_data
from model import LSTMStockModel
from panel import PanelInputs, panel_inputs, stack, targets, training_windows
from pretraining.batches import Deal, dataset, dealt, keras_order
from pretraining.fits import Lesson, fit_network
from pretraining.judging import past_errors
from pretraining.panels import YEAR, Panel, StoredBars
from pretraining.row_file import RowFile
from pretraining.rows import prepared_rows, window_table
from pretraining.strategies import EXAMPLE, open_spread
from pretraining.unfinished import Unfinished, unfinished
from recipes import find_recipe

TINY = {"lstm_units_1": 4, "lstm_units_2": 4, "dense_units": 4, "unrollings": 10}
RECIPE = replace(find_recipe("panel", TINY), base_epochs=3, base_least_updates=1, base_batch_size=3)
END = date(2023, 12, 29)
LENGTHS = {"AAA": 700, "BBB": 380, "CCC": 563, "DDD": 60}


def invented(ticker: str, days: int) -> pd.DataFrame:
    return generate_synthetic_stock_data(ticker, "2018-01-01", END, days)


PANEL = Panel({ticker: invented(ticker, days) for ticker, days in LENGTHS.items()}, END, "0" * 64)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return prepared_rows(PANEL, RECIPE, tmp_path_factory.mktemp("rows"))


def all_windows(left_out):
    """Every window of every ticker in memory at once, as bases were first made."""
    parts = []
    for bars in PANEL.bars.values():
        whole = panel_inputs(bars)
        count = max(0, len(bars) - left_out)
        sides = (whole.x, whole.unit, whole.mids, whole.closes)
        inputs = PanelInputs(*(side[:count] for side in sides))
        target = targets(inputs, RECIPE.horizons, count)
        try:
            parts.append(training_windows(inputs, target, range(count - 1), RECIPE.unrollings))
        except NotEnoughHistory:
            continue
    return stack(parts)


@pytest.mark.parametrize("left_out", [0, 1, 100, YEAR])
def test_windows_from_disk_are_those_of_all_in_memory(rows, left_out):
    table, whole = window_table(rows, RECIPE.unrollings, left_out), all_windows(left_out)
    found = table.windows(np.arange(len(table)))
    np.testing.assert_array_equal(found.x, whole.x)
    np.testing.assert_array_equal(found.y, whole.y)


def test_no_ticker_long_enough_for_a_window_is_said(tmp_path):
    short = Panel({"DDD": PANEL.bars["DDD"]}, END, "0" * 64)
    with pytest.raises(NotEnoughHistory, match="tickers with a whole training window"):
        window_table(prepared_rows(short, RECIPE, tmp_path), RECIPE.unrollings)


def test_the_first_session_is_that_of_the_longest_ticker(rows):
    assert rows.first_session == PANEL.bars["AAA"]["Date"].iloc[0].date()


def test_rows_leave_no_file_behind(tmp_path):
    file = RowFile(tmp_path / "new", 2)
    assert file.append(np.array([[1, 2], [3, 4]])) == range(2)
    assert file.append(np.array([[5, 6]])) == range(2, 3)
    np.testing.assert_array_equal(file.read(1, 2), [[3, 4], [5, 6]])
    assert len(file) == 3
    assert not list((tmp_path / "new").iterdir())


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NoBase, match="cannot be written"):
        RowFile(tmp_path / "file", 2)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux' /dev/full")
def test_a_full_disk_is_said(tmp_path):
    file = RowFile(tmp_path, 2)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, file._handle)
    os.close(full)
    with pytest.raises(NoBase, match="No space left"):
        file.append(np.zeros((1, 2)))


def test_stored_bars_are_the_bars(tmp_path):
    stored = StoredBars(tmp_path)
    for ticker, bars in PANEL.bars.items():
        stored.put(ticker, bars)
    assert list(stored) == list(PANEL.bars) and "NIX" not in stored
    for ticker, bars in PANEL.bars.items():
        wanted = bars.drop(columns="Adj Close").astype({"Volume": float})
        pd.testing.assert_frame_equal(stored[ticker], wanted)


def test_many_judges_are_asked_at_fewer_origins_each(tmp_path):
    class Asked:
        first_origin = 75

        def outlook(self, bars, origins, steps):
            asked.append(origins)
            raise StopIteration

    asked = []
    for tickers in (49, 1300):  # all of them judges, and a tenth
        bars = dict.fromkeys((f"T{number}" for number in range(tickers)), PANEL.bars["AAA"])
        with pytest.raises(StopIteration):
            past_errors(Asked(), Panel(bars, END, ""))
    np.testing.assert_array_equal(asked[0], np.arange(75, 699))
    assert asked[1][-1] == 698 and set(np.diff(asked[1])) == {3}


# The order, and who gets what


@pytest.mark.parametrize(("count", "batch"), [(7, 3), (64, 8), (300, 64)])
def test_the_order_is_that_of_keras_fit_in_every_epoch(count, batch):
    class Listener(keras.Sequential):
        def train_step(self, data):
            heard.extend(data[1].numpy().ravel().astype(int))
            return super().train_step(data)

    heard: list[int] = []
    network = Listener([keras.Input((1,)), keras.layers.Dense(1)])
    network.compile("sgd", "mse", run_eagerly=True)
    keras.utils.set_random_seed(5)
    x = np.zeros((count, 1))
    network.fit(x, np.arange(count, dtype=float), epochs=2, batch_size=batch, verbose=0)
    assert heard == [*keras_order(count, 5), *keras_order(count, 5)]


def test_one_replica_gets_whole_batches():
    parts = dealt(np.arange(10), 4, Deal(range(1), 1))
    assert [part.tolist() for part in parts] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize(("count", "replicas"), [(8, 2), (9, 2), (9, 4), (13, 4), (5, 3)])
def test_replicas_share_each_batch_evenly(count, replicas):
    shares = [dealt(np.arange(count), 4, Deal(range(r, r + 1), replicas)) for r in range(replicas)]
    for begin, parts in zip(range(0, count, 4), zip(*shares, strict=True), strict=True):
        batch = set(range(begin, min(begin + 4, count)))
        assert set(np.concatenate(parts)) == batch
        assert len({len(part) for part in parts}) == 1
    both = dealt(np.arange(count), 4, Deal(range(replicas), replicas))
    assert [p.tolist() for p in both] == [
        p.tolist() for batch in zip(*shares, strict=True) for p in batch
    ]


def test_the_pipeline_reads_the_windows_it_is_asked_for(rows):
    table = window_table(rows, RECIPE.unrollings)
    parts = [np.array([4, 0]), np.array([2])]
    found = list(dataset(table, parts))
    assert len(found) == 2
    for (x, y), part in zip(found, parts, strict=True):
        np.testing.assert_array_equal(x.numpy(), table.windows(part).x)
        np.testing.assert_array_equal(y.numpy(), table.windows(part).y)


# The fit


def keras_fit(seed):
    """Keras' own fit on all windows at once."""
    whole = all_windows(YEAR)
    network = LSTMStockModel(replace(RECIPE, learning_rate=RECIPE.base_learning_rate), seed=seed)
    keras.utils.set_random_seed(seed)
    batch = min(RECIPE.base_batch_size, max(8, len(whole.x) // 8))
    network.model.optimizer.learning_rate = keras.optimizers.schedules.CosineDecay(
        RECIPE.base_learning_rate, 3 * math.ceil(len(whole.x) / batch)
    )
    network.model.fit(whole.x, whole.y, epochs=3, batch_size=batch, verbose=0)
    return network.model.get_weights()


@pytest.fixture(scope="module")
def lesson(rows):
    return Lesson("trial", window_table(rows, RECIPE.unrollings, YEAR), RECIPE, 3)


def fitted(lesson, folder):
    folder.mkdir(exist_ok=True)
    return fit_network(lesson, open_spread("none"), Unfinished(folder)).model.get_weights()


def assert_same(one, other):
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def weights(lesson, work):
    """As an uninterrupted fit on one device makes them."""
    return fitted(lesson, work)


def test_weights_are_those_of_keras_own_fit_on_all_windows(lesson, weights):
    assert lesson.updates > 1 and len(lesson.table) % lesson.batch
    assert_same(weights, keras_fit(3))


class Killed(Unfinished):
    """Where the process ends after two epochs."""

    def keep(self, fit, epoch, state):
        super().keep(fit, epoch, state)
        if epoch == 2:
            raise KeyboardInterrupt


def test_an_interrupted_fit_ends_with_the_same_weights(lesson, weights, tmp_path, caplog):
    with pytest.raises(KeyboardInterrupt):
        fit_network(lesson, open_spread("none"), Killed(tmp_path))
    assert_same(fitted(lesson, tmp_path), weights)
    assert "resuming what=trial epochs_done=2" in caplog.text


def test_a_finished_fit_is_read_again(lesson, weights, work, tmp_path):
    again = shutil.copytree(work, tmp_path / "again")
    kept = {path.name: path.stat().st_mtime_ns for path in again.iterdir()}
    assert sorted(kept) == ["trial-0002.npz", "trial-0003.npz"]
    assert_same(fitted(lesson, again), weights)
    assert {path.name: path.stat().st_mtime_ns for path in again.iterdir()} == kept


def test_no_strategy_by_another_name():
    with pytest.raises(BadSettings, match="choose none, mirrored or multi-worker"):
        open_spread("parameter-server")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"cluster": {"worker": []}, "task": {"type": "worker", "index": 0}}',
        EXAMPLE.replace('"type": "worker"', '"type": "chief"'),
        EXAMPLE.replace('"index": 0', '"index": 2'),
    ],
)
def test_several_workers_need_to_know_each_other(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(BadSettings, match="needs TF_CONFIG to name workers alone, such as {"):
        open_spread("multi-worker")


# Several devices


def cluster(ports, index):
    workers = [f"127.0.0.1:{port}" for port in ports]
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})


def started(strategy, folder, epochs, ports=(), index=0):
    """`base_worker.py` as a process; its output comes through pipes."""
    return subprocess.Popen(
        [sys.executable, ROOT / "tests" / "base_worker.py", strategy, folder, str(epochs)],
        env=os.environ | ({"TF_CONFIG": cluster(ports, index)} if ports else {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def two_workers(folder, epochs):
    ports = (free_port(), free_port())
    return [
        started("multi-worker", folder / str(index), epochs, ports, index) for index in range(2)
    ]


def said(process):
    """Replicas, hash of the weights, loss."""
    out, err = process.communicate(timeout=250)
    assert process.returncode == 0, err
    replicas, weights, loss = out.split()
    return int(replicas), weights, float(loss)


@pytest.mark.long
def test_workers_hold_the_same_weights_at_the_loss_of_one_alone(tmp_path):
    one, other = (said(process) for process in two_workers(tmp_path, 3))
    mirrored = said(started("mirrored", tmp_path / "mirrored", 3))
    alone = said(started("none", tmp_path / "none", 3))
    assert one == other
    assert (one[0], mirrored[0], alone[0]) == (2, 2, 1)
    assert one[2] == pytest.approx(alone[2], rel=1e-3)
    assert mirrored[2] == pytest.approx(one[2], rel=1e-5)


@pytest.mark.long
def test_after_a_worker_was_killed_all_go_on_to_the_same_weights(tmp_path):
    whole = [said(process) for process in two_workers(tmp_path / "whole", 12)]
    survivor, killed = two_workers(tmp_path / "again", 12)
    while not Unfinished(tmp_path / "again" / "1").epochs("trial"):
        time.sleep(0.1)
    killed.kill()
    killed.communicate(timeout=60)
    _, err = survivor.communicate(timeout=250)
    assert "WorkerLost: another worker has gone; start the same command" in err
    assert [said(process) for process in two_workers(tmp_path / "again", 12)] == whole


# What an interrupted run leaves


def test_a_state_is_read_as_it_was_kept_and_the_last_two_stay(tmp_path):
    work, state = Unfinished(tmp_path), [np.arange(3.0), np.array(7, "int64"), np.ones((2, 2))]
    for epoch in (1, 2, 3):
        work.keep("base", epoch, [value + epoch for value in state])
    assert work.epochs("base") == [2, 3] and work.epochs("trial") == []
    assert_same(work.state("base", 3), [value + 3 for value in state])


def test_a_damaged_state_is_none(tmp_path, caplog):
    work = Unfinished(tmp_path)
    work.keep("base", 1, [np.zeros(1000)])
    path = tmp_path / "base-0001.npz"
    path.write_bytes(path.read_bytes()[:1000])
    assert work.state("base", 1) is None
    assert "state_not_read fit=base epoch=1" in caplog.text


def test_states_of_another_work_are_forgotten(tmp_path):
    with pytest.raises(KeyboardInterrupt), unfinished(tmp_path / "base") as work:
        work.begin({"seed": 1})
        work.keep("trial", 1, [np.zeros(1)])
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), unfinished(tmp_path / "base") as work:
        work.begin({"seed": 1})
        assert work.epochs("trial") == [1]
        work.begin({"seed": 2})
        assert work.epochs("trial") == []
        raise KeyboardInterrupt


def test_nothing_is_left_of_work_that_is_done_or_cannot_be(tmp_path):
    with unfinished(tmp_path / "base") as work:
        work.begin({})
    assert not list(tmp_path.iterdir())
    with pytest.raises(NoBase), unfinished(tmp_path / "base") as work:
        work.begin({})
        raise NoBase("no")
    assert not list(tmp_path.iterdir())


def test_what_was_done_before_a_worker_was_lost_stays(tmp_path):
    with pytest.raises(WorkerLost), unfinished(tmp_path / "base") as work:
        work.keep("trial", 1, [np.zeros(1)])
        raise WorkerLost("gone")
    with pytest.raises(KeyboardInterrupt), unfinished(tmp_path / "base") as work:
        assert work.epochs("trial") == [1]
        raise KeyboardInterrupt


def count_up(target):
    for _ in range(20):
        with unfinished(target):
            number = int(target.read_text()) if target.exists() else 0
            target.write_text(str(number + 1))


def test_one_holder_at_a_time_works_on_one_thing(tmp_path):
    # the lock is each open handle's, whether another process or another thread has it
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(count_up, [tmp_path / "base"] * 3))
    assert (tmp_path / "base").read_text() == "60"
