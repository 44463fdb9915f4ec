"""Has the market, the champion's error or the feed moved since training? A verdict and reports.

Compares moves and errors, never price levels, which always drift. Knows nothing of retraining.
`python drift_monitor.py AAPL` replays the check over every session since training, writes two HTML
reports, tells the webhook of a new alarm and records the verdict; it exits 0 whether or not there
is an alarm (the verdict says), and 2 with one line where it cannot tell.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from alerts import Webhook
from config import Settings, get_settings
from contracts import (
    BadBundle,
    BadPrices,
    DriftVerdict,
    FloatArray,
    ForecastingError,
    NoChampion,
    Prices,
    parse_ticker,
)
from data_pipeline import StockDataPipeline, training_bars
from drift import FALSE_ALARMS, Comparison, checked_frames, compare, error_ratio, sequence_columns
from drift_report import OUTCOME, write_report
from forecast_log import ForecastLog, verdict_json
from inference import Network, TrainedModel, one_step_table
from model_store import NETWORK, REFERENCE, ModelStore, Published
from serving import check_match
from watching.calibration import Calibrated, calibrate
from watching.kept import kept, key_of
from watching.measures import MODEL
from watching.reasons import summarise
from watching.replays import Replay, replay
from watching.samples import OPTIONAL, Samples, page_of, reasons_of, samples_of
from watching.tables import as_table, history_table

log = logging.getLogger(__name__)

HISTORY = 60  # sessions of the replay that a verdict keeps: a quarter of a year


class DriftMonitor:
    """Drift reports and verdicts for one ticker."""

    def __init__(self, ticker: str, settings: Settings | None = None) -> None:
        self.ticker = parse_ticker(ticker)
        self.settings = settings or get_settings()

    def generate_data_drift_report(
        self, reference_data: object, current_data: object, output_path: str | Path
    ) -> Path:
        """Compare two samples column by column in an Evidently HTML report.

        Args:
            reference_data: one-dimensional array or frame, in time order. Give returns or
                ranges: price levels always drift.
            current_data: the same columns, other rows.
            output_path: the HTML file to write; its folder is made.

        Raises:
            NotEnoughHistory: fewer than LEAST_ROWS rows.
            BadPrices: NaN, infinity, or columns that differ.
        """
        reference, current = checked_frames(reference_data, current_data)
        found = compare(reference, current, FALSE_ALARMS, self.settings.seed)
        samples, path = (reference, current), Path(output_path)
        return write_report(samples, found.features, worth_once(found), path)

    def generate_model_drift_report(  # noqa: PLR0913 - the specified call
        self,
        X_ref: object,
        y_ref: FloatArray,
        X_curr: object,
        y_curr: FloatArray,
        predictions_ref: FloatArray,
        predictions_curr: FloatArray,
        output_path: str | Path,
    ) -> Path:
        """Compare a model's errors and inputs in two samples in an Evidently HTML report.

        Args:
            X_ref: inputs, (n, steps, features) as the network sees them (reduced by
                `drift.sequence_columns`), (n, columns), or a frame.
            y_ref: what came, shape (n,).
            X_curr: the same with m rows.
            y_curr: shape (m,).
            predictions_ref: what the model said, shape (n,).
            predictions_curr: shape (m,).
            output_path: the HTML file to write; its folder is made.

        Raises:
            NotEnoughHistory: fewer than LEAST_ROWS rows.
            BadPrices: NaN, infinity, or lengths or columns that differ.
        """
        inputs = checked_frames(sequence_columns(X_ref), sequence_columns(X_curr))
        reference, current = checked_frames(
            _with_outcome(inputs[0], y_ref, predictions_ref),
            _with_outcome(inputs[1], y_curr, predictions_curr),
        )
        found = compare(*inputs, FALSE_ALARMS, self.settings.seed)
        samples, path = (reference, current), Path(output_path)
        return write_report(samples, found.features, worth_once(found), path)

    def check(self, history: int = HISTORY) -> DriftVerdict:
        """Judge every session since the champion's training as of its own day; write both reports.

        The verdict is that of the newest session; how long something has moved is counted in
        sessions, however often anybody looks. A feed whose newer bars were refused is an alarm
        at once: nobody watches the market then.

        Args:
            history: how many of the newest sessions the verdict keeps.

        Raises:
            NoChampion: nothing to check, or a model that does not fit the prices.
            ForecastingError: prices or bundle cannot be read, or are too short.
        """
        with tqdm(total=4, desc=f"{self.ticker} drift", unit="step", disable=None) as bar:
            published, prices = self._champion_and_prices()
            samples = gather(published, prices)
            bar.update()
            calibrated = self._calibrated(samples)
            found = replay(samples.references, samples.days, calibrated.thresholds)
            verdict = judged(published, prices, samples, (found, calibrated.false_alarms))
            bar.update()
            reports = []
            for path in self._write_reports(samples, verdict):
                reports.append(path.name)
                bar.update()
        return replace(verdict, reports=tuple(reports), history=found.history(history))

    def watch(self, records: ForecastLog, history: int = HISTORY) -> DriftVerdict:
        """Check, tell the webhook of an alarm it has not heard of, and record the verdict.

        Raises:
            ForecastingError: as `check`; or the database is away, when nobody was told.
        """
        verdict = self.check(history)
        webhook = Webhook(self.settings.alert_webhook, self.settings.public_api_url)
        if webhook.tell(verdict, records.verdicts(self.ticker)):
            verdict = replace(verdict, alerted=True)
        records.record_verdict(verdict)
        return verdict

    def _champion_and_prices(self) -> tuple[Published, Prices]:
        published = ModelStore(self.settings.models_dir).champion(self.ticker)
        if published is None:
            raise NoChampion(self.ticker)
        prices = StockDataPipeline(self.ticker, self.settings).load()
        check_match(published, prices)
        return published, prices

    def _calibrated(self, samples: Samples) -> Calibrated:
        """Thresholds of the champion's reference, computed once and kept beside the prices."""
        seed, references = self.settings.seed, samples.references
        path = self.settings.data_dir / "drift" / f"{self.ticker}.json"
        return kept(path, key_of(references, seed), lambda: calibrate(references, seed))

    def _write_reports(self, samples: Samples, verdict: DriftVerdict) -> Iterator[Path]:
        """Features against training, then errors against the held-out sessions."""
        folder, worth = self.settings.reports_dir, worth_monthly(verdict)
        model = [row for row in verdict.features if row.feature in MODEL]
        pages = [
            (page_of(samples), verdict.features, "data_drift"),
            ((_indexed(samples.former), _indexed(samples.recent)), model, "model_performance"),
        ]
        for frames, rows, name in pages:
            yield write_report(frames, rows, worth, folder / f"{self.ticker}_{name}.html")


def gather(published: Published, prices: Prices) -> Samples:
    """Training and held-out rows as the bundle keeps them, later ones from the prices.

    Raises:
        BadBundle: the bundle keeps no usable reference.
        NotEnoughHistory: too few sessions to check.
    """
    card = published.card
    model = TrainedModel(Network(published.path / NETWORK), card.recipe)
    now = one_step_table(model, training_bars(prices, card.start_date))
    return samples_of(_reference(published.path), now, (card.train, card.test))


def _reference(bundle: Path) -> pd.DataFrame:
    needed = ["date", "return", "range", "last_mid", "last_close", *OUTCOME]
    try:
        rows = pd.read_csv(bundle / REFERENCE, parse_dates=["date"])
        return rows[[*needed, *(name for name in OPTIONAL if name in rows)]]
    except (OSError, ValueError, KeyError) as error:
        raise BadBundle(
            f"{bundle.name}: {REFERENCE} is missing or unreadable; train it again"
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


def worth_once(found: Comparison) -> str:
    """What drift found by a single comparison is worth, for a report."""
    return (
        f"Chance alone finds drift in {found.false_alarms:.1%} of {found.draws} comparisons drawn "
        "from the reference in blocks."
    )


def _with_outcome(inputs: pd.DataFrame, actual: object, prediction: object) -> pd.DataFrame:
    said = {"actual": np.ravel(np.asarray(actual)), "prediction": np.ravel(np.asarray(prediction))}
    if any(len(values) != len(inputs) for values in said.values()) or set(said) & set(inputs):
        raise BadPrices("inputs, outcomes and predictions need one row each, under their own names")
    return inputs.assign(**said)


def _with_raw(rows: pd.DataFrame) -> pd.DataFrame:
    """Prices of measured sessions, under their own names."""
    return rows.filter(like="raw_").rename(columns=lambda name: str(name).removeprefix("raw_"))


def _error_ratio(rows: pd.DataFrame) -> float:
    return error_ratio(_with_raw(rows))


def _indexed(rows: pd.DataFrame) -> pd.DataFrame:
    """Outcome and forecast with the last known mid at 100, so that no price level is compared."""
    prices = _with_raw(rows)
    return (100 * prices[OUTCOME].div(prices["last_mid"], axis=0)).reset_index(drop=True)


def main(argv: list[str] | None = None) -> int:
    """Check a ticker for drift, write the reports, record the verdict. 0 with or without alarm."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["settle"]:
        from settle_command import main as settle

        return settle(given[1:])
    arguments = _parser().parse_args(given)
    try:
        settings = get_settings()
        logging.basicConfig(level=settings.log_level, format="%(levelname)s %(name)s %(message)s")
        records = ForecastLog(settings.database_url)
        monitor = DriftMonitor(arguments.ticker, settings)
        verdict = monitor.watch(records, arguments.replay or HISTORY)
        records.close()
    except ForecastingError as error:
        print(f"drift_monitor.py: {error}", file=sys.stderr)
        return 2
    pages = "\n".join(str(settings.reports_dir / name) for name in verdict.reports)
    plain = pages if arguments.html else as_table(verdict)
    print(verdict_json(verdict) if arguments.json else plain)
    if arguments.replay and not (arguments.json or arguments.html):
        print(f"\n{history_table(verdict.history)}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="drift_monitor.py",
        description=main.__doc__,
        epilog="drift_monitor.py settle [TICKER ...] puts outcomes beside served forecasts",
    )
    parser.add_argument("ticker", help="symbol, such as AAPL")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print the verdict as JSON")
    shown.add_argument("--html", action="store_true", help="print the paths of the HTML reports")
    parser.add_argument(
        "--replay",
        type=_sessions,
        metavar="SESSIONS",
        help="also show what the check says as of each of the newest sessions",
    )
    return parser


def _sessions(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of sessions from 1 up")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
