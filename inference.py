"""The only door to ONNX Runtime: run a network one step ahead or recursively.

Knows no ticker, no date, no store of models.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from contracts import FloatArray
from features import denormalise, mid_price, scaled_sequences


class Network:
    """An ONNX network of input (batch, length, 1) and output (batch, 1), shared by threads."""

    def __init__(self, path: Path) -> None:
        # it reports to its maker from the moment it is imported, unless told not to before
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # more threads spin a core away and are slower here
        self._session = onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def one_step(self, x: FloatArray) -> FloatArray:
        """Next value of each row: (n, length, 1) -> (n,).

        Raises:
            ValueError: a value is not finite; ONNX Runtime would answer a plausible number.
        """
        if not np.isfinite(x).all():
            raise ValueError("the network's input holds NaN or infinity")
        output = self._session.run(None, {self._input: np.ascontiguousarray(x, dtype=np.float32)})
        return np.asarray(output[0], dtype=float).reshape(len(x))

    def recurse(self, x: FloatArray, steps: int) -> FloatArray:
        """Feed each forecast back as the newest input: (n, length, 1) -> (n, steps)."""
        length = x.shape[1]
        path = np.concatenate([x[:, :, 0], np.empty((len(x), steps))], axis=1)
        for step in range(steps):
            path[:, length + step] = self.one_step(path[:, step : length + step, None])
        return path[:, length:]


def one_step_table(network: Network, recipe: Mapping[str, Any], bars: pd.DataFrame) -> pd.DataFrame:
    """What the network said each session, one step ahead, beside what was known and what came.

    Args:
        network: a bundle's network.
        recipe: the recipe in its card.
        bars: columns Date, High, Low, Close, ascending; at least one more than it sees.

    Returns:
        One row per target session: `date`; `return` and `range` of that session (logs); and
        `last_mid last_close prediction actual` in prices.
    """
    high, low = bars["High"].to_numpy(dtype=float), bars["Low"].to_numpy(dtype=float)
    mids = mid_price(high, low)
    rows = scaled_sequences(mids, int(recipe["unrollings"]), int(recipe["window_size"]))
    target = rows.last + 1
    return pd.DataFrame(
        {
            "date": bars["Date"].to_numpy()[target],
            "return": np.log(mids[target] / mids[rows.last]),
            "range": np.log(high / low)[target],
            "last_mid": mids[rows.last],
            "last_close": bars["Close"].to_numpy(dtype=float)[rows.last],
            "prediction": denormalise(network.one_step(rows.x), rows.lo, rows.hi),
            "actual": mids[target],
        }
    )
