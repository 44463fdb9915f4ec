"""Every session of a panel as the network sees it, on disk, and the windows it is trained on.

A window is a place in that file until a batch asks for it. Knows no network.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from contracts import FloatArray, NotEnoughHistory
from panel import INPUTS, Blocks, Windows, blocks, panel_inputs, targets
from pretraining.panels import Panel
from pretraining.row_file import RowFile
from recipes import Recipe

Positions = np.ndarray  # of int64


@dataclass(frozen=True, slots=True, eq=False)
class PreparedRows:
    """A row per session of the fitted tickers, one ticker after the other.

    A row is the session's inputs and, behind them, what came at each of `horizons`, in float32;
    `tickers` are the rows of each.
    """

    file: RowFile
    tickers: tuple[range, ...]
    horizons: tuple[int, ...]
    first_session: date  # of all tickers of the panel


@dataclass(frozen=True, slots=True, eq=False)
class WindowTable:
    """Where each training window lies: arrays of one entry per window.

    `begin` is its first row, `length` the targets at its end, `repeated` those of them that the
    window before has, `known_until` the row from which on no outcome is known.
    """

    rows: PreparedRows
    burn_in: int
    begin: Positions
    length: Positions
    repeated: Positions
    known_until: Positions

    def __len__(self) -> int:
        return len(self.begin)

    @property
    def block(self) -> int:
        """Targets of the longest window; shorter ones are padded at their beginning."""
        return int(self.length.max())

    def windows(self, chosen: Positions) -> Windows:
        """Those at the positions `chosen`, read from disk."""
        x = np.zeros((len(chosen), self.burn_in + self.block, len(INPUTS)), "float32")
        y = np.full((len(chosen), self.block, len(self.rows.horizons)), np.nan, "float32")
        for row, at in enumerate(chosen):
            length = int(self.length[at])
            found = self.rows.file.read(int(self.begin[at]), self.burn_in + length)
            x[row, self.block - length :] = found[:, : len(INPUTS)]
            y[row, self.block - length :] = found[self.burn_in :, len(INPUTS) :]
        y[self._uncounted(chosen)] = np.nan
        return Windows(x, y)

    def _uncounted(self, chosen: Positions) -> np.ndarray:
        """True for targets that are not known yet or that the window before has."""
        place = np.arange(self.block) - (self.block - self.length[chosen, None])  # in its block
        origin = self.begin[chosen, None] + self.burn_in + place
        came = origin[:, :, None] + np.array(self.rows.horizons)
        twice = place < self.repeated[chosen, None]
        return np.asarray((came >= self.known_until[chosen, None, None]) | twice[:, :, None])


def prepared_rows(panel: Panel, recipe: Recipe, folder: Path) -> PreparedRows:
    """Prepare every session of the fitted tickers, one ticker at a time.

    Args:
        panel: bars of the tickers.
        recipe: whose horizons count.
        folder: on whose disk.

    Raises:
        NoBase: the disk is full.
    """
    file = RowFile(folder, len(INPUTS) + len(recipe.horizons), "float32")
    fitted, places, first = set(panel.fitted), [], date.max
    for ticker, bars in panel.bars.items():
        first = min(first, pd.Timestamp(bars["Date"].iloc[0]).date())
        if ticker in fitted:
            places.append(file.append(_rows(bars, recipe)))
    return PreparedRows(file, tuple(places), recipe.horizons, first)


def _rows(bars: pd.DataFrame, recipe: Recipe) -> FloatArray:
    inputs = panel_inputs(bars)
    came = targets(inputs, recipe.horizons, len(bars))
    return np.concatenate([inputs.x, came], axis=1)


def window_table(rows: PreparedRows, burn_in: int, left_out: int = 0) -> WindowTable:
    """Cut every ticker's sessions into windows.

    Args:
        rows: of the tickers.
        burn_in: rows before the targets of a window.
        left_out: sessions at each ticker's end that are neither input nor outcome.

    Raises:
        NotEnoughHistory: no ticker has the sessions that one window needs.
    """
    parts = []
    for place in rows.tickers:
        known_until = place.stop - left_out
        try:
            cut = blocks(range(known_until - place.start - 1), burn_in)
        except NotEnoughHistory:
            continue
        parts.append(_places(cut, place.start - burn_in, known_until))
    if not parts:
        raise NotEnoughHistory(have=0, need=1, what="tickers with a whole training window")
    begin, length, repeated, known = np.concatenate(parts, axis=1)
    return WindowTable(rows, burn_in, begin, length, repeated, known)


def _places(cut: Blocks, shift: int, known_until: int) -> Positions:
    """The four arrays of a table, (4, n), of one ticker's windows."""
    found = np.empty((4, len(cut.starts)), np.int64)
    found[0] = np.array(cut.starts) + shift
    found[1], found[2], found[3] = cut.length, 0, known_until
    found[2, -1] = cut.repeated
    return found
