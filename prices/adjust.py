"""Raw prices brought to one scale: what a split of shares does to the bars before it, undone.

Frames in, frames out. Knows no source and judges nothing.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

RAW = ["Open", "High", "Low", "Close"]


def undo_splits(bars: pd.DataFrame) -> pd.DataFrame:
    """Raw bars as split-adjusted ones, on the scale of the newest session.

    Args:
        bars: columns of BAR_COLUMNS and `Split`, new shares per old one on the first session
            they trade (4.0 for four for one; 1, 0 or NaN for none), in any order of rows; a
            session given twice counts once.

    Returns:
        The same rows without `Split`: Open, High, Low and Close before a split divided by it,
        Volume (as float) multiplied; `Adj Close` is already adjusted and stays.

    Raises:
        ValueError: a negative or infinite `Split`.
    """
    split = bars["Split"].to_numpy(dtype=float)
    split = np.where(np.isnan(split) | (split == 0), 1.0, split)
    if not (np.isfinite(split) & (split > 0)).all():
        raise ValueError("a split ratio is a positive number of new shares per old one")
    by_day = pd.Series(split, index=bars["Date"]).groupby(level=0).first()  # ascending
    later = by_day[::-1].cumprod()[::-1] / by_day  # product of the splits after each day
    factor = later.reindex(bars["Date"]).to_numpy()
    adjusted = bars.drop(columns="Split")
    adjusted[RAW] = bars[RAW].to_numpy(dtype=float) / factor[:, None]
    adjusted["Volume"] = bars["Volume"].to_numpy(dtype=float) * factor
    return adjusted
