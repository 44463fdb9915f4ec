"""False alarms a month and days to detection of the drift check, beside Evidently's defaults.

`python benchmarks/drift.py FOLDER [--every N] [--offset N] [--starts N]` takes every N-th CSV file
of FOLDER (daily bars from 2015 on, one ticker each; the network of a shipped base stands for the
champion's), calibrates on 2015 to 2018 with 2019 as the held-out year, and walks through 2020 to
2025 session by session: months with an alarm in each year; then shifts written into the bars of
random days in the years from 2021 on, and how many sessions the alarm takes. A second calibration
on 2020 to April 2024 says what the default settings mean in 2025. Evidently's defaults are computed
directly; `--verify` has the library itself compute a few of them. `--first-year 1995` does the same
with other years: calibrated on 1995 to 1998, held out 1999, walked 2000 to 2005.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ |= {"OMP_NUM_THREADS": "1"}

from bases import newest_base
from config import Settings
from contracts import FloatArray, Span
from drift_report import quiet_evidently, run_evidently
from inference import TrainedModel, one_step_table
from recipes import find_recipe
from watching.calibration import MONTH, Calibrated, calibrate
from watching.distances import distance
from watching.episodes import ALARM
from watching.replays import Replay, replay
from watching.samples import Samples, samples_of

COLUMNS = ["return", "range", "gap", "volume"]
EVIDENTLY_ROWS = 60  # the newest sessions given to Evidently: what our longest window sees
HISTORY, AFTER = 500, 63  # bars before a shift, for volatility to settle, and sessions after it
FIRST_YEAR = 2015  # of the calibration; four years of training, then one held out
WALKED = 6  # years after them
NEW = ("2020-01-01", "2024-04-30", "2024-05-01", "2024-12-31")
CRASH = pd.Timestamp("2020-02-20")  # the first falling session of 2020


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """One ticker with what its training years allow."""

    bars: pd.DataFrame
    table: pd.DataFrame  # raw sessions, see `one_step_table`
    model: TrainedModel
    spans: tuple[Span, Span]
    calibrated: Calibrated

    def samples(self, table: pd.DataFrame) -> Samples:
        return samples_of(self.table, table, self.spans)

    def replay(self, table: pd.DataFrame) -> Replay:
        samples = self.samples(table)
        return replay(samples.references, samples.days, self.calibrated.thresholds)

    def train_rows(self) -> pd.DataFrame:
        inside = self.table["date"] <= pd.Timestamp(self.spans[0].last)
        return self.table[inside]


def span(table: pd.DataFrame, first: str, last: str) -> Span:
    rows = table[table["date"].between(first, last)]["date"]
    return Span(first=rows.iloc[0].date(), last=rows.iloc[-1].date(), rows=len(rows))


def watched(bars: pd.DataFrame, model: TrainedModel, cuts: tuple[str, str, str, str]) -> Watch:
    """A ticker calibrated on the days between the first two cuts, held out between the others."""
    table = one_step_table(model, bars)
    spans = span(table, cuts[0], cuts[1]), span(table, cuts[2], cuts[3])
    empty = Calibrated(thresholds={}, false_alarms=0.0, months=0)
    watch = Watch(bars, table, model, spans, empty)
    return replace(watch, calibrated=calibrate(watch.samples(table).references, 0))


def evidently_alarms(train: pd.DataFrame, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Evidently's defaults of 0.7 at each session from the EVIDENTLY_ROWS-th on: KS below 0.05 for
    references up to 1000 rows, normed Wasserstein from 0.1 on for longer ones."""
    ks, far = [], []
    for end in range(EVIDENTLY_ROWS, len(table) + 1):
        now = table[end - EVIDENTLY_ROWS : end]
        pairs = [(train[name].to_numpy(), now[name].to_numpy()) for name in COLUMNS]
        ks.append([ks_2samp(then, recent).pvalue < 0.05 for then, recent in pairs])
        far.append([distance(then, recent) >= 0.1 for then, recent in pairs])
    chosen = np.array(far if len(train) > 1000 else ks)
    return {
        "Evidently, any column": chosen.any(axis=1),
        "Evidently, half of the columns": chosen.mean(axis=1) >= 0.5,
        "the same by distance 0.1": np.array(far).mean(axis=1) >= 0.5,
    }


def verify(train: pd.DataFrame, table: pd.DataFrame) -> None:
    """The library's own values, against those computed here."""
    now, then = table.tail(EVIDENTLY_ROWS), train
    with quiet_evidently():
        found = run_evidently(then[COLUMNS], now[COLUMNS], dict.fromkeys(COLUMNS, 0.1)).dict()
    values = [row["value"] for row in found["metrics"] if "ValueDrift" in row["metric_name"]]
    ours = [distance(then[name].to_numpy(), now[name].to_numpy()) for name in COLUMNS]
    np.testing.assert_allclose(values, ours, rtol=1e-9)


# Shifts, written into the bars so that predictions and errors follow by themselves.


@dataclass(frozen=True, slots=True, eq=False)
class Days:
    """A bar in logs: the night before it, then high, low and close over the open."""

    night: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray


def rebuilt(bars: pd.DataFrame, change: Callable[[Days], Days]) -> pd.DataFrame:
    """Bars whose days are changed from position HISTORY on; each begins where one ended."""
    after = bars[HISTORY:]
    before = bars["Close"].to_numpy()[HISTORY - 1 : -1]
    open_ = after["Open"].to_numpy()
    logs = (np.log(after[name].to_numpy() / open_) for name in ("High", "Low", "Close"))
    days = change(Days(np.log(open_ / before), *logs, after["Volume"].to_numpy(dtype=float)))
    closes = before[0] * np.exp(np.cumsum(days.night + days.close))
    opens = closes / np.exp(days.close)
    top = np.maximum.reduce([days.high, days.close, np.zeros(len(closes))])
    low = np.minimum.reduce([days.low, days.close, np.zeros(len(closes))])
    columns = {"Open": opens, "High": opens * np.exp(top), "Low": opens * np.exp(low)}
    new = after.assign(**columns, Close=closes, Volume=days.volume)
    return pd.concat([bars[:HISTORY], new], ignore_index=True)


def scaled(factor: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(days: Days) -> Days:
        parts = [factor * part for part in (days.night, days.high, days.low, days.close)]
        return Days(*parts, days.volume)

    return lambda bars: rebuilt(bars, change)


def drifting(share: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Every day moves by a share of the deviation of the half year before, up."""

    def _shift(bars: pd.DataFrame) -> pd.DataFrame:
        size = share * float(np.diff(np.log(bars["Close"][HISTORY - 126 : HISTORY])).std())

        def change(days: Days) -> Days:
            high, low = days.high + size / 2, days.low + size / 2
            return Days(days.night, high, low, days.close + size, days.volume)

        return rebuilt(bars, change)

    return _shift


def more_at_night(bars: pd.DataFrame) -> pd.DataFrame:
    return rebuilt(bars, lambda days: replace(days, night=3 * days.night))


def busier(bars: pd.DataFrame) -> pd.DataFrame:
    return rebuilt(bars, lambda days: replace(days, volume=2 * days.volume))


def stuck(bars: pd.DataFrame) -> pd.DataFrame:
    columns = ["Open", "High", "Low", "Close", "Volume"]
    still = bars.copy()
    still.loc[HISTORY:, columns] = bars.loc[HISTORY - 1, columns].to_numpy()
    return still


def other_unit(bars: pd.DataFrame) -> pd.DataFrame:
    dearer = bars.copy()
    dearer.loc[HISTORY:, ["Open", "High", "Low", "Close"]] *= 100
    return dearer


SHIFTS = {
    "volatility x2": scaled(2.0),
    "volatility x3": scaled(3.0),
    "mean +1/2 deviation a day": drifting(0.5),
    "mean +1 deviation a day": drifting(1.0),
    "overnight moves x3": more_at_night,
    "volume x2": busier,
    "stuck feed": stuck,
    "unit x100": other_unit,
}


def months_with_alarm(dates: list[date], alarms: np.ndarray) -> pd.DataFrame:
    """One row per 21 sessions: its year, and whether any of them alarms."""
    full = len(alarms) // MONTH * MONTH
    any_ = alarms[:full].reshape(-1, MONTH).any(axis=1)
    return pd.DataFrame({"year": [day.year for day in dates[:full:MONTH]], "alarm": any_})


def cuts(first_year: int) -> tuple[str, str, str, str]:
    """Four years of training, then one held out."""
    held = first_year + 4
    return f"{first_year}-01-01", f"{held - 1}-12-31", f"{held}-01-01", f"{held}-12-31"


def years_of(path: Path, first_year: int) -> pd.DataFrame | None:
    """The bars of a file from the first year to the last one walked; None if it begins later."""
    bars = pd.read_csv(path, parse_dates=["Date"])
    if bars["Date"].iloc[0] > pd.Timestamp(first_year, 1, 31):
        return None
    inside = bars["Date"].dt.year.between(first_year, first_year + 4 + WALKED)
    return bars[inside].reset_index(drop=True)


def quiet_then(watch: Watch, first: date) -> tuple[pd.DataFrame, Replay]:
    """Months of ours and of Evidently's, year by year, from a day on."""
    run = watch.replay(watch.table)
    at = sum(day < first for day in run.dates)
    ours = months_with_alarm(list(run.dates[at:]), run.raised[at:]).assign(who="ours")
    start = int((watch.table["date"] < pd.Timestamp(first)).sum())
    later = watch.table[start - EVIDENTLY_ROWS + 1 :]
    theirs = [
        months_with_alarm(list(run.dates[at:]), alarms).assign(who=who)
        for who, alarms in evidently_alarms(watch.train_rows(), later).items()
    ]
    return pd.concat([ours, *theirs]), run


def delays(watch: Watch, rng: np.random.Generator, starts: int) -> list[dict[str, object]]:
    """Sessions until the alarm after each shift, AFTER + 1 for none; from days without an alarm."""
    rows: list[dict[str, object]] = []
    first = int((watch.bars["Date"] < f"{watch.spans[1].last.year + 2}-01-01").sum())
    for _ in range(starts):
        at = int(rng.integers(max(first, HISTORY), len(watch.bars) - AFTER))
        stretch = watch.bars[at - HISTORY : at + AFTER].reset_index(drop=True)
        for name, shift in SHIFTS.items():
            table = one_step_table(watch.model, shift(stretch))
            run = watch.replay(table)
            before, after = run.rank[:-AFTER], run.rank[-AFTER:]
            if (before[-MONTH:] >= ALARM).any():
                continue
            hits = np.flatnonzero(after >= ALARM)
            row = {"shift": name, "ours": int(hits[0]) + 1 if len(hits) else AFTER + 1}
            theirs = evidently_alarms(watch.train_rows(), table[-AFTER - EVIDENTLY_ROWS :])
            for who, alarms in theirs.items():
                late = np.flatnonzero(alarms[1:])
                row[who] = int(late[0]) + 1 if len(late) else AFTER + 1
                row[f"before: {who}"] = bool(alarms[0])
            rows.append(row)
    return rows


def crash_delay(run: Replay) -> tuple[int, str]:
    """Sessions from the crash of 2020 to the first alarm that stands, and its severity."""
    at = sum(day < CRASH.date() for day in run.dates)
    hits = np.flatnonzero(run.rank[at : at + AFTER] >= ALARM)
    if not len(hits):
        return AFTER + 1, "none"
    return int(hits[0]) + 1, "before" if hits[0] == 0 and run.rank[at - 1] >= ALARM else "alarm"


def main(argv: list[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="benchmarks/drift.py", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="CSV files of daily bars, one per ticker")
    parser.add_argument("--every", type=int, default=16, help="take every N-th file (16)")
    parser.add_argument("--offset", type=int, default=0, help="beginning with the N-th (0)")
    parser.add_argument("--first-year", type=int, default=FIRST_YEAR, help="of the calibration")
    parser.add_argument("--starts", type=int, default=2, help="shifts of each kind a ticker (2)")
    parser.add_argument("--verify", action="store_true", help="check against Evidently itself")
    arguments = parser.parse_args(argv)
    base = newest_base(Settings(), find_recipe("panel"), date(2025, 12, 31))
    if base is None:
        print("benchmarks/drift.py: no shipped base", file=sys.stderr)
        return 2
    began = arguments.first_year
    months, found, crashes, rates = [], [], [], []
    paths = sorted(arguments.folder.glob("*.csv*"))[arguments.offset :: arguments.every]
    for number, path in enumerate(tqdm(paths, unit="ticker")):
        if (bars := years_of(path, began)) is None:
            continue
        old = watched(bars, base.model(), cuts(began))
        table, run = quiet_then(old, date(began + 5, 1, 1))
        months.append(table.assign(calibrated=f"{began}-{began + 3}"))
        found += delays(old, np.random.default_rng([arguments.offset, number]), arguments.starts)
        if arguments.verify and number < 3:
            verify(old.train_rows(), old.table)
        if began != FIRST_YEAR:
            rates.append((old.calibrated.false_alarms,))
            continue
        crashes.append(crash_delay(run))
        recent = bars[bars["Date"] >= "2020-01-01"].reset_index(drop=True)
        new = watched(recent, base.model(), NEW)
        months.append(quiet_then(new, date(2025, 1, 1))[0].assign(calibrated="2020-2024"))
        rates.append((old.calibrated.false_alarms, new.calibrated.false_alarms))
    print(report(pd.concat(months), pd.DataFrame(found), crashes, np.array(rates)))
    return 0


def report(
    months: pd.DataFrame, found: pd.DataFrame, crashes: list[tuple[int, str]], rates: FloatArray
) -> str:
    """The tables as text."""
    stated = ", ".join(f"{rate:.1%}" for rate in rates.mean(axis=0))
    first = int(months["year"].min()) + 1
    shares = months.pivot_table("alarm", ["calibrated", "who"], "year")
    shares[f"from {first} on"] = (
        months[months["year"] >= first].groupby(["calibrated", "who"])["alarm"].mean()
    )
    lines = [
        f"{len(rates)} tickers; stated rates (mean, each calibration): {stated}",
        "months with an alarm:",
        (100 * shares).round(1).to_string(na_rep=""),
        f"after a shift, {len(found) // max(1, found['shift'].nunique())} of each kind: median "
        f"sessions to the alarm ({AFTER + 1}: none), share within 21 and 63; a share of days on "
        "which Evidently alarmed before anything was shifted",
    ]
    for name in SHIFTS:
        lines += [f"  {name}", *_delays_of(found[found["shift"] == name])]
    if not crashes:
        return "\n".join(lines)
    sessions = np.array([row[0] for row in crashes])
    early = np.mean([row[1] == "before" for row in crashes])
    lines.append(
        f"after {CRASH:%Y-%m-%d}: median {np.median(sessions):.0f} sessions, within 21 "
        f"{(sessions <= MONTH).mean():.0%}, already alarming {early:.0%}"
    )
    return "\n".join(lines)


def _delays_of(rows: pd.DataFrame) -> list[str]:
    lines = []
    for who in ("ours", "Evidently, any column", "Evidently, half of the columns"):
        late = rows[who]
        early = "" if who == "ours" else f"  before: {rows[f'before: {who}'].mean():5.0%}"
        lines.append(
            f"    {who:32} {late.median():4.0f}  {(late <= MONTH).mean():5.0%}"
            f"  {(late <= AFTER).mean():5.0%}{early}"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
