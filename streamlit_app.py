"""The dashboard: asks the forecast service, draws the answer, computes nothing.

Run by `streamlit run streamlit_app.py`. Knows no model, no file and no database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from api_client import ForecastClient, forecast_path
from config import Settings, get_settings
from contracts import Event, ForecastingError, NoDriftCheck
from forecast_chart import forecast_chart
from schemas import DriftOut, ForecastOut, ModelOut, ProbabilityOut
from wording import (
    SCORES,
    band_at,
    chance,
    csv_of,
    long_date,
    ratio,
    scores_table,
    table_of,
    verdict_sentence,
)

LEAST_STEPS, MOST_STEPS = 7, 90
FRESH = 60  # seconds an answer is kept

# inline, since Streamlit fetches named icons of the tab from the internet
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="M1 13 6 7l3 3 6-8" '
    'fill="none" stroke="#0072B2" stroke-width="2"/></svg>'
)

SOURCES = {
    "yfinance": "Yahoo Finance",
    "alphavantage": "Alpha Vantage",
    "file": "imported file",
    "synthetic": "SYNTHETIC",
}
ADJUSTMENTS = {
    "split": "Adjusted for splits",
    "split+dividend": "Adjusted for splits and dividends",
}
COLUMNS = {
    "date": "Session",
    "price": "Forecast",
    "smoothed_price": "Smoothed",
    "lower_80": "80 % from",
    "upper_80": "80 % to",
    "lower_95": "95 % from",
    "upper_95": "95 % to",
    "raw_prediction": "MinMax scale",
}
YES = {True: "yes", False: "no"}


@st.cache_resource
def connect(base_url: str) -> ForecastClient:
    """One client, and so one pool of connections, for all visitors."""
    return ForecastClient(base_url)


@st.cache_data(ttl=FRESH, show_spinner=False)
def load_tickers(base_url: str) -> list[str]:
    """A failed load raises and is therefore never kept; the same holds for those below."""
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
def load_model(base_url: str, ticker: str) -> ModelOut:
    """The published model of one ticker."""
    return connect(base_url).model(ticker)


@st.cache_data(ttl=FRESH, show_spinner=False)
def load_drift(base_url: str, ticker: str) -> DriftOut:
    """The latest drift check of one ticker."""
    return connect(base_url).drift(ticker)


def main() -> None:
    """The page, top to bottom."""
    st.set_page_config("Stock forecasts", ICON, layout="wide")
    st.title("Stock price forecasts")
    try:
        settings = get_settings()
        tickers = load_tickers(settings.api_url)
        if not tickers:
            st.info("The service has no ticker yet; run: python train.py AAPL")
            st.stop()
        ticker, steps, smoothing = ask(settings, tickers)
        forecast = load_forecast(settings.api_url, ticker, steps, smoothing)
    except ForecastingError as error:
        st.error(str(error), icon=":material/cloud_off:")
        st.stop()
    st.subheader(f"{ticker}, the next {steps} sessions")
    show_provenance(forecast)
    forecast_tab, model_tab, drift_tab = st.tabs(["Forecast", "Model & MLflow runs", "Drift"])
    with forecast_tab:
        show_forecast(forecast, settings)
        show_table(forecast)
        show_command(public_url(settings) + forecast_path(ticker, steps, smoothing))
    with model_tab:
        show_model_of(forecast, settings)
    with drift_tab:
        show_drift_of(ticker, settings)
    st.caption("A research tool, not investment advice. Prices are daily mid-prices, (high+low)/2.")


def ask(settings: Settings, tickers: Sequence[str]) -> tuple[str, int, bool]:
    """Ticker, steps and smoothing as last submitted; the address bar keeps them."""
    usual = min(max(settings.prediction_steps, LEAST_STEPS), MOST_STEPS)
    with st.sidebar, st.form("request", border=False):
        st.header("Forecast")
        ticker = st.selectbox("Ticker", tickers, key="ticker", bind="query-params")
        steps = st.slider(
            "Sessions ahead", LEAST_STEPS, MOST_STEPS, usual, key="steps", bind="query-params"
        )
        smoothing = st.checkbox(
            "Smooth (EMA)",
            value=True,
            key="smoothing",
            bind="query-params",
            help="Draw an exponential moving average of the forecast beside it.",
        )
        if st.form_submit_button("Generate forecast", type="primary", width="stretch"):
            load_forecast.clear()
            load_probability.clear()
    st.sidebar.caption(f"[Service]({public_url(settings)}/docs) · [MLflow]({settings.mlflow_url})")
    return ticker, steps, smoothing


def public_url(settings: Settings) -> str:
    """Where a visitor's browser finds the service; this page may know it by another name."""
    return (settings.public_api_url or settings.api_url).rstrip("/")


def show_provenance(forecast: ForecastOut) -> None:
    """Whose prices and which model; invented prices cannot be overlooked."""
    data, model = forecast.data, forecast.model
    if data.source == "synthetic":
        st.error(
            f"### SYNTHETIC PRICES\nEvery price of {forecast.ticker} on this page is invented for "
            "demonstration. None of it is market data."
        )
    with st.container(horizontal=True, gap="small"):
        st.badge(
            f"Prices: {SOURCES[data.source]}",
            icon=":material/database:",
            color="red" if data.source == "synthetic" else "blue",
        )
        st.badge(f"Last session {long_date(data.last_session)}", color="blue")
        if data.stale:
            age = f"Stale: {data.sessions_behind} sessions have ended since"
            st.badge(age, icon=":material/history:", color="orange")
        if data.quarantined:
            st.badge("Newer bars refused", icon=":material/gpp_maybe:", color="red")
        if forecast.cold_start:
            said = "Cold start: no model of its own yet, a network of many tickers answers"
            st.badge(said, icon=":material/ac_unit:", color="orange")
        st.badge(ADJUSTMENTS[data.adjustment], color="gray")
        st.badge(f"Model version {model.version}", icon=":material/model_training:", color="gray")
        st.badge(f"Recipe {model.recipe}", color="gray")
        st.badge(f"Trained through {long_date(model.trained_through)}", color="gray")


def show_forecast(forecast: ForecastOut, settings: Settings) -> None:
    """Key figures, the verdict in plain words, the chart."""
    unit, as_of = forecast.currency, long_date(forecast.as_of)
    soon, late = long_date(forecast.dates[0]), long_date(forecast.dates[-1])
    ahead = f"In {forecast.prediction_steps} sessions, {late}"
    mid, close = forecast.last_actual_price, forecast.last_close
    figures = [
        (f"Last mid-price, {as_of}", mid, "(high + low) / 2"),
        (f"Last close, {as_of}", close, "the price to beat"),
        (f"Next session, {soon}", forecast.prices[0], band_at(forecast, 0)),
        (ahead, forecast.prices[-1], band_at(forecast, -1)),
    ]
    for column, (label, price, note) in zip(st.columns(4), figures, strict=True):
        with column:
            figure(label, f"{price:,.2f} {unit}", note)
    verdict, likely = st.columns([3, 1])  # the chance stands below the price it belongs to
    draw = {"worse": verdict.warning, "no": verdict.info, "better": verdict.success}
    draw[forecast.skill.verdict.split()[0]](verdict_sentence(forecast.skill))
    with likely:
        show_chance(forecast, settings)
    st.plotly_chart(
        forecast_chart(forecast),
        config={"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d"]},
        alt=f"Forecast of {forecast.ticker} with its 80 and 95 per cent bands; table below",
    )


def show_chance(forecast: ForecastOut, settings: Settings) -> None:
    """How likely the last of the sessions ends above the last close; the page stands without it."""
    ticker, steps, close = forecast.ticker, forecast.prediction_steps, forecast.last_close
    try:
        likely = load_probability(settings.api_url, ticker, steps, "above", close)
    except ForecastingError as error:
        st.caption(f"The chance of being above the last close is not known: {error}")
        return
    note = f"on {long_date(likely.date)}, {likely.paths:,} paths"
    figure("Chance above last close", chance(likely.probability), note)


def figure(label: str, value: str, note: str) -> None:
    """One key figure with what it refers to below it."""
    st.metric(label, value, note, delta_color="off", delta_arrow="off", border=True)


def show_table(forecast: ForecastOut) -> None:
    """Every figure of the chart, and the same as a file."""
    heading, button = st.columns([4, 1], vertical_alignment="bottom")
    heading.subheader(f"Every session, in {forecast.currency}")
    button.download_button(
        "Download CSV",
        csv_of(forecast),
        file_name=f"{forecast.ticker}_forecast_{forecast.as_of}.csv",
        mime="text/csv",
        on_click="ignore",
        width="stretch",
    )
    rows = table_of(forecast)
    looks: dict[str, Any] = {
        name: st.column_config.NumberColumn(COLUMNS[name], format="%.2f") for name in rows[0]
    }
    looks["date"] = COLUMNS["date"]
    looks["raw_prediction"] = st.column_config.NumberColumn(
        COLUMNS["raw_prediction"], format="%.4f"
    )
    st.dataframe(rows, hide_index=True, column_config=looks, height=300)


def show_command(url: str) -> None:
    """The same answer without this page."""
    st.subheader("The same from a command line")
    st.code(f"curl '{url}'", language="bash", wrap_lines=True)


def show_model_of(forecast: ForecastOut, settings: Settings) -> None:
    """The published model: who it is, what it learnt from, how it scored."""
    try:
        model = load_model(settings.api_url, forecast.ticker)
    except ForecastingError as error:
        (st.info if forecast.cold_start else st.error)(str(error))  # none yet is no trouble there
        return
    show_card(model)
    show_scores(model.card.scores)
    st.link_button("Open all runs in MLflow", settings.mlflow_url, icon=":material/open_in_new:")
    with st.expander("Recipe, every setting"):
        st.json(dict(model.card.recipe))


def show_card(model: ModelOut) -> None:
    """What it learnt from and what it was judged on."""
    card = model.card
    run = f"MLflow run `{card.run_id}`" if card.run_id else "no MLflow run"
    st.subheader(f"{model.ticker}, version {model.version}")
    st.markdown(
        f"Trained {card.trained_at:%d %b %Y %H:%M} UTC on {card.train.rows:,} sessions from "
        f"{long_date(card.train.first)} to {long_date(card.train.last)}; judged on "
        f"{card.test.rows:,} later sessions, {long_date(card.test.first)} to "
        f"{long_date(card.test.last)}. Bundle `{model.bundle}`, {run}."
    )
    for note in card.notes:
        st.caption(note)


def show_scores(scores: Mapping[str, Mapping[str, float | None]]) -> None:
    """The model beside every baseline."""
    st.subheader("Scores, one session ahead")
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
        name: st.column_config.NumberColumn(
            SCORES.get(name, name), format="percent" if "direction" in name else "%.4f"
        )
        for name in names
    }


def show_drift_of(ticker: str, settings: Settings) -> None:
    """Whether today's prices still look like those the model learnt from."""
    try:
        verdict = load_drift(settings.api_url, ticker)
    except NoDriftCheck as error:
        st.info(str(error), icon=":material/schedule:")
        return
    except ForecastingError as error:
        st.error(str(error))
        return
    (st.warning if verdict.alarm else st.success)(verdict.summary)
    st.dataframe(
        [row.model_dump() | {"drifted": YES[row.drifted]} for row in verdict.features],
        hide_index=True,
        placeholder="–",
        column_config={
            "feature": "Daily feature",
            "method": "Method",
            "distance": st.column_config.NumberColumn("Distance", format="%.3f"),
            "threshold": st.column_config.NumberColumn("Alarm at", format="%.3f"),
            "drifted": "Drifted",
        },
    )
    st.caption(
        f"Checked {verdict.checked_at:%d %b %Y %H:%M} UTC, model version {verdict.model_version}: "
        f"{verdict.current_rows} sessions through {long_date(verdict.as_of)} against "
        f"{verdict.reference_rows} at training. Error relative to repeating the last close: "
        f"{ratio(verdict.rmse_ratio_current)} now, {ratio(verdict.rmse_ratio_reference)} then."
    )


if __name__ == "__main__":
    main()
