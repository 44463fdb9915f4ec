"""How fast a base is trained and how much memory it takes, beside what is commonly written.

`python benchmarks/base_scale.py FOLDER` imports the price files of FOLDER and measures, for 60, 240
and 481 tickers, each way in a process of its own:

    store   as bases are made: windows read from disk while the last batch is learnt
    mapped  the same, the file mapped into memory instead of read
    arrays  Keras' fit on the same windows, all in memory
    daily   Keras' fit on a window for every day, each teaching one target, all in memory

Prints days taught per second (targets of one session, over all horizons), seconds of an epoch, the
peak memory and how much of it comes on top of a TensorFlow that has made one update. `--whole`
makes a base of each number of tickers from beginning to end and prints the time and the memory.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(ROOT := Path(__file__).resolve().parent.parent))
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}

WAYS = ("store", "mapped", "arrays", "daily")
EPOCHS = 3  # the first, in which graphs are made, does not count
DAILY_UPDATES = 200  # of an epoch of `daily`, whose own would take minutes


def peak_megabytes() -> float:
    """The most memory this process has had, pages of mapped files included."""
    said = Path("/proc/self/status").read_text()
    return int(said.split("VmHWM:")[1].split()[0]) / 1024


def panel_of(count: int, data: Path) -> Any:
    """The first `count` tickers of those imported."""
    from base_training import gather
    from config import Settings
    from data_pipeline import cached_tickers

    settings = Settings(data_dir=data, log_level="ERROR")
    return gather(cached_tickers(settings)[:count], settings, date.max)


def store(count: int, data: Path) -> dict[str, float]:
    """As bases are made."""
    from pretraining.fits import Lesson, fit_network
    from pretraining.rows import prepared_rows, window_table
    from pretraining.strategies import open_spread
    from pretraining.unfinished import Unfinished
    from recipes import find_recipe

    class Watch(Unfinished):
        def keep(self, fit: str, epoch: int, state: Any) -> None:
            super().keep(fit, epoch, state)
            ends.append(time.perf_counter())

    ends: list[float] = []
    recipe = replace(find_recipe("panel"), base_epochs=EPOCHS, base_least_updates=0)
    panel, begun = panel_of(count, data), time.perf_counter()
    with TemporaryDirectory(dir=data) as folder:
        rows = prepared_rows(panel, recipe, Path(folder))
        table, prepared = window_table(rows, recipe.unrollings), time.perf_counter() - begun
        fit_network(Lesson("base", table, recipe, 42), open_spread("none"), Watch(Path(folder)))
    days = int((table.length - table.repeated).sum())
    return measured(ends, days) | {
        "prepared": prepared,
        "disk": len(rows.file) * 4 * (8 + len(recipe.horizons)) / 1e6,
    }


def mapped(count: int, data: Path) -> dict[str, float]:
    """The same, the prepared rows mapped into memory."""
    import numpy as np

    from pretraining.row_file import RowFile

    maps: dict[int, Any] = {}

    def read(self: Any, first: int, rows: int) -> Any:
        if self._handle not in maps:
            maps[self._handle] = np.memmap(f"/proc/self/fd/{self._handle}", self._dtype, "r")
        return maps[self._handle].reshape(-1, self._width)[first : first + rows]

    RowFile.read = read
    return store(count, data)


def arrays(count: int, data: Path) -> dict[str, float]:
    """Keras' fit on all windows in memory."""
    from panel import panel_inputs, stack, targets, training_windows
    from recipes import find_recipe

    recipe, panel, parts = find_recipe("panel"), panel_of(count, data), []
    bars = {ticker: panel.bars[ticker] for ticker in panel.fitted}
    inputs = {ticker: panel_inputs(table) for ticker, table in bars.items()}
    for rows in inputs.values():
        target = targets(rows, recipe.horizons, len(rows.mids))
        parts.append(training_windows(rows, target, range(len(rows.mids) - 1), recipe.unrollings))
    whole = stack(parts)
    days = sum(len(rows.mids) - 1 - recipe.unrollings - 66 for rows in inputs.values())
    return measured(keras_fit(whole.x, whole.y, None), days)


def daily(count: int, data: Path) -> dict[str, float]:
    """Keras' fit on a window for every day."""
    import numpy as np

    from panel import WARM_UP, panel_inputs, targets
    from recipes import find_recipe

    recipe, panel, x, y = find_recipe("panel"), panel_of(count, data), [], []
    for ticker in panel.fitted:
        rows = panel_inputs(panel.bars[ticker])
        last = np.arange(recipe.unrollings + WARM_UP, len(rows.mids) - 1)
        x.append(rows.windows(last, recipe.unrollings).astype("float32"))
        y.append(targets(rows, recipe.horizons, len(rows.mids))[last, None].astype("float32"))
    ends = keras_fit(np.concatenate(x), np.concatenate(y), DAILY_UPDATES)
    return measured(ends, DAILY_UPDATES * recipe.base_batch_size)


def keras_fit(x: Any, y: Any, updates: int | None) -> list[float]:
    """When each epoch ended."""
    import keras

    from model import LSTMStockModel
    from recipes import find_recipe

    recipe, ends = find_recipe("panel"), []
    network = LSTMStockModel(replace(recipe, learning_rate=recipe.base_learning_rate), seed=42)
    steps = EPOCHS * (updates or math.ceil(len(x) / recipe.base_batch_size))
    network.model.optimizer.learning_rate = keras.optimizers.schedules.CosineDecay(0.001, steps)
    ended = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter()))
    given = {"epochs": EPOCHS, "batch_size": recipe.base_batch_size, "verbose": 0}
    network.model.fit(x, y, callbacks=[ended], steps_per_epoch=updates, **given)
    return ends


def measured(ends: list[float], days: int) -> dict[str, float]:
    """Of the epochs after the first."""
    epoch = (ends[-1] - ends[0]) / (len(ends) - 1)
    return {"epoch": epoch, "days": days / epoch}


def whole(count: int, data: Path) -> dict[str, float]:
    """A base from the price cache to its folder."""
    from base_training import train_base
    from recipes import find_recipe

    begun = time.perf_counter()
    with TemporaryDirectory(dir=data) as folder:
        base = train_base(panel_of(count, data), find_recipe("panel"), 42, Path(folder) / "base")
    return {"seconds": time.perf_counter() - begun, "ratio": base.card.skill.rmse_ratio}


def start(*_: object) -> dict[str, float]:
    """TensorFlow, after one update of the network on nothing."""
    import numpy as np

    from model import LSTMStockModel
    from recipes import find_recipe

    network = LSTMStockModel(find_recipe("panel"))
    network.model.train_on_batch(np.zeros((64, 150, 8)), np.zeros((64, 100, 9)))
    return {}


def alone(way: str, count: int, data: Path) -> dict[str, float]:
    """What a way measures, in a process of its own."""
    command = [sys.executable, __file__, str(data), "--one", way, "--tickers", str(count)]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(run.stdout.splitlines()[-1]))


def table(counts: list[int], ways: list[str], data: Path) -> None:
    """Print every way at every number of tickers."""
    own = alone("start", 0, data)["peak"]
    print(f"TensorFlow's own start: {own:.0f} MB\n")
    print("| tickers | way | days a second | an epoch | peak memory | beyond the start | on disk |")
    print("|--:|---|--:|--:|--:|--:|--:|")
    for count in counts:
        for way in ways:
            row = alone(way, count, data)
            disk = f"{row['disk']:.0f} MB" if "disk" in row else ""
            print(
                f"| {count} | {way} | {row['days']:,.0f} | {row['epoch']:.1f} s | "
                f"{row['peak']:.0f} MB | {row['peak'] - own:.0f} MB | {disk} |",
                flush=True,
            )


def whole_table(counts: list[int], data: Path) -> None:
    """Print the time and memory of whole bases."""
    own = alone("start", 0, data)["peak"]
    print("| tickers | a whole base | peak memory | beyond the start | one-step RMSE ratio |")
    print("|--:|--:|--:|--:|--:|")
    for count in counts:
        row = alone("whole", count, data)
        print(
            f"| {count} | {row['seconds']:.0f} s | {row['peak']:.0f} MB | "
            f"{row['peak'] - own:.0f} MB | {row['ratio']:.4f} |",
            flush=True,
        )


def main() -> None:
    """Import, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of price files; with --one, of the cache")
    parser.add_argument("--tickers", type=int, nargs="+", default=[60, 240, 481])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--whole", action="store_true", help="whole bases instead of epochs")
    parser.add_argument("--one", choices=(*WAYS, "whole", "start"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        row = globals()[given.one](given.tickers[0], given.folder)
        print(json.dumps(row | {"peak": peak_megabytes()}))
        return
    with TemporaryDirectory(dir=Path.cwd()) as data:
        command = [sys.executable, str(ROOT / "data_pipeline.py"), "import", "--dir"]
        environment = os.environ | {"STOCK_DATA_DIR": data}
        subprocess.run([*command, str(given.folder)], env=environment, check=True)
        if given.whole:
            whole_table(given.tickers, Path(data))
        else:
            table(given.tickers, given.ways, Path(data))


if __name__ == "__main__":
    main()
