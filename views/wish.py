"""What a visitor looks at: one value that every tab gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from config import Settings
from contracts import parse_ticker

LEAST_STEPS, MOST_STEPS = 7, 90


@dataclass(frozen=True, slots=True)
class Wish:
    """Ticker and horizon as the address bar has them, and where the service is."""

    api_url: str  # as this page finds the service
    public_url: str  # as a visitor's browser finds it
    mlflow_url: str
    needs_key: bool  # this page shows a key to the service; a visitor needs one of his own
    tickers: tuple[str, ...]
    ticker: str
    steps: int  # exchange sessions ahead
    smoothing: bool


def ask(settings: Settings, tickers: Sequence[str]) -> tuple[Wish, bool]:
    """Ticker, steps and smoothing, kept in the address bar, and whether Generate was clicked.

    Raises:
        InvalidTicker: what was typed is no symbol.
    """
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        typed = ask_ticker(tickers)
        steps = ask_steps(settings.prediction_steps)
        smoothing = st.checkbox(
            "Smooth (EMA)",
            value=True,
            key="smoothing",
            bind="query-params",
            help="Draws an exponential moving average of the forecast beside it.",
        )
        again = st.button("Generate forecast", type="primary", icon=":material/refresh:")
    wish = Wish(
        api_url=settings.api_url,
        public_url=(settings.public_api_url or settings.api_url).rstrip("/"),
        mlflow_url=settings.mlflow_url,
        needs_key=settings.api_key is not None,
        tickers=tuple(tickers),
        ticker=parse_ticker(typed),
        steps=steps,
        smoothing=smoothing,
    )
    return wish, again


def ask_ticker(tickers: Sequence[str]) -> str:
    """One of those there are, or whatever is typed."""
    return st.selectbox(
        "Ticker, or type any symbol",
        tickers,
        key="ticker",
        bind="query-params",
        accept_new_options=True,
        width=230,
    )


def ask_steps(usual: int) -> int:
    """How far ahead; what is configured, where nothing else was chosen."""
    return st.slider(
        "Sessions ahead",
        LEAST_STEPS,
        MOST_STEPS,
        min(max(usual, LEAST_STEPS), MOST_STEPS),
        key="steps",
        bind="query-params",
        width=320,
    )
