"""The only door to ONNX Runtime: run a network one step ahead or recursively.

Knows no ticker, no date, no store of models.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bands import Outlook
from contracts import FloatArray, NotEnoughHistory, Scaling
from features import Sequences, daily_features, mid_price, normalise, scaled_sequences
from panel import WARM_UP, PanelInputs, inputs_of_levels, panel_inputs, scale_at

BATCH = 2048  # rows per run: a whole history at once would hold all its states


class Network:
    """An ONNX network of input (batch, length, features), shared by threads.

    Args:
        network: its file, or what is in it.
    """

    def __init__(self, network: Path | bytes) -> None:
        # it reports to its maker from the moment it is imported, unless told not to before
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # more threads spin a core away and are slower here
        options.enable_cpu_mem_arena = False  # an arena a network adds up over hundreds of them
        self._session = onnxruntime.InferenceSession(
            network if isinstance(network, bytes) else network.read_bytes(),
            options,
            providers=["CPUExecutionProvider"],
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
        """Feed each forecast back as the newest input: (n, length, 1) -> (n, steps).

        Raises:
            ValueError: as `run`.
        """
        length = x.shape[1]
        path = np.zeros((len(x), length + steps), dtype=np.float32)  # all that the network sees
        path[:, :length] = x[:, :, 0]
        for step in range(steps):
            path[:, length + step] = self.one_step(path[:, step : length + step, None])
        return path[:, length:].astype(float)


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """What a model is fed at one origin, whatever the number of steps asked for.

    What it says becomes prices as anchor + said * unit where it is recursive, and as
    anchor * exp(said * unit) where it is direct.
    """

    x: FloatArray  # (length, inputs)
    anchor: float  # the lower end of its scale; the last close of a direct one
    unit: float  # the width of its scale; the expected daily volatility of a direct one


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
        x, anchor, unit = self._feeds(self._prepared(bars), origins)
        return self._outlook(self._said(x, steps), anchor, unit, steps)

    def feed(self, bars: pd.DataFrame) -> tuple[Feed, FloatArray]:
        """What it is fed at the last of some bars, and each session as it sees it.

        Returns:
            The feed; and a row per session, (n, k): the inputs of a direct model; of a recursive
            one where on its scale its window ends, how far it has moved in it, and how unevenly.
            The last row is the last bar's, there may be fewer rows than bars.

        Raises:
            NotEnoughHistory: fewer bars than the model needs.
        """
        if len(bars) <= self.first_origin:
            raise NotEnoughHistory(have=len(bars), need=self.first_origin + 1)
        prepared = self._prepared(bars)
        x, anchor, unit = self._feeds(prepared, np.array([len(bars) - 1]))
        return Feed(x[0], float(anchor[0]), float(unit[0])), self._sessions(prepared)

    @property
    def kind(self) -> tuple[object, ...]:
        """Equal for models whose networks' words mean the same: `outlook_from` of any does."""
        return self.mode, self.horizons

    def outlook_of(self, feeds: Sequence[Feed], steps: int) -> Outlook:
        """`outlook` from what it is fed at n origins, of one ticker or of n: one row each."""
        return self.outlook_from(feeds, self.said(feeds, steps), steps)

    def said(self, feeds: Sequence[Feed], steps: int) -> FloatArray:
        """What the network says at n origins: (n, outputs), or (n, steps) of a recursive one.

        Raises:
            ValueError: as `Network.run`.
        """
        alone = len(feeds) == 1  # the rule in a batch of different networks: nothing is copied
        return self._said(feeds[0].x[None] if alone else np.stack([f.x for f in feeds]), steps)

    def outlook_from(self, feeds: Sequence[Feed], said: FloatArray, steps: int) -> Outlook:
        """What that means in prices; the same to the last bit however many rows there are."""
        anchor, unit = np.array([(feed.anchor, feed.unit) for feed in feeds]).T
        return self._outlook(said, anchor, unit, steps)

    def _prepared(self, bars: pd.DataFrame) -> PanelInputs | Sequences:
        if self.mode == "direct":
            return panel_inputs(bars)
        mids = mid_price(bars["High"].to_numpy(), bars["Low"].to_numpy())
        # one more value, never looked at: the newest origin has no target yet
        wider = np.append(mids, mids[-1])
        return scaled_sequences(wider, self.length, self.window_size, self.scaling)

    def _feeds(
        self, prepared: PanelInputs | Sequences, origins: np.ndarray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(n, length, inputs), (n,), (n,): `Feed`s of n origins."""
        if isinstance(prepared, PanelInputs):
            windows = prepared.windows(origins, self.length)
            return windows, prepared.closes[origins], prepared.unit[origins]
        at = origins - int(prepared.last[0])
        lo, hi = prepared.lo[at], prepared.hi[at]
        scaled = normalise(prepared.windows[at], lo[:, None, None], hi[:, None, None])
        return scaled, lo, hi - lo

    def _sessions(self, prepared: PanelInputs | Sequences) -> FloatArray:
        if isinstance(prepared, PanelInputs):
            return prepared.x[WARM_UP:]
        x = prepared.x[:, :, 0]
        moves = np.diff(x, axis=1)
        return np.stack([x[:, -1], x[:, -1] - x[:, 0], moves.std(axis=1)], axis=1)

    def _said(self, x: FloatArray, steps: int) -> FloatArray:
        if self.mode == "recursive":
            return self.network.recurse(x, steps)
        if len(x) <= BATCH:
            return self.network.run(x)
        parts = (x[first : first + BATCH] for first in range(0, len(x), BATCH))
        return np.concatenate([self.network.run(part) for part in parts])

    def _outlook(
        self, said: FloatArray, anchor: FloatArray, unit: FloatArray, steps: int
    ) -> Outlook:
        if self.mode == "recursive":
            path = anchor[:, None] + said * unit[:, None]
            return Outlook(path, np.ones_like(path))
        point = anchor * np.exp(said[:, 0] * unit)
        scale = scale_at(said[:, 1:], self.horizons, steps) * unit[:, None]
        return Outlook(np.repeat(point[:, None], steps, axis=1), scale)

    def continue_levels(self, levels: FloatArray, steps: int) -> FloatArray:
        """The same from one series alone, on its own scale: (T,) -> (steps,)."""
        if self.mode == "recursive":
            return np.asarray(self.network.recurse(levels.reshape(1, -1, 1), steps)[0])
        x, unit = inputs_of_levels(levels)
        return np.full(steps, levels[-1] + self.network.one_step(x[None])[0] * unit)


def one_step_table(
    model: TrainedModel, bars: pd.DataFrame, said: FloatArray | None = None
) -> pd.DataFrame:
    """What the model said each session, one step ahead, beside what was known and what came.

    Args:
        model: a bundle's network with its recipe.
        bars: columns Date, Open, High, Low, Close, Volume, ascending; at least one more than
            the model needs.
        said: its forecasts, if it has been asked at every origin from its first on before.

    Returns:
        One row per target session: `date`; `return range gap volume` of that session, as
        `features.daily_features` has them; `last_mid last_close prediction actual` in prices.

    Raises:
        NotEnoughHistory: no session can be forecast.
    """
    mids = mid_price(bars["High"].to_numpy(dtype=float), bars["Low"].to_numpy(dtype=float))
    last = np.arange(model.first_origin, len(bars) - 1)
    if len(last) == 0:
        raise NotEnoughHistory(have=len(bars), need=model.first_origin + 2)
    if said is None:
        said = model.outlook(bars, last, 1).point[:, 0]
    days = daily_features(bars).iloc[last].reset_index(drop=True)  # its row i is session i + 1
    return days.rename(columns={"Date": "date"}).assign(
        last_mid=mids[last],
        last_close=bars["Close"].to_numpy(dtype=float)[last],
        prediction=said,
        actual=mids[last + 1],
    )
