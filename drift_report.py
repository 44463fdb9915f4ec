"""The only door to Evidently: two samples as one HTML page, with our thresholds on top.

Evidently takes seconds to import and is therefore imported where it is used. Knows no ticker, no
prices and not how a threshold comes about.
"""

from __future__ import annotations

import html
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from contracts import FeatureDrift
from watching.measures import ALL
from watching.replays import METHOD

log = logging.getLogger(__name__)

OUTCOME = ["actual", "prediction"]

Frames = tuple[pd.DataFrame, pd.DataFrame]


def write_report(samples: Frames, drift: Sequence[FeatureDrift], worth: str, path: Path) -> Path:
    """Let Evidently draw both samples with our method and thresholds; our rows stand on top.

    Args:
        samples: reference and current, the same numeric columns. Where there is an `actual`, it
            and `prediction` are judged as a regression, every other column as an input. A column
            may be NaN in rows that are not its own.
        drift: the rows to show, with the threshold of every input column.
        worth: what an alarm is worth: the false-alarm rate, in a sentence.
        path: the HTML file, replaced in one step.
    """
    reference, current = samples
    outcome = OUTCOME if OUTCOME[0] in reference else []
    limits = {
        row.feature: row.threshold
        for row in drift
        if row.feature in reference and row.feature not in outcome and row.method == METHOD
    }
    with quiet_evidently():
        page: str = run_evidently(reference, current, limits).get_html_str(as_iframe=False)
    page = page.replace("<body>", f"<body>{_as_html(drift, samples, worth)}", 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_text(page, "utf-8")
    draft.replace(path)
    log.info("report=%s rows=%d", path.name, len(current))
    return path


def run_evidently(reference: pd.DataFrame, current: pd.DataFrame, limits: dict[str, float]) -> Any:
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
def quiet_evidently() -> Iterator[None]:
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


def _as_html(drift: Sequence[FeatureDrift], samples: Frames, worth: str) -> str:
    reference, current = samples
    rows = "".join(
        f"<tr><td>{html.escape(words_of(row.feature))}</td><td>{row.distance:.3f}</td>"
        f"<td>{row.threshold:.3f}</td><td>{_count(reference, row.feature)}</td>"
        f"<td>{_count(current, row.feature)}</td>"
        f"<td>{html.escape(row.reason) or ('moved' if row.drifted else 'as before')}</td></tr>"
        for row in drift
    )
    return (
        '<section style="font-family:sans-serif;margin:24px">'
        f"<p>{len(current)} recent rows against {len(reference)} reference rows. "
        f"{html.escape(worth)}</p>"
        '<table cellpadding="6"><tr><th align="left">what</th><th>distance</th><th>threshold</th>'
        "<th>reference rows</th><th>recent rows</th>"
        f'<th align="left">verdict</th></tr>{rows}</table></section>'
    )


def _count(rows: pd.DataFrame, name: str) -> int:
    return int(rows[name].notna().sum()) if name in rows else len(rows)


def words_of(feature: str) -> str:
    """A feature as people call it; one that we do not know keeps its name."""
    return ALL[feature].words if feature in ALL else feature
