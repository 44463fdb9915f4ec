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
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from alerts import Webhook
from config import Settings, chosen_tickers, get_settings
from contracts import (
    BadPrices,
    DriftVerdict,
    FloatArray,
    ForecastingError,
    NoChampion,
    Prices,
    parse_ticker,
)
from data_pipeline import StockDataPipeline
from drift import FALSE_ALARMS, Comparison, checked_frames, compare, sequence_columns
from drift_check import Checked, Watched, check_ticker
from drift_report import write_report
from engines import choice_of
from forecast_log import ForecastLog, verdict_json
from many import add_many_flags, exit_code
from model_store import NETWORK, REFERENCE, ModelStore, Published
from serving import check_match
from watching.tables import as_list, as_table, history_table
from whole_files import replace_file

log = logging.getLogger(__name__)

HISTORY = 60  # sessions of the replay that a verdict keeps: a quarter of a year


class DriftMonitor:
    """Drift reports and verdicts for one ticker."""

    draws = True  # whether a check makes pages

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
        return self.written(check_ticker(self.ticker, self.watched(history)))

    def watched(self, history: int = HISTORY) -> Watched:
        """What a check needs: the champion's files, the prices, and the calibration it may use.

        Raises:
            NoChampion: nothing to check, or a model that does not fit the prices.
            ForecastingError: prices or bundle cannot be read.
        """
        published, prices = self._champion_and_prices()
        files = {
            name: (published.path / name).read_bytes()
            for name in (NETWORK, REFERENCE)
            if (published.path / name).is_file()
        }
        return Watched(
            version=published.version,
            bundle=published.bundle,
            card=published.card,
            files=files,
            prices=prices,
            seed=self.settings.seed,
            history=history,
            calibration=self._calibration(),
            drawn=self.draws,
        )

    def written(self, checked: Checked) -> DriftVerdict:
        """Put the pages in place, keep the calibration; the verdict."""
        for name, page in checked.pages.items():
            replace_file(self.settings.reports_dir / name, page)
        if checked.calibration not in (None, self._calibration()):
            try:
                replace_file(self._kept, checked.calibration or b"")
            except OSError as error:
                log.info("calibration_not_kept path=%s reason=%r", self._kept, str(error))
        return checked.verdict

    def watch(self, records: ForecastLog, history: int = HISTORY) -> DriftVerdict:
        """Check, tell the webhook of an alarm it has not heard of, and record the verdict.

        Raises:
            ForecastingError: as `check`; or the database is away, when nobody was told.
        """
        return self.told(self.check(history), records)

    def told(self, verdict: DriftVerdict, records: ForecastLog) -> DriftVerdict:
        """Tell the webhook of an alarm it has not heard of, and record the verdict.

        Raises:
            LogUnavailable: the database is away, when nobody was told.
        """
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

    def _calibration(self) -> bytes | None:
        try:
            return self._kept.read_bytes()
        except OSError:  # none is kept, or none that can be read
            return None

    @property
    def _kept(self) -> Path:
        """Thresholds of a champion's reference, computed once and kept beside the prices."""
        return self.settings.data_dir / "drift" / f"{self.ticker}.json"


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


def main(argv: list[str] | None = None) -> int:
    """Check for drift, write the reports, record the verdict. Exit 0 with or without alarm.

    Exit 1 if one of several tickers could not be checked.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["settle"]:
        from settle_command import main as settle

        return settle(given[1:])
    arguments = _parser().parse_args(given)
    failed: list[str] = []
    try:
        settings = get_settings()
        logging.basicConfig(level=settings.log_level, format="%(levelname)s %(name)s %(message)s")
        tickers = chosen_tickers(arguments.tickers, arguments.tickers_file) or settings.tickers
        records = ForecastLog(settings.database_url)
        if len(tickers) == 1:
            monitor = DriftMonitor(tickers[0], settings)
            print(_shown(monitor.watch(records, arguments.replay or HISTORY), settings, arguments))
        else:
            from many_checks import Checks, check_all

            checks = Checks(tickers, arguments.replay or HISTORY, settings)
            found = check_all(checks, records, choice_of(arguments), afresh=arguments.afresh)
            print(_all_shown(found[0], settings, arguments))
            print(f"drift: {found[1]}", file=sys.stderr)
            failed = list(found[1].failed)
        records.close()
    except ForecastingError as error:
        print(f"drift_monitor.py: {error}", file=sys.stderr)
        return 2
    return 1 if failed else 0


def _shown(verdict: DriftVerdict, settings: Settings, wish: argparse.Namespace) -> str:
    """One verdict as it was asked for."""
    if wish.json:
        return verdict_json(verdict)
    if wish.html:
        return "\n".join(str(settings.reports_dir / name) for name in verdict.reports)
    history = f"\n\n{history_table(verdict.history)}" if wish.replay else ""
    return f"{as_table(verdict)}{history}"


def _all_shown(
    verdicts: Sequence[DriftVerdict], settings: Settings, wish: argparse.Namespace
) -> str:
    """Several verdicts as they were asked for."""
    if wish.json:
        return f"[{', '.join(verdict_json(verdict) for verdict in verdicts)}]"
    if wish.html:
        return "\n".join(_shown(verdict, settings, wish) for verdict in verdicts)
    return as_list(verdicts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="drift_monitor.py",
        description=main.__doc__,
        epilog="drift_monitor.py settle [TICKER ...] puts outcomes beside served forecasts",
    )
    parser.add_argument("tickers", nargs="*", help="symbols; default: STOCK_TICKERS")
    add_many_flags(parser)
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print JSON; of several a list")
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
    sys.exit(exit_code(main))
