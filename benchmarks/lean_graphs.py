"""What a run of `panel`'s network takes as tf2onnx makes it of the whole, and as it is exported.

`python benchmarks/lean_graphs.py` runs both in turns, on one thread, with made-up weights, and
prints medians as Markdown. For idle cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import keras
import numpy as np

from inference import Network
from model import LSTMStockModel
from recipes import RECIPES

LENGTH, MANY = 50, 100


def graphs(folder: Path) -> dict[str, Path]:
    """One network of random weights, written in both ways."""
    network, noise = LSTMStockModel(RECIPES["panel"], seed=1), np.random.default_rng(1)
    weights = [noise.normal(0, 0.2, value.shape) for value in network.model.get_weights()]
    network.model.set_weights(weights)
    network.export_onnx(folder / "lean.onnx")
    whole = keras.Model(network.model.input, network.model.output[:, -1, :])
    whole(np.zeros((1, LENGTH, network.model.input_shape[-1]), dtype="float32"))
    whole.export(str(folder / "whole.onnx"), format="onnx", verbose=False)
    return {"whole": folder / "whole.onnx", "as exported": folder / "lean.onnx"}


def took(way: Callable[[list[Network]], object], own: list[Network]) -> float:
    """Milliseconds."""
    begun = time.perf_counter()
    way(own)
    return (time.perf_counter() - begun) * 1e3


def main() -> int:
    """Run both in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=15)
    wish = parser.parse_args()
    rows: dict[str, list[str]] = {}
    with TemporaryDirectory() as folder:
        loaded = {
            name: [Network(path) for _ in range(MANY)]
            for name, path in graphs(Path(folder)).items()
        }
    one, few, many = (np.random.default_rng(2).normal(0, 1, (n, LENGTH, 8)) for n in (1, 32, 2048))
    ways: dict[str, Callable[[list[Network]], object]] = {
        f"{MANY} different networks, one window each": lambda own: [each.run(one) for each in own],
        f"one network {MANY} times": lambda own: [own[0].run(one) for _ in own],
        "one network, 32 windows": lambda own: own[0].run(few),
        "one network, 2048 windows": lambda own: own[0].run(many),
    }
    for text, way in ways.items():
        found: dict[str, list[float]] = {name: [] for name in loaded}
        for _ in range(wish.times):
            for name, own in loaded.items():
                found[name].append(took(way, own))
        rows[text] = [f"{statistics.median(times):.2f} ms" for times in found.values()]
    print(f"| runs | {' | '.join(loaded)} |\n|---|{'--:|' * len(loaded)}")
    for text, cells in rows.items():
        print(f"| {text} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
