"""Training runs of one ticker, as the MLflow server tells them through the service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from charts.runs import label_of, parallel_chart
from charts.skill import curves_chart
from schemas import RunOut, RunsOut
from views.look import PLOT, palette
from views.service import load_run_history, load_runs
from views.trouble import panel
from views.wish import Wish
from wording import when

EVERY = "Every recipe"
SCORES = {  # as the runs name them; of the model and of repeating the last close
    "rmse_ratio": ("RMSE / last close", "%.3f"),
    "crps_ratio": ("CRPS / last close", "%.3f"),
    "lstm_rmse": ("RMSE", "%.3f"),
    "last_close_rmse": ("RMSE of last close", "%.3f"),
    "direction_accuracy": ("Right direction", "percent"),
    "last_close_direction_accuracy": ("Direction of last close", "percent"),
}


def show(wish: Wish) -> None:
    """The tab, top to bottom."""
    st.header(f"{wish.ticker}, training runs")
    with panel("runs"):
        found = load_runs(wish.api_url, wish.ticker, None)
        if not found.runs:
            st.info(f"No run of {wish.ticker} is recorded yet; run: python train.py {wish.ticker}")
            return
        recipe = choose_recipe(found)
        if recipe:
            found = load_runs(wish.api_url, wish.ticker, recipe)
        show_table(found)
        show_side_by_side(found.runs)
        show_curves(found.runs, wish)


def choose_recipe(found: RunsOut) -> str | None:
    """One recipe's runs or all of them."""
    recipes = sorted({run.recipe for run in found.runs if run.recipe})
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        chosen = st.selectbox(
            "Recipe", [EVERY, *recipes], key="recipe", bind="query-params", width=230
        )
        if found.url:
            st.link_button("Open all in MLflow", found.url, icon=":material/open_in_new:")
    return None if chosen == EVERY else chosen


def show_table(found: RunsOut) -> None:
    """A row per run; a click on a heading sorts."""
    number = st.column_config.NumberColumn
    st.dataframe(
        [row_of(run) for run in found.runs],
        hide_index=True,
        placeholder="–",
        column_config={
            "Started": st.column_config.DatetimeColumn("Started (UTC)", format="D MMM YYYY HH:mm"),
            "Took": number("Took, s", format="%.0f"),
            **{name: number(said, format=form) for name, (said, form) in SCORES.items()},
            "MLflow": st.column_config.LinkColumn("In MLflow", display_text="open"),
        },
    )
    more = " Older runs are in MLflow." if found.next_before else ""
    st.caption(
        f"Best: the lowest {label_of(found.best_by)} of all finished runs. Champion: the run whose "
        "model is served now. Ratios are against repeating the last close, below 1 is better."
        f"{more}"
    )


def row_of(run: RunOut) -> dict[str, Any]:
    """One run in words and figures."""
    marks = [said for said, yes in (("champion", run.champion), ("best", run.best)) if yes]
    return {
        "Mark": ", ".join(marks),
        "Run": run.name,
        "Recipe": run.recipe,
        "Version": run.version,
        "Status": run.status.lower(),
        "Started": run.started_at,
        "Took": run.seconds,
        **{name: run.metrics.get(name) for name in SCORES},
        "MLflow": run.url,
    }


def show_side_by_side(runs: Sequence[RunOut]) -> None:
    """What the runs differ in, where they differ in anything."""
    st.subheader("What the runs differ in")
    drawing = parallel_chart(runs, palette())
    if drawing is None:
        st.info("These runs differ in fewer than two numbers; one more run would show something.")
        return
    st.plotly_chart(
        drawing, config=PLOT, key="parallel", alt="Settings and scores of each run; table above"
    )
    st.caption(
        "A line per run through its settings and scores, coloured by the first axis; drag along an "
        "axis to pick some."
    )


def show_curves(runs: Sequence[RunOut], wish: Wish) -> None:
    """Training and validation loss of one run."""
    st.subheader("Training curves")
    by_id = {run.run_id: run for run in runs}
    first = next((n for n, run in enumerate(runs) if run.champion), 0)
    chosen = st.selectbox(
        "Run",
        list(by_id),
        first,
        format_func=lambda run_id: f"{by_id[run_id].name}, {when(by_id[run_id].started_at)}",
        key="run",
        width=420,
    )
    with panel("curves"):
        history = load_run_history(wish.api_url, wish.ticker, chosen)
        if not history.curves:
            st.info("This run recorded no curve.")
            return
        st.plotly_chart(
            curves_chart(history, palette()), config=PLOT, key="curves", alt="Loss by epoch"
        )
