"""What recipe `panel` is worth on tickers and days that nothing about it was chosen on.

`python benchmarks/set_aside.py FOLDER [--every N]` imports the CSV files of FOLDER (one per ticker)
into a folder of its own, takes the tickers whose fold is 0 or 1, which no base and no choice has
seen, and walks forward from 2024-10-15 to 2025-12-31, every session an origin, from the base that
ends on 2023-12-29. Prints one line per figure and the extremes; `--json` keeps every ticker's.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
os.environ |= {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}

from base_training import fold
from config import Settings
from data_pipeline import import_file
from many_walks import Walks
from metrics import block_means
from recipes import find_recipe
from scorecard import score
from walkforward import Plan, walk

START, END, STEPS, BLOCK = date(2024, 10, 15), date(2025, 12, 31), 30, 30


def judged(path: Path, home: Path) -> tuple[dict[str, float], pd.DataFrame]:
    """One ticker: its figures, and by origin the share of outcomes inside each band."""
    settings = Settings(data_dir=home, models_dir=home / "models", as_of=END)
    ticker = path.name.split(".")[0]
    import_file(ticker, path, settings)
    recipe = find_recipe("panel")
    plan = Plan(
        start=START,
        end=END,
        steps=STEPS,
        stride=1,
        recipe=recipe,
        champion=False,
        refit_every=None,
        seed=settings.seed,
        start_date=settings.start_date,
    )
    rows, known = walk(ticker, Walks((ticker,), plan, settings).asked(ticker))
    found = score(rows, known, 1)[ticker]
    ours, close, arima = found["lstm"], found["last_close"], found["arima"]
    own = rows[rows["model"] == "lstm"]
    inside = pd.DataFrame(
        {
            "origin": own["origin"],
            **{
                level: (own[f"lower_{level}"] <= own["actual"])
                & (own["actual"] <= own[f"upper_{level}"])
                for level in ("80", "95")
            },
        }
    )
    figures = {
        "one-step RMSE / last_close": ours["against"]["one_step_rmse_ratio"],
        "p": ours["against"]["one_step_p_value"],
        "RMSE at 30 / last_close": ours["against"]["last_step_rmse_ratio"],
        "direction": ours["steps"][1]["direction_accuracy"],
        "direction of last_close": close["steps"][1]["direction_accuracy"],
        "CRPS / ARIMA": ours["overall"]["relative_crps"] / arima["overall"]["relative_crps"],
        "CRPS / last_close": ours["against"]["crps_ratio"],
        "CRPS of last_close / ARIMA": close["overall"]["relative_crps"]
        / arima["overall"]["relative_crps"],
        "in 80 %": ours["overall"]["coverage_80"],
        "in 95 %": ours["overall"]["coverage_95"],
        "last_close in 80 %": close["overall"]["coverage_80"],
    }
    return {"ticker": ticker, **figures}, inside.groupby("origin")[["80", "95"]].mean()


def main() -> int:
    """Walk, pool and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1, help="only every N-th of the tickers")
    parser.add_argument("--only", nargs="*", help="these tickers instead")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    files = sorted(arguments.folder.glob("*.csv*"))
    names = arguments.only or [p.name.split(".")[0] for p in files]
    chosen = [
        p
        for p in files
        if (ticker := p.name.split(".")[0]) in names and (arguments.only or fold(ticker) < 2)
    ][:: arguments.every]
    with TemporaryDirectory() as home, ProcessPoolExecutor(2, get_context("spawn")) as pool:
        jobs = [pool.submit(judged, path, Path(home)) for path in chosen]
        results = [job.result() for job in tqdm(jobs, unit="ticker")]
    table = pd.DataFrame([figures for figures, _ in results]).set_index("ticker")
    print(f"{len(table)} tickers, origins {START} to {END}")
    print(table.describe().loc[["mean", "min", "max"]].T.round(4).to_string())
    worse = (table["p"] < 0.01) & (table["one-step RMSE / last_close"] > 1)
    print("significantly worse than last_close (1 %):", list(table.index[worse]))
    for level in ("80", "95"):
        by_day = pd.concat([inside[level] for _, inside in results], axis=1).mean(axis=1)
        means = block_means(by_day.to_numpy()[:, None], BLOCK, 4000, 0)[:, 0]
        low, high = np.quantile(means, [0.025, 0.975])
        print(f"pooled coverage of {level} %: {by_day.mean():.4f} ({low:.4f} to {high:.4f})")
    if arguments.json:
        arguments.json.write_text(json.dumps(table.reset_index().to_dict("records"), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
