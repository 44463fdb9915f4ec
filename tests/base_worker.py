"""One of several processes that fit a base together: `python tests/base_worker.py STRATEGY FOLDER`.

Prints its weights' hash and the loss of the fitted network on every window.
"""

import hashlib
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}

import numpy as np
from test_pretraining import PANEL, RECIPE

from pretraining.fits import Lesson, fit_network
from pretraining.rows import prepared_rows, window_table
from pretraining.strategies import open_spread
from pretraining.unfinished import Unfinished


def main(strategy: str, folder: Path) -> None:
    """Fit as `test_pretraining` does, over this strategy."""
    spread = open_spread(strategy)
    folder.mkdir(exist_ok=True)
    table = window_table(prepared_rows(PANEL, RECIPE, folder), RECIPE.unrollings)
    network = fit_network(Lesson("trial", table, RECIPE, 3), spread, Unfinished(folder))
    held = np.concatenate([value.ravel() for value in network.model.get_weights()])
    whole = table.windows(np.arange(len(table)))
    loss = network.model.evaluate(whole.x, whole.y, verbose=0)
    print(spread.replicas, hashlib.sha256(held.tobytes()).hexdigest(), f"{loss:.6f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
