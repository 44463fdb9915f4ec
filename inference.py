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

from bands import Outlook
from contracts import FloatArray, NotEnoughHistory, Scaling
from features import denormalise, mid_price, normalise, scaled_sequences
from panel import WARM_UP, PanelInputs, inputs_of_levels, panel_inputs, scale_at

BATCH = 2048  # rows per run: a whole history at once would hold all its states


class Network:
    """An ONNX network of input (batch, length, features), shared by threads."""

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

    def run(self, x: FloatArray) -> FloatArray:
        """Everything the network says of each row: (n, length, features) -> (n, outputs).

        Raises:
            ValueError: a value is not finite; ONNX Runtime would answer a plausible number.
        """
        if not np.isfinite(x).all():
            raise ValueError("the network's input holds NaN or infinity")
        output = self._session.run(None, {self._input: np.ascontiguousarray(x, dtype=np.float32)})
        return np.asarray(output[0], dtype=float).reshape(len(x), -1)

    def one_step(self, x: FloatArray) -> FloatArray:
        """The first output of each row: (n, length, features) -> (n,).

        Raises:
            ValueError: as `run`.
        """
        return self.run(x)[:, 0]

    def recurse(self, x: FloatArray, steps: int) -> FloatArray:
        """Feed each forecast back as the newest input: (n, length, 1) -> (n, steps)."""
        length = x.shape[1]
        path = np.concatenate([x[:, :, 0], np.empty((len(x), steps))], axis=1)
        for step in range(steps):
            path[:, length + step] = self.one_step(path[:, step : length + step, None])
        return path[:, length:]


class TrainedModel:
    """A network with the recipe that says how it is fed and what its outputs mean."""

    def __init__(self, network: Network, recipe: Mapping[str, Any]) -> None:
        self.network = network
        self.mode = str(recipe.get("mode", "recursive"))
        self.length = int(recipe["unrollings"])
        self.window_size = int(recipe["window_size"])
        self.scaling: Scaling = "zscore" if recipe.get("scaling") == "zscore" else "minmax"
        self.horizons = tuple(int(step) for step in recipe.get("horizons", (1,)))

    @property
    def first_origin(self) -> int:
        """The earliest position with enough sessions up to it to forecast from."""
        return self.length - 1 + (WARM_UP if self.mode == "direct" else 0)

    def outlook(self, bars: pd.DataFrame, origins: np.ndarray, steps: int) -> Outlook:
        """Mids of the next `steps` sessions after each origin, and how far they may be off.

        Args:
            bars: columns Date, Open, High, Low, Close, Volume; ascending.
            origins: shape (n,), positions; nothing after an origin touches its row.
            steps: sessions ahead.

        Raises:
            NotEnoughHistory: an origin with fewer sessions up to it than the model needs.
        """
        if len(origins) and int(origins.min()) < self.first_origin:
            raise NotEnoughHistory(have=int(origins.min()) + 1, need=self.first_origin + 1)
        if self.mode == "direct":
            return self._direct(panel_inputs(bars), origins, steps)
        mids = mid_price(bars["High"].to_numpy(), bars["Low"].to_numpy())
        return self._recursive(mids, origins, steps)

    def _recursive(self, mids: FloatArray, origins: np.ndarray, steps: int) -> Outlook:
        # one more value, never looked at: the newest origin has no target yet
        wider = np.append(mids, mids[-1])
        rows = scaled_sequences(wider, self.length, self.window_size, self.scaling)
        at = origins - int(rows.last[0])
        lo, hi = rows.lo[at][:, None], rows.hi[at][:, None]
        scaled = normalise(rows.windows[at], lo[..., None], hi[..., None])
        path = denormalise(self.network.recurse(scaled, steps), lo, hi)
        return Outlook(path, np.ones_like(path))

    def _direct(self, inputs: PanelInputs, origins: np.ndarray, steps: int) -> Outlook:
        said = np.concatenate(
            [
                self.network.run(inputs.windows(part, self.length))
                for part in np.split(origins, range(BATCH, len(origins), BATCH))
            ]
        )
        unit = inputs.unit[origins]
        point = inputs.closes[origins] * np.exp(said[:, 0] * unit)
        scale = scale_at(said[:, 1:], self.horizons, steps) * unit[:, None]
        return Outlook(np.repeat(point[:, None], steps, axis=1), scale)

    def continue_levels(self, levels: FloatArray, steps: int) -> FloatArray:
        """The same from one series alone, on its own scale: (T,) -> (steps,)."""
        if self.mode == "recursive":
            return np.asarray(self.network.recurse(levels.reshape(1, -1, 1), steps)[0])
        x, unit = inputs_of_levels(levels)
        return np.full(steps, levels[-1] + self.network.one_step(x[None])[0] * unit)


def one_step_table(model: TrainedModel, bars: pd.DataFrame) -> pd.DataFrame:
    """What the model said each session, one step ahead, beside what was known and what came.

    Args:
        model: a bundle's network with its recipe.
        bars: columns Date, Open, High, Low, Close, Volume, ascending; at least one more than
            the model needs.

    Returns:
        One row per target session: `date`; `return` and `range` of that session (logs); and
        `last_mid last_close prediction actual` in prices.

    Raises:
        NotEnoughHistory: no session can be forecast.
    """
    high, low = bars["High"].to_numpy(dtype=float), bars["Low"].to_numpy(dtype=float)
    mids = mid_price(high, low)
    last = np.arange(model.first_origin, len(bars) - 1)
    if len(last) == 0:
        raise NotEnoughHistory(have=len(bars), need=model.first_origin + 2)
    target = last + 1
    return pd.DataFrame(
        {
            "date": bars["Date"].to_numpy()[target],
            "return": np.log(mids[target] / mids[last]),
            "range": np.log(high / low)[target],
            "last_mid": mids[last],
            "last_close": bars["Close"].to_numpy(dtype=float)[last],
            "prediction": model.outlook(bars, last, 1).point[:, 0],
            "actual": mids[target],
        }
    )
