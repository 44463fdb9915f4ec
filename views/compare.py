"""Several tickers side by side: where they stand, how they move together, whose model is best."""

from __future__ import annotations

import streamlit as st

from charts.comparison import comparison_chart
from contracts import parse_ticker
from schemas import CompareOut, CorrelationsOut
from views.look import PLOT, invented_banner, palette
from views.service import load_compare, load_correlations
from views.trouble import panel, plain
from views.wish import Wish
from wording import long_date

MOST = 8
AT_FIRST = 4
SPANS = (30, 60, 120, 250)


def show(wish: Wish) -> None:
    """The tab, top to bottom."""
    st.header("Tickers side by side")
    with panel("compare"):
        tickers, last = choose(wish)
        if not tickers:
            st.info("Choose at least one ticker.")
            return
        compared = load_compare(wish.api_url, tickers, wish.steps, last)
        show_failures(compared)
        if compared.series:
            show_chart(compared)
            show_ranking(compared)
    if len(tickers) > 1:
        with panel("correlations"):
            show_correlations(load_correlations(wish.api_url, tickers, 250))


def choose(wish: Wish) -> tuple[tuple[str, ...], int]:
    """Which tickers and how far back, kept in the address bar."""
    usual = list(dict.fromkeys([wish.ticker, *wish.tickers]))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        typed = st.multiselect(
            "Tickers",
            usual,
            default=usual[:AT_FIRST],
            key="with",
            bind="query-params",
            accept_new_options=True,
            max_selections=MOST,
        )
        last = st.segmented_control(
            "Past sessions", SPANS, default=120, required=True, key="back", bind="query-params"
        )
    return tuple(dict.fromkeys(parse_ticker(item) for item in typed)), last


def show_failures(compared: CompareOut) -> None:
    """Who is missing from the picture, and why."""
    for ticker, problem in compared.errors.items():
        st.warning(plain(f"{ticker} is missing: {problem.detail}"))
    for ticker, series in compared.series.items():
        if series.data.source == "synthetic":
            invented_banner(ticker)


def show_chart(compared: CompareOut) -> None:
    """All of them from a common session on."""
    bases = [row.index for row in compared.series.values() if row.index]
    since = f"Each set to 100 on {long_date(bases[0].date)}. " if bases else ""
    st.plotly_chart(
        comparison_chart(compared, palette()),
        config=PLOT,
        key="comparison",
        alt="Past and forecast mid-prices of several tickers in one unit; ranking below",
    )
    st.caption(
        f"{since}Mid-prices by exchange session, then {compared.steps} sessions of forecast inside "
        "their 80 % bands."
    )


def show_ranking(compared: CompareOut) -> None:
    """Whose model does best against repeating its own last close."""
    st.subheader("Ranking by skill")
    ratio_of = st.column_config.NumberColumn
    st.dataframe(
        [
            row.model_dump() | {"cold_start": "yes" if row.cold_start else "no"}
            for row in compared.ranking
        ],
        hide_index=True,
        placeholder="–",
        column_order=["rank", "ticker", "verdict", "crps_ratio", "rmse_ratio"]
        + ["direction_accuracy", "cold_start"],
        column_config={
            "rank": "Rank",
            "ticker": "Ticker",
            "verdict": "One session ahead",
            "crps_ratio": ratio_of("Bands: CRPS / last close", format="%.3f"),
            "rmse_ratio": ratio_of("Point: RMSE / last close", format="%.3f"),
            "direction_accuracy": ratio_of("Right direction", format="percent"),
            "cold_start": "Cold start",
        },
    )
    st.caption("Baseline: repeating the last close of the same ticker. Ratios below 1 are better.")


def show_correlations(found: CorrelationsOut) -> None:
    """How the daily returns went together."""
    st.subheader("Correlation of daily returns")
    rows = [
        {"Ticker": ticker, **dict(zip(found.tickers, values, strict=True))}
        for ticker, values in zip(found.tickers, found.matrix, strict=True)
    ]
    looks = {name: st.column_config.NumberColumn(format="%.2f") for name in found.tickers}
    st.dataframe(rows, hide_index=True, column_config=looks, placeholder="–")
    st.caption(
        f"Pearson, {found.returns} daily log returns of closes from "
        f"{long_date(found.first_session)} to {long_date(found.last_session)}: 1 moves together, "
        "0 not at all, −1 against each other."
    )
