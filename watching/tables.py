"""A verdict, and the sessions behind it, as people read them in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from contracts import CheckedSession, DriftVerdict
from watching.measures import ALL


def as_table(verdict: DriftVerdict) -> str:
    """The verdict: every feature, then what it means."""
    head = [
        f"{verdict.ticker}  model version {verdict.model_version}, {verdict.current_rows} sessions "
        f"through {verdict.as_of} against {verdict.reference_rows} of training",
        f"prices: {verdict.data_source}",
        "",
        f"{'what':30} {'distance':>9} {'threshold':>9}  verdict",
    ]
    rows = [
        f"{_words(row.feature):30} {row.distance:9.3f} {row.threshold:9.3f}  "
        f"{f'MOVED for {row.consecutive}' if row.drifted else 'as before'}"
        for row in verdict.features
    ]
    tail = [
        "",
        f"severity: {verdict.severity}{_standing(verdict)}",
        f"one-step error over that of the last close: {verdict.rmse_ratio_reference:.2f} held out "
        f"then, {verdict.rmse_ratio_current:.2f} now",
        verdict.summary,
        f"reports: {', '.join(verdict.reports)}",
    ]
    return "\n".join([*head, *rows, *tail])


def as_list(verdicts: Sequence[DriftVerdict]) -> str:
    """Several tickers' verdicts, a line each."""
    rows = [
        f"{verdict.ticker:8} {verdict.severity:8} {verdict.as_of}  {verdict.summary}"
        for verdict in verdicts
    ]
    return "\n".join([f"{'ticker':8} {'severity':8} {'as of':10}  why", *rows])


def history_table(history: tuple[CheckedSession, ...]) -> str:
    """Session by session what the check said, with a bar for the largest distance."""
    rows = [
        f"{row.session}  {row.severity:8}  {row.strain:6.2f}  "
        f"{'#' * min(40, round(20 * row.strain)):40}{'  new alarm' if row.raised else ''}".rstrip()
        for row in history
    ]
    head = f"{'session':10}  {'severity':8}  {'strain':>6}  (1 is the threshold)"
    return "\n".join([head, *rows])


def _standing(verdict: DriftVerdict) -> str:
    if verdict.episode is None:
        return ""
    return f", raised on {verdict.episode}" + (" (told before)" if verdict.cooled_down else "")


def _words(feature: str) -> str:
    return ALL[feature].words if feature in ALL else feature
