"""Whether today's prices still look like those the models learnt from, and a check on demand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import streamlit as st

from charts.watching import strain_chart
from schemas import DriftOut
from views.look import PLOT, palette
from views.paging import ROWS, offset_of, show_pager
from views.service import (
    ask_check,
    connect,
    load_drift,
    load_drift_history,
    load_drifts,
    load_report,
)
from views.trouble import panel, plain
from views.waiting import stop_waiting, waits
from views.wish import Wish
from wording import long_date, ratio, when

YES = {True: "yes", False: "no"}
DRAW = {"none": st.success, "watch": st.info, "alarm": st.warning, "critical": st.error}
FEATURES = {  # in the words of the verdict
    "return": "daily returns",
    "range": "daily ranges",
    "gap": "overnight moves",
    "target": "moves from the last close",
    "prediction": "predicted moves",
    "rmse_ratio": "error against the last close",
    "unchanged": "sessions without movement",
    "repeated": "repeated bars",
    "jump": "largest move",
}
METHODS = {"wasserstein": "Wasserstein distance, in standard deviations at training"}
SEVERITIES = {"none": "no drift", "watch": "watch", "alarm": "ALARM", "critical": "CRITICAL"}
PAGE = "drift-page"
number = st.column_config.NumberColumn


def show(wish: Wish) -> None:
    """The tab, top to bottom; each part stands without the others."""
    st.header(f"{wish.ticker}, drift since training")
    with panel("ask"):
        show_button(wish)
    with panel("drift"):
        verdict = load_drift(wish.api_url, wish.ticker)
        show_verdict(verdict)
        show_features(verdict)
        show_error_then_and_now(verdict)
        show_sessions(verdict)
        show_reports(verdict, wish)
    with panel("history"):
        show_history(load_drift_history(wish.api_url, wish.ticker).checks)
    with panel("drifts"):
        show_all(wish)


def show_button(wish: Wish) -> None:
    """Ask the monitor for a check; where the service has keys, with one that may operate."""
    with st.form("check", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        key = ""
        if wish.needs_key:
            key = st.text_input("Operate key", type="password", width=320)
        asked = st.form_submit_button("Check now", icon=":material/troubleshoot:")
    waiting = f"check-{wish.ticker}"
    if asked:
        stop_waiting(waiting)
        said = ask_check(wish.api_url, wish.ticker, key)
        st.session_state[waiting] = (said.detail, checked_last(wish))
    if waiting in st.session_state:
        wait_for_check(wish, waiting)


def wait_for_check(wish: Wish, waiting: str) -> None:
    """Progress until the monitor has made the check that was asked for."""
    detail, before = st.session_state[waiting]
    if checked_last(wish) != before:
        del st.session_state[waiting]
        load_drift.clear()
        load_drift_history.clear()
        load_drifts.clear()
        st.success("The check has been made.")
    elif not waits(waiting, lambda: checked_last(wish) != before, "Waiting for the monitor"):
        del st.session_state[waiting]
        st.info(plain(f"Queued: {detail}"), icon=":material/schedule:")


def checked_last(wish: Wish) -> datetime | None:
    """When the newest check was made, asked for anew; None where there is none."""
    checks = connect(wish.api_url).drift_history(wish.ticker, 1).checks
    return checks[0].checked_at if checks else None


def show_verdict(verdict: DriftOut) -> None:
    """The finding in plain words, louder the worse it is."""
    DRAW[verdict.severity](plain(verdict.summary))
    for reason in verdict.reasons:
        st.markdown(f"- {plain(reason)}")


def show_features(verdict: DriftOut) -> None:
    """Every feature's distance beside the threshold it is held to."""
    st.dataframe(
        [
            row.model_dump()
            | {
                "feature": FEATURES.get(row.feature, row.feature),
                "method": METHODS.get(row.method, row.method),
                "drifted": YES[row.drifted],
            }
            for row in verdict.features
        ],
        hide_index=True,
        placeholder="–",
        column_order=["feature", "drifted", "distance", "threshold", "consecutive", "method"],
        column_config={
            "feature": "Daily feature",
            "method": "Method",
            "distance": number("Distance", format="%.3f"),
            "threshold": number("Threshold", format="%.3f"),
            "drifted": "Moved",
            "consecutive": "Sessions in a row",
        },
    )
    st.caption(
        "Moved: the distance between the last sessions and those at training is beyond its "
        "threshold. Sessions in a row: for how many it has been."
    )


def show_error_then_and_now(verdict: DriftOut) -> None:
    """What was compared with what, and the model's error beside the last close's."""
    rate = verdict.false_alarms_per_month
    alarms = "" if rate is None else f" Months with a false alarm where nothing drifts: {rate:.1%}."
    st.caption(
        f"Checked {when(verdict.checked_at)}, model version {verdict.model_version}: "
        f"{verdict.current_rows} sessions through {long_date(verdict.as_of)} against "
        f"{verdict.reference_rows} at training. Error relative to repeating the last close: "
        f"{ratio(verdict.rmse_ratio_current)} now, {ratio(verdict.rmse_ratio_reference)} then."
        f"{alarms}"
    )


def show_sessions(verdict: DriftOut) -> None:
    """What the check would have said at the end of each of the last sessions."""
    if not verdict.history:
        return
    st.subheader("Session by session")
    st.plotly_chart(
        strain_chart(verdict.history, palette()),
        config=PLOT,
        key="strain",
        alt="Largest distance of each session in units of its threshold",
    )
    st.caption("Above the dashed line something has moved beyond its threshold.")


def show_reports(verdict: DriftOut, wish: Wish) -> None:
    """The pages of the newest check, to look at and to take away."""
    if not verdict.reports:
        return
    st.subheader("Evidently reports")
    name = st.segmented_control(
        "Show a report", verdict.reports, key="report", format_func=lambda name: name[:-5]
    )
    if name:
        with panel("report"):
            page = load_report(wish.api_url, name)
            st.download_button(
                "Download HTML",
                page,
                name,
                "text/html",
                on_click="ignore",
                icon=":material/download:",
            )
            st.iframe(page.decode(), height=900, alt=f"Evidently report {name}")


def show_history(checks: Sequence[DriftOut]) -> None:
    """Past checks, the newest first."""
    st.subheader("Past checks")
    if not checks:
        st.info("No check of this ticker has been made yet.")
        return
    st.dataframe([row_of(check) for check in checks], hide_index=True, placeholder="–")


def row_of(check: DriftOut) -> dict[str, Any]:
    """One check in words."""
    return {
        "Ticker": check.ticker,
        "Checked": when(check.checked_at),
        "Finding": SEVERITIES[check.severity],
        "Through": check.as_of,
        "Moved": ", ".join(
            FEATURES.get(row.feature, row.feature) for row in check.features if row.drifted
        ),
        "Error / last close": ratio(check.rmse_ratio_current),
        "Model version": check.model_version,
    }


def show_all(wish: Wish) -> None:
    """The newest check of every ticker."""
    found = load_drifts(wish.api_url, ROWS, offset_of(PAGE))
    st.subheader("Every ticker")
    if found.checks:
        st.dataframe([row_of(check) for check in found.checks], hide_index=True, placeholder="–")
    show_pager(PAGE, len(found.checks), found.total)
    if found.unchecked:
        named, more = found.unchecked[:ROWS], len(found.unchecked) - ROWS
        rest = f" and {more:,} more" if more > 0 else ""
        st.caption(f"Not checked yet: {', '.join(named)}{rest}.")
