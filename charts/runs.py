"""Runs side by side: one line per run through everything in which they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from charts.look import Palette
from schemas import RunOut

# what tells runs apart first; whatever else differs follows
FIRST = (
    *("rmse_ratio", "crps_ratio", "direction_accuracy", "epochs", "learning_rate", "batch_size"),
    *("dropout_rate", "seed"),
)
MOST = 7
LABELS = {
    "rmse_ratio": "RMSE / last close",
    "crps_ratio": "CRPS / last close",
    "direction_accuracy": "Right direction",
}


def parallel_chart(runs: Sequence[RunOut], palette: Palette) -> go.Figure | None:
    """Parallel coordinates of numeric settings and scores; None where fewer than two differ."""
    rows = [numbers_of(run) for run in runs]
    names = differing(rows)
    if len(names) < 2:
        return None
    told = [row for row in rows if all(name in row for name in names)]
    drawing = go.Figure(
        go.Parcoords(
            dimensions=[
                {
                    "label": label_of(name),
                    "values": [row[name] for row in told],
                    "tickformat": ".3~g",
                }
                for name in names
            ],
            line={
                "color": [row[names[0]] for row in told],
                "colorscale": [[0, palette.forecast], [1, palette.smoothed]],
            },
            labelangle=-35,  # or they lie over each other on a phone
            labelfont={"color": palette.ink, "size": 12},
            tickfont={"color": palette.ink, "size": 10},
            rangefont={"color": palette.ink, "size": 10},
        )
    )
    return drawing.update_layout(height=420, margin={"l": 40, "r": 64, "t": 120, "b": 24})


def label_of(name: str) -> str:
    """A setting or score in words."""
    return LABELS.get(name, name.replace("_", " ").capitalize())


def numbers_of(run: RunOut) -> dict[str, float]:
    """Every setting and score of a run that is a number."""
    found = {name: value for name, value in run.metrics.items() if value is not None}
    for name, text in run.parameters.items():
        try:
            found.setdefault(name, float(text))
        except ValueError:
            continue
    return found


def differing(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Names that most rows have and in which they differ, the telling ones first."""
    often = len(rows) / 2
    shared = {name for row in rows for name in row if sum(name in r for r in rows) > often}
    differ = {name for name in shared if len({row[name] for row in rows if name in row}) > 1}
    ordered = [name for name in FIRST if name in differ]
    return [*ordered, *sorted(differ - set(FIRST))][:MOST]
