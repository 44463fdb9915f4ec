"""What the page asks the service, each answer kept for a minute; a failure is never kept."""

from __future__ import annotations

import streamlit as st

from api_client import ForecastClient
from config import get_settings
from contracts import Event
from schemas import (
    CheckAskedOut,
    CompareOut,
    CorrelationsOut,
    DriftHistoryOut,
    DriftOut,
    DriftsOut,
    ForecastOut,
    InfoOut,
    ModelOut,
    PerformanceOut,
    PricesOut,
    ProbabilityOut,
    RunHistoryOut,
    RunsOut,
    ScoresOut,
)

FRESH = 60  # seconds an answer is kept


@st.cache_resource(show_spinner=False)
def connect(base_url: str) -> ForecastClient:
    """One client, and so one pool of connections, for all visitors; it shows the page's own key."""
    key = get_settings().api_key
    return ForecastClient(base_url, key=key.get_secret_value() if key else "")


@st.cache_data(ttl=FRESH, show_spinner=False)
def load_tickers(base_url: str) -> list[str]:
    """Tickers one can ask for without waiting."""
    return connect(base_url).tickers()


@st.cache_data(ttl=FRESH, show_spinner="Forecasting")
def load_forecast(base_url: str, ticker: str, steps: int, smoothing: bool) -> ForecastOut:
    """The forecast of one ticker."""
    return connect(base_url).forecast(ticker, steps, smoothing)


@st.cache_data(ttl=FRESH, show_spinner=False)
def load_probability(
    base_url: str, ticker: str, steps: int, event: Event, level: float
) -> ProbabilityOut:
    """How likely an event at a price is."""
    return connect(base_url).probability(ticker, steps, event, level)


@st.cache_data(ttl=FRESH, show_spinner=False)
def load_prices(base_url: str, ticker: str, last: int) -> PricesOut:
    """The last bars of one ticker."""
    return connect(base_url).prices(ticker, last)


@st.cache_data(ttl=FRESH, show_spinner="Comparing")
def load_compare(base_url: str, tickers: tuple[str, ...], steps: int, last: int) -> CompareOut:
    """Several tickers' past and forecasts, each first mid-price set to 100."""
    return connect(base_url).compare(tickers, steps, last, 100)


@st.cache_data(ttl=FRESH, show_spinner=False)
def load_correlations(base_url: str, tickers: tuple[str, ...], last: int) -> CorrelationsOut:
    """How the daily returns of several tickers went together."""
    return connect(base_url).correlations(tickers, last)


@st.cache_data(ttl=FRESH, show_spinner="Reading the scores")
def load_scores(base_url: str, ticker: str) -> ScoresOut:
    """The walk-forward table of one ticker's model."""
    return connect(base_url).scores(ticker)


@st.cache_data(ttl=FRESH, show_spinner="Asking MLflow")
def load_runs(base_url: str, ticker: str, recipe: str | None) -> RunsOut:
    """The newest training runs of one ticker."""
    return connect(base_url).runs(ticker, recipe)


@st.cache_data(ttl=FRESH, show_spinner="Reading the curves")
def load_run_history(base_url: str, ticker: str, run_id: str) -> RunHistoryOut:
    """The training curves of one run."""
    return connect(base_url).run_history(ticker, run_id)


@st.cache_data(ttl=FRESH, show_spinner=False)
def load_info(base_url: str, limit: int, offset: int) -> InfoOut:
    """Settings in use, a page of the tickers with their data, what answers."""
    return connect(base_url).info(limit, offset)


@st.cache_data(ttl=FRESH, show_spinner=False)
def load_model(base_url: str, ticker: str) -> ModelOut:
    """The published model of one ticker."""
    return connect(base_url).model(ticker)


@st.cache_data(ttl=FRESH, show_spinner="Reading the latest check")
def load_drift(base_url: str, ticker: str) -> DriftOut:
    """The latest drift check of one ticker."""
    return connect(base_url).drift(ticker)


@st.cache_data(ttl=FRESH, show_spinner=False)
def load_drift_history(base_url: str, ticker: str) -> DriftHistoryOut:
    """Past drift checks of one ticker."""
    return connect(base_url).drift_history(ticker)


@st.cache_data(ttl=FRESH, show_spinner=False)
def load_drifts(base_url: str, limit: int, offset: int) -> DriftsOut:
    """The newest drift check of every ticker, a page of them."""
    return connect(base_url).drifts(limit, offset)


@st.cache_data(ttl=FRESH, show_spinner="Fetching the report", max_entries=8)
def load_report(base_url: str, name: str) -> bytes:
    """One page of a drift check, as HTML."""
    return connect(base_url).report(name)


def ask_check(base_url: str, ticker: str, key: str) -> CheckAskedOut:
    """Ask the monitor for a drift check, with a key that may operate where one was typed."""
    if not key:
        return connect(base_url).ask_check(ticker)
    with ForecastClient(base_url, key=key) as operator:
        return operator.ask_check(ticker)


@st.cache_data(ttl=FRESH, show_spinner=False)
def load_performance(base_url: str, ticker: str) -> PerformanceOut:
    """How served forecasts of one ticker turned out."""
    return connect(base_url).performance(ticker)


@st.cache_data(ttl=FRESH, show_spinner=False)
def load_ready(base_url: str) -> dict[str, str | None]:
    """By configured ticker, why it cannot answer; None when it can."""
    return connect(base_url).ready()


def forget_forecasts() -> None:
    """The next look asks the service again."""
    load_forecast.clear()
    load_probability.clear()
