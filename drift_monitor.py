"""Has the market, or the champion's error, moved since training? Evidently reports and a verdict.

The only door to Evidently, which takes seconds to import and is therefore imported where it is
used. Compares returns, ranges and errors, never price levels, which always drift. Knows nothing of
retraining. `python drift_monitor.py AAPL` writes two HTML reports and records the verdict; it exits
0 whether or not there is an alarm (the verdict says), and 2 with one line where it cannot tell.
"""

from __future__ import annotations

import argparse
import html
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from config import Settings, get_settings
from contracts import (
    BadBundle,
    BadPrices,
    DriftVerdict,
    FeatureDrift,
    FloatArray,
    ForecastingError,
    NoChampion,
    Prices,
    Span,
    parse_ticker,
)
from data_pipeline import StockDataPipeline, training_bars
from drift import (
    ERROR_RATIO,
    FALSE_ALARMS,
    FEATURES,
    LEAST_ROWS,
    METHOD,
    WORDS,
    Samples,
    as_table,
    checked_frames,
    error_ratio,
    feature_drift,
    judge,
    sequence_columns,
    summarise,
)
from forecast_log import ForecastLog, verdict_json
from inference import Network, TrainedModel, one_step_table
from model_store import NETWORK, REFERENCE, ModelStore, Published
from serving import check_match

log = logging.getLogger(__name__)

CURRENT_ROWS = 60  # sessions a check looks back over: a quarter of a year
OUTCOME = ["actual", "prediction"]
BY_CHANCE = (
    f"Thresholds come from a block bootstrap of the reference sample; at most about "
    f"{FALSE_ALARMS:.0%} of checks are meant to alarm by chance."
)


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
        drift = feature_drift(reference, current, FALSE_ALARMS, self.settings.seed)
        return write_report(reference, current, drift, Path(output_path))

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
        drift = feature_drift(*inputs, FALSE_ALARMS, self.settings.seed)
        return write_report(reference, current, drift, Path(output_path))

    def check(self, current_rows: int = CURRENT_ROWS) -> DriftVerdict:
        """Judge the newest sessions against the champion's training, and write both reports.

        A feed whose newer bars were refused is an alarm in itself: nobody watches the market then.

        Args:
            current_rows: how many of the newest sessions.

        Raises:
            NoChampion: nothing to check, or a model that does not fit the prices.
            ForecastingError: prices or bundle cannot be read, or are too short.
        """
        with tqdm(total=4, desc=f"{self.ticker} drift", unit="step", disable=None) as bar:
            published, prices = self._champion_and_prices()
            quarantined = prices.provenance.quarantined
            bar.update()
            samples = gather(published, prices, current_rows)
            drift = judge(samples, self.settings.seed)
            bar.update()
            reports = []
            for path in self._write_reports(samples, drift):
                reports.append(path.name)
                bar.update()
        return DriftVerdict(
            ticker=self.ticker,
            checked_at=datetime.now(UTC),
            as_of=samples.recent["date"].iloc[-1].date(),
            alarm=quarantined is not None or any(row.drifted for row in drift),
            summary=summarise(drift, len(samples.recent), quarantined),
            features=drift,
            reference_rows=len(samples.training),
            current_rows=len(samples.recent),
            rmse_ratio_reference=error_ratio(samples.held_out),
            rmse_ratio_current=error_ratio(samples.recent),
            model_version=published.version,
            data_source=prices.provenance.source,
            reports=tuple(reports),
        )

    def _champion_and_prices(self) -> tuple[Published, Prices]:
        published = ModelStore(self.settings.models_dir).champion(self.ticker)
        if published is None:
            raise NoChampion(self.ticker)
        prices = StockDataPipeline(self.ticker, self.settings).load()
        check_match(published, prices)
        return published, prices

    def _write_reports(self, samples: Samples, drift: tuple[FeatureDrift, ...]) -> Iterator[Path]:
        """Inputs against training, then errors against the held-out sessions."""
        folder = self.settings.reports_dir
        inputs = [row for row in drift if row.feature != ERROR_RATIO]
        pages = [
            (samples.training[FEATURES], samples.recent[FEATURES], inputs, "data_drift"),
            (_indexed(samples.held_out), _indexed(samples.recent), drift[-1:], "model_performance"),
        ]
        for reference, current, rows, name in pages:
            yield write_report(reference, current, rows, folder / f"{self.ticker}_{name}.html")


def gather(published: Published, prices: Prices, current_rows: int) -> Samples:
    """Training and held-out rows as the bundle keeps them, recent ones from the prices.

    Raises:
        BadBundle: the bundle keeps no usable reference.
    """
    card = published.card
    kept = _reference(published.path)
    bars = training_bars(prices, card.start_date)
    model = TrainedModel(Network(published.path / NETWORK), card.recipe)
    recent = one_step_table(model, bars).tail(current_rows)
    held_out = _within(kept, card.test)
    before = held_out[held_out["date"] < recent["date"].iloc[0]]
    return Samples(
        training=_within(kept, card.train),
        held_out=before if len(before) >= LEAST_ROWS else held_out,
        recent=recent.reset_index(drop=True),
    )


def _reference(bundle: Path) -> pd.DataFrame:
    needed = ["date", *FEATURES, "last_mid", "last_close", *OUTCOME]
    try:
        return pd.read_csv(bundle / REFERENCE, usecols=needed, parse_dates=["date"])
    except (OSError, ValueError) as error:
        raise BadBundle(
            f"{bundle.name}: {REFERENCE} is missing or unreadable; train it again"
        ) from error


def _within(rows: pd.DataFrame, span: Span) -> pd.DataFrame:
    inside = rows["date"].between(pd.Timestamp(span.first), pd.Timestamp(span.last))
    return rows[inside].reset_index(drop=True)


def write_report(
    reference: pd.DataFrame, current: pd.DataFrame, drift: Sequence[FeatureDrift], path: Path
) -> Path:
    """Let Evidently draw both samples with our method and thresholds; our rows stand on top.

    Args:
        reference: numeric columns; `actual` and `prediction`, where present, are judged as a
            regression, every other column as an input.
        current: the same columns.
        drift: the rows to show, with the threshold of every input column.
        path: the HTML file, replaced in one step.
    """
    inputs = [str(name) for name in reference if name not in OUTCOME]
    limits = {row.feature: row.threshold for row in drift if row.feature in inputs}
    with _quiet_evidently():
        page: str = _evidently_run(reference, current, limits).get_html_str(as_iframe=False)
    page = page.replace("<body>", f"<body>{_as_html(drift, reference, current)}", 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_text(page, "utf-8")
    draft.replace(path)
    log.info("report=%s rows=%d", path.name, len(current))
    return path


def _evidently_run(reference: pd.DataFrame, current: pd.DataFrame, limits: dict[str, float]) -> Any:
    """Evidently's snapshot: a regression where there is an outcome, drift of the columns named."""
    from evidently import DataDefinition, Dataset, Regression, Report
    from evidently.presets import DataDriftPreset, RegressionPreset

    outcome = [Regression(target=OUTCOME[0], prediction=OUTCOME[1])]
    judged = outcome if OUTCOME[0] in reference else None
    form = DataDefinition(numerical_columns=list(limits), regression=judged)
    parts = [RegressionPreset()] if judged else []
    if limits:
        parts.append(
            DataDriftPreset(
                columns=list(limits),
                num_method=METHOD,
                per_column_threshold=limits,
                drift_share=1 / len(limits),  # one drifted column is drift
            )
        )
    former, recent = (Dataset.from_pandas(part, form) for part in (reference, current))
    return Report(parts).run(recent, former)


@contextmanager
def _quiet_evidently() -> Iterator[None]:
    """Known warnings of Evidently 0.7 and what it stands on; none concerns the result."""
    still = np.errstate(divide="ignore", invalid="ignore")  # correlations of a column that stands
    with still, warnings.catch_warnings():
        for message, category in (
            ("numpy.core is deprecated", DeprecationWarning),
            ("invalid escape sequence", DeprecationWarning),
            ("(Call to|Use of) deprecated", DeprecationWarning),  # litestar's
            (r"\s*R\^2 score is not well-defined", UserWarning),  # of single rows it plots
        ):
            warnings.filterwarnings("ignore", message, category)
        yield


def _as_html(drift: Sequence[FeatureDrift], reference: pd.DataFrame, current: pd.DataFrame) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(WORDS.get(row.feature, row.feature))}</td><td>{row.distance:.3f}"
        f"</td><td>{row.threshold:.3f}</td><td>{'moved' if row.drifted else 'as before'}</td></tr>"
        for row in drift
    )
    return (
        '<section style="font-family:sans-serif;margin:24px">'
        f"<p>{len(current)} recent rows against {len(reference)} reference rows. {BY_CHANCE}</p>"
        '<table cellpadding="6"><tr><th align="left">what</th><th>distance</th><th>threshold</th>'
        f"<th>verdict</th></tr>{rows}</table></section>"
    )


def _with_outcome(inputs: pd.DataFrame, actual: object, prediction: object) -> pd.DataFrame:
    said = {"actual": np.ravel(np.asarray(actual)), "prediction": np.ravel(np.asarray(prediction))}
    if any(len(values) != len(inputs) for values in said.values()) or set(said) & set(inputs):
        raise BadPrices("inputs, outcomes and predictions need one row each, under their own names")
    return inputs.assign(**said)


def _indexed(rows: pd.DataFrame) -> pd.DataFrame:
    """Outcome and forecast with the last known mid at 100, so that no price level is compared."""
    return 100 * rows[OUTCOME].div(rows["last_mid"], axis=0)


def main(argv: list[str] | None = None) -> int:
    """Check a ticker for drift, write the reports, record the verdict. 0 with or without alarm."""
    parser = argparse.ArgumentParser(prog="drift_monitor.py", description=main.__doc__)
    parser.add_argument("ticker", help="symbol, such as AAPL")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    parser.add_argument(
        "--current",
        type=_sessions,
        default=CURRENT_ROWS,
        help="newest sessions judged (60)",
    )
    arguments = parser.parse_args(argv)
    try:
        settings = get_settings()
        logging.basicConfig(level=settings.log_level, format="%(levelname)s %(name)s %(message)s")
        verdict = DriftMonitor(arguments.ticker, settings).check(arguments.current)
        store = ForecastLog(settings.database_url)
        store.record_verdict(verdict)
        store.close()
    except ForecastingError as error:
        print(f"drift_monitor.py: {error}", file=sys.stderr)
        return 2
    print(verdict_json(verdict) if arguments.json else as_table(verdict))
    return 0


def _sessions(text: str) -> int:
    if not text.isdigit() or int(text) < LEAST_ROWS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {LEAST_ROWS} up")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
