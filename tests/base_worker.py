"""One of several that fit a base together: `python tests/base_worker.py STRATEGY FOLDER EPOCHS`.

Prints how many replicas there were, its weights' hash and the loss of the fitted network on every
window. `mirrored` is over two parts of this machine's processor, as if they were two GPUs.
"""

import hashlib
import os
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}

import numpy as np
import tensorflow as tf
from test_pretraining import PANEL, RECIPE

from pretraining.fits import Lesson, fit_network
from pretraining.rows import prepared_rows, window_table
from pretraining.strategies import Spread, open_spread
from pretraining.unfinished import Unfinished


def two_parts() -> Spread:
    """The processor as two devices."""
    processor = tf.config.list_physical_devices("CPU")[0]
    part = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(processor, [part, part])
    return Spread(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))


def main(strategy: str, folder: Path, epochs: int) -> None:
    """Fit as `test_pretraining` does, over this strategy."""
    spread = two_parts() if strategy == "mirrored" else open_spread(strategy)
    folder.mkdir(parents=True, exist_ok=True)
    table = window_table(prepared_rows(PANEL, RECIPE, folder), RECIPE.unrollings)
    lesson = Lesson("trial", table, replace(RECIPE, base_epochs=epochs), 3)
    network = fit_network(lesson, spread, Unfinished(folder))
    held = np.concatenate([value.ravel() for value in network.model.get_weights()])
    whole = table.windows(np.arange(len(table)))
    loss = network.model.evaluate(whole.x, whole.y, verbose=0)
    print(spread.replicas, hashlib.sha256(held.tobytes()).hexdigest(), f"{loss:.6f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
