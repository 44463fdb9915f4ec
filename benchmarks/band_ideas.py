"""How far bands are drawn towards the panel's, judged on validation only.

`python benchmarks/band_ideas.py FOLDER`: FOLDER holds one CSV per ticker. A base through
2022-12-30 of folds 2 to 9 (those of fold 2 held out), unfitted to any ticker; bands of the tickers
of fold 2 from 2023-01-03 to 2024-08-15, every fifth session, 30 steps. Prints the mean over tickers
of the CRPS over that of bands around the last close, whole and at steps 1, 5 and 30, and the share
inside 80 %.
"""

from __future__ import annotations

import os
import sys
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}

from bands import Outlook, Pool, errors_of, known_quantiles
from base_training import Panel, fold, train_base
from features import mid_price
from metrics import QUANTILES, crps
from recipes import find_recipe

THROUGH, FIRST, LAST, STEPS = "2022-12-30", "2023-01-03", "2024-08-15", 30
Scored = tuple[np.ndarray, float]  # CRPS by step over the last mid, share inside 80 %


def scored(past: Outlook, mids: np.ndarray, origins: np.ndarray, pool: Pool | None) -> Scored:
    """Of one model's bands at some origins, made of the errors known there."""
    made_at = np.arange(len(mids) - len(past.point), len(mids))
    found = known_quantiles(errors_of(past, mids, made_at), made_at, origins, pool)
    own = past.at(origins - int(made_at[0]))
    fan = own.point[..., None] * np.exp(own.scale[..., None] * found)
    actual = mids[origins[:, None] + np.arange(1, STEPS + 1)]
    levels = np.array(QUANTILES)
    lost = [
        np.mean(crps(actual[:, s], fan[:, s, 1:-1], levels) / mids[origins]) for s in range(STEPS)
    ]
    inside = np.mean((fan[..., 2] <= actual) & (actual <= fan[..., -3]))
    return np.array(lost), float(inside)


def main() -> int:
    """Train the base, then print a line per weight of the panel's quantiles."""
    tables = {}
    for path in sorted(Path(sys.argv[1]).glob("*.csv*")):
        ticker = path.name.split(".")[0]
        if fold(ticker) >= 2:
            bars = pd.read_csv(path, parse_dates=["Date"])
            bars = bars[bars["Date"] <= "2024-09-30"].dropna().reset_index(drop=True)
            if (bars["Date"] < "2019").sum() > 250:
                tables[ticker] = bars
    known = {t: b[b["Date"] <= THROUGH].reset_index(drop=True) for t, b in tables.items()}
    with TemporaryDirectory() as home:
        panel = Panel(known, date.fromisoformat(THROUGH), "not kept")
        base = train_base(panel, find_recipe("panel"), 42, Path(home) / "base")
        model = base.model()
        lines: dict[float, list[tuple[np.ndarray, float, float]]] = {}
        for ticker in base.card.held_out:
            bars = tables[ticker]
            mids = mid_price(bars["High"].to_numpy(), bars["Low"].to_numpy())
            days = bars["Date"]
            origins = np.flatnonzero((days >= FIRST) & (days <= LAST))[::5]
            every = np.arange(model.first_origin, len(bars))
            said = model.outlook(bars, every, STEPS)
            closes = np.repeat(bars["Close"].to_numpy(dtype=float)[every, None], STEPS, axis=1)
            plain, _ = scored(Outlook(closes, np.ones_like(closes)), mids, origins, None)
            for weight in (0.0, 0.25, 0.5, 0.75, 1.0):
                lost, inside = scored(said, mids, origins, base.pool(weight))
                lines.setdefault(weight, []).append(
                    (lost / plain, inside, lost.mean() / plain.mean())
                )
        print("| weight | all steps | 1 | 5 | 30 | in 80 % |\n|--:|--:|--:|--:|--:|--:|")
        for weight, rows in lines.items():
            ratio, whole = np.mean([r[0] for r in rows], axis=0), np.mean([r[2] for r in rows])
            cells = [f"{v:.4f}" for v in (whole, ratio[0], ratio[4], ratio[29])]
            print(f"| {weight} | {' | '.join(cells)} | {np.mean([r[1] for r in rows]):.1%} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
