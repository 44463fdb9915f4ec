"""How good the published model of one ticker is, beside every baseline, and where it loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from charts.skill import coverage_chart, ratio_chart, reliability_chart
from schemas import ModelOut, PerformanceOut, PerformanceRowOut, ScoresOut, StepScoreOut
from views.look import PLOT, palette
from views.service import load_model, load_performance, load_scores
from views.trouble import panel
from views.wish import Wish
from wording import MODELS, SCORES, long_date, scores_table, steps_sentences

number = st.column_config.NumberColumn


def show(wish: Wish) -> None:
    """The tab, top to bottom; each part stands without the others."""
    st.header(f"{wish.ticker}, how good the model is")
    with panel("scores"):
        show_walk(load_scores(wish.api_url, wish.ticker))
    with panel("performance"):
        show_live(load_performance(wish.api_url, wish.ticker))
    with panel("model"):
        show_model(load_model(wish.api_url, wish.ticker))


def show_walk(scores: ScoresOut) -> None:
    """Every model at the same past origins, step by step."""
    say_where_it_loses(scores)
    left, right = st.columns(2)
    with left:
        st.subheader("Error by step")
        drawn(ratio_chart(scores, MODELS, palette()), "ratios", "Errors by step; table below")
        st.caption("Over repeating the last close: below the grey line is better, above is worse.")
    with right:
        st.subheader("Coverage by step")
        drawn(coverage_chart(scores, palette()), "coverage", "Coverage by step; table below")
        st.caption("Share of outcomes inside the model's bands; thin lines are what was promised.")
    show_steps(scores.scores, scores.currency)
    st.caption(
        f"{scores.origins} past origins, {long_date(scores.first_origin)} to "
        f"{long_date(scores.last_origin)}, of version {scores.version}; bands made of what was "
        "known at each. Ratios and p-values (Diebold-Mariano) are against repeating the last close."
    )
    if scores.reliability:
        st.subheader("Reliability of the quantiles")
        drawn(reliability_chart(scores, palette()), "reliability", "Promised and observed shares")
        st.caption("On the grey diagonal, outcomes fall below a quantile as often as it promises.")


def drawn(figure: Any, key: str, alt: str) -> None:
    """One chart in the page's look."""
    st.plotly_chart(figure, config=PLOT, key=key, alt=alt)


def say_where_it_loses(scores: ScoresOut) -> None:
    """The verdict on points and bands in plain words, the worst first."""
    draw = {"worse": st.warning, "no": st.info, "better": st.success}
    own = [row for row in scores.scores if row.model == "lstm"]
    for verdict, sentence in steps_sentences(own):
        draw[verdict.split()[0]](sentence)


def show_steps(rows: Sequence[StepScoreOut], currency: str) -> None:
    """The walk-forward table."""
    st.dataframe(
        [row.model_dump() | {"model": MODELS.get(row.model, row.model)} for row in rows],
        hide_index=True,
        placeholder="–",
        height=350,
        column_order=["step", "model", "rmse", "rmse_ratio", "p_value", "mae"]
        + ["direction_accuracy", "crps", "crps_ratio", "coverage_80", "coverage_95"],
        column_config={
            "step": "Sessions ahead",
            "model": "Forecast",
            "rmse": number(f"RMSE, {currency}", format="%.2f"),
            "rmse_ratio": number("RMSE / last close", format="%.3f"),
            "p_value": number("p", format="%.3f"),
            "mae": number(f"MAE, {currency}", format="%.2f"),
            "direction_accuracy": number("Right direction", format="percent"),
            "crps": number(f"CRPS, {currency}", format="%.2f"),
            "crps_ratio": number("CRPS / last close", format="%.3f"),
            "coverage_80": number("Inside 80 %", format="percent"),
            "coverage_95": number("Inside 95 %", format="percent"),
        },
    )


def show_live(found: PerformanceOut) -> None:
    """How forecasts that were really served turned out, beside repeating the last close."""
    st.subheader("Served forecasts and what came")
    waiting = f"{found.waiting:,} forecast sessions still wait for their outcome."
    if not found.rows:
        st.info(f"No served forecast has met its outcome yet. {waiting}")
        return
    unit = found.currency or ""
    st.dataframe(
        [live_row(row) for row in found.rows],
        hide_index=True,
        placeholder="–",
        column_config={
            "RMSE": number(f"RMSE, {unit}", format="%.2f"),
            "RMSE of last close": number(f"RMSE of last close, {unit}", format="%.2f"),
            "RMSE / last close": number(format="%.3f"),
            "p": number(format="%.3f"),
            "Inside 80 %": number(format="percent"),
            "Inside 95 %": number(format="percent"),
        },
    )
    through = f" Outcomes through {long_date(found.through)}." if found.through else ""
    st.caption(f"{found.promises:,} forecasts served, {found.settled:,} sessions settled.{through}")
    st.caption(f"{waiting} Both columns of errors are of the same sessions.")


def live_row(row: PerformanceRowOut) -> dict[str, Any]:
    """One model version at one step in words and figures."""
    return {
        "Model version": f"{row.version}{' (synthetic prices)' if row.synthetic else ''}",
        "Sessions ahead": "all" if row.step is None else str(row.step),
        "Settled": row.n,
        "RMSE": row.model.rmse,
        "RMSE of last close": row.last_close.rmse,
        "RMSE / last close": row.rmse_ratio,
        "p": row.p_value,
        "Inside 80 %": row.model.coverage_80,
        "Inside 95 %": row.model.coverage_95,
    }


def show_model(model: ModelOut) -> None:
    """What it learnt from, how it did on the held-out sessions, every setting."""
    show_card(model)
    show_first_step(model.card.scores)
    with st.expander("Recipe, every setting"):
        st.dataframe(
            [{"Setting": name, "Value": str(value)} for name, value in model.card.recipe.items()],
            hide_index=True,
        )


def show_card(model: ModelOut) -> None:
    """What it learnt from and what it was judged on."""
    card = model.card
    run = f"MLflow run `{card.run_id}`" if card.run_id else "no MLflow run"
    st.subheader(f"Version {model.version}, one session ahead on the held-out sessions")
    st.markdown(
        f"Trained {card.trained_at:%d %b %Y %H:%M} UTC on {card.train.rows:,} sessions from "
        f"{long_date(card.train.first)} to {long_date(card.train.last)}; judged on "
        f"{card.test.rows:,} later sessions, {long_date(card.test.first)} to "
        f"{long_date(card.test.last)}. Bundle `{model.bundle}`, {run}."
    )
    for note in card.notes:
        st.caption(note)


def show_first_step(scores: Mapping[str, Mapping[str, float | None]]) -> None:
    """The model beside every baseline."""
    looks = score_looks(scores)
    st.dataframe(scores_table(scores), hide_index=True, column_config=looks, placeholder="–")
    st.caption(
        "RMSE and MAE are in the listing currency: smaller is better. Right direction is the share "
        "of days on the right side of the last known price: larger is better. Every row is judged "
        "on the same sessions as the two that merely repeat the last price. MinMax scores are on "
        "the normalised scale; successive direction compares each forecast with the one before."
    )


def score_looks(scores: Mapping[str, Mapping[str, float | None]]) -> dict[str, Any]:
    """A readable heading per score; those we do not know keep their name."""
    names = {name for row in scores.values() for name in row}
    return {
        name: number(SCORES.get(name, name), format="percent" if "direction" in name else "%.4f")
        for name in names
    }
