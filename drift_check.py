"""One ticker's drift check as a pure task: a champion and prices in, a verdict and its pages out.

Knows no settings, no database, no store and no folder but a scratch one of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from contracts import BadBundle, DriftVerdict, ModelCard, Prices
from data_pipeline import training_bars
from drift import error_ratio
from drift_report import OUTCOME, write_report
from inference import Network, TrainedModel, one_step_table
from model_store import NETWORK, REFERENCE, Published
from watching.calibration import calibrate
from watching.kept import kept, key_of
from watching.measures import MODEL
from watching.reasons import summarise
from watching.replays import Replay, replay
from watching.samples import OPTIONAL, Samples, page_of, reasons_of, samples_of

KEPT = "calibration.json"


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """All that decides a verdict."""

    version: str
    bundle: str
    card: ModelCard
    files: Mapping[str, bytes]  # the bundle's network and reference
    prices: Prices
    seed: int
    history: int  # newest sessions of the replay that the verdict keeps
    calibration: bytes | None  # what an earlier check kept, of this champion or of another
    drawn: bool  # whether pages are wanted


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """A verdict that nobody has been told of."""

    verdict: DriftVerdict
    pages: Mapping[str, bytes]  # HTML, by file name
    calibration: bytes | None  # to be kept; None where it could not be


def check_ticker(ticker: str, watched: Watched) -> Checked:
    """Judge every session since the champion's training as of its own day.

    Raises:
        BadBundle: the bundle keeps no usable reference.
        NotEnoughHistory: too few sessions to check.
    """
    with (
        tempfile.TemporaryDirectory() as scratch,
        tqdm(total=4, desc=f"{ticker} drift", unit="step", disable=None) as bar,
    ):
        published = _unpacked(watched, Path(scratch))
        samples = gather(published, watched.prices)
        bar.update()
        path, references = Path(scratch) / KEPT, samples.references
        key = key_of(references, watched.seed)
        calibrated = kept(path, key, lambda: calibrate(references, watched.seed))
        found = replay(references, samples.days, calibrated.thresholds)
        verdict = judged(published, watched.prices, samples, (found, calibrated.false_alarms))
        bar.update()
        pages = {}
        for page in _pages(samples, verdict, Path(scratch)) if watched.drawn else ():
            pages[page.name] = page.read_bytes()
            bar.update()
        verdict = replace(verdict, reports=(*pages,), history=found.history(watched.history))
        return Checked(verdict, pages, path.read_bytes() if path.is_file() else None)


def _unpacked(watched: Watched, folder: Path) -> Published:
    for name, content in watched.files.items():
        (folder / name).write_bytes(content)
    if watched.calibration is not None:
        (folder / KEPT).write_bytes(watched.calibration)
    return Published(watched.version, watched.bundle, folder, watched.card)


def _pages(samples: Samples, verdict: DriftVerdict, folder: Path) -> Iterator[Path]:
    """Features against training, then errors against the held-out sessions."""
    worth = worth_monthly(verdict)
    model = [row for row in verdict.features if row.feature in MODEL]
    pages = [
        (page_of(samples), verdict.features, "data_drift"),
        ((_indexed(samples.former), _indexed(samples.recent)), model, "model_performance"),
    ]
    for frames, rows, name in pages:
        yield write_report(frames, rows, worth, folder / f"{verdict.ticker}_{name}.html")


def gather(published: Published, prices: Prices) -> Samples:
    """Training and held-out rows as the bundle keeps them, later ones from the prices.

    Raises:
        BadBundle: the bundle keeps no usable reference.
        NotEnoughHistory: too few sessions to check.
    """
    card = published.card
    model = TrainedModel(Network(published.path / NETWORK), card.recipe)
    now = one_step_table(model, training_bars(prices, card.start_date))
    return samples_of(_reference(published), now, (card.train, card.test))


def _reference(published: Published) -> pd.DataFrame:
    needed = ["date", "return", "range", "last_mid", "last_close", *OUTCOME]
    try:
        rows = pd.read_csv(published.path / REFERENCE, parse_dates=["date"])
        return rows[[*needed, *(name for name in OPTIONAL if name in rows)]]
    except (OSError, ValueError, KeyError) as error:
        raise BadBundle(
            f"{published.bundle}: {REFERENCE} is missing or unreadable; train it again"
        ) from error


def judged(
    published: Published, prices: Prices, samples: Samples, replayed: tuple[Replay, float]
) -> DriftVerdict:
    """The verdict of a replay, without history and reports; `replayed` has the rate beside it."""
    found, false_alarms = replayed
    drift, quarantined = found.features(reasons_of(samples, found)), prices.provenance.quarantined
    severity = "critical" if quarantined else found.severity
    moved = tuple(row.reason for row in drift if row.drifted)
    refused = (f"newer bars were refused: {quarantined}",) if quarantined else ()
    return DriftVerdict(
        ticker=prices.ticker,
        checked_at=datetime.now(UTC),
        as_of=found.dates[-1],
        alarm=severity in ("alarm", "critical"),
        severity=severity,
        summary=summarise(found.severity, drift, false_alarms, quarantined),
        features=drift,
        reference_rows=len(samples.training),
        current_rows=len(samples.recent),
        rmse_ratio_reference=_error_ratio(samples.former),
        rmse_ratio_current=_error_ratio(samples.recent),
        model_version=published.version,
        data_source=prices.provenance.source,
        reports=(),
        consecutive=max(row.consecutive for row in drift),
        reasons=(*refused, *moved),
        episode=found.dates[-1] if quarantined else found.episode,
        cooled_down=not quarantined and found.told_before,
        false_alarms_per_month=false_alarms,
    )


def worth_monthly(verdict: DriftVerdict) -> str:
    """What an alarm of the daily check is worth, for a report."""
    return (
        f"{verdict.reference_rows} sessions of training; chance alone raises an alarm in "
        f"{verdict.false_alarms_per_month:.1%} of months, measured by a block bootstrap of them."
    )


def _with_raw(rows: pd.DataFrame) -> pd.DataFrame:
    """Prices of measured sessions, under their own names."""
    return rows.filter(like="raw_").rename(columns=lambda name: str(name).removeprefix("raw_"))


def _error_ratio(rows: pd.DataFrame) -> float:
    return error_ratio(_with_raw(rows))


def _indexed(rows: pd.DataFrame) -> pd.DataFrame:
    """Outcome and forecast with the last known mid at 100, so that no price level is compared."""
    prices = _with_raw(rows)
    return (100 * prices[OUTCOME].div(prices["last_mid"], axis=0)).reset_index(drop=True)
