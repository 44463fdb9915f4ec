"""The forecast of one ticker: whose prices, what is expected, how good that is, and the file."""

from __future__ import annotations

import time

import streamlit as st

from api_client import ServiceProblem, forecast_path
from charts.fan import fan_chart
from contracts import UnknownTicker
from schemas import ForecastOut, PricesOut
from views.look import PLOT, Figure, invented_banner, key_figures, palette
from views.service import load_forecast, load_prices, load_probability
from views.tables import plain_table
from views.trouble import panel, plain
from views.waiting import stop_waiting, waits
from views.wish import Wish
from wording import (
    Badge,
    age_of,
    band_at,
    chance,
    csv_of,
    long_date,
    provenance_badges,
    table_of,
    verdict_sentence,
)

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
HEAD_START = 0.5  # seconds
SPANS = (30, 60, 120, 250)
KINDS = ("Candles", "Line")


def show(wish: Wish) -> None:
    """The tab, top to bottom; nothing of it stands without a forecast."""
    with panel("forecast"):
        forecast = forecast_or_wait(wish)
        if forecast is None:
            return
        st.header(f"{wish.ticker}, the next {wish.steps} sessions")
        show_provenance(forecast)
        show_figures(forecast, wish)
        show_verdict(forecast)
        let_it_be_drawn()
        show_chart(forecast, wish)
        show_table(forecast)
        show_command(wish)


def let_it_be_drawn() -> None:
    """Once a visit, what stands above reaches the screen before the browser is given a chart.

    Plotly's bundle, once it has come, holds up for half a second whatever was not drawn until then.
    """
    if not st.session_state.get("drawn_once"):
        st.session_state["drawn_once"] = True
        time.sleep(HEAD_START)


def forecast_or_wait(wish: Wish) -> ForecastOut | None:
    """The forecast; None while the prices of a symbol nobody asked for before are fetched.

    Raises:
        ForecastingError: there is none, and none is on its way.
    """

    def load() -> ForecastOut:
        return load_forecast(wish.api_url, wish.ticker, wish.steps, wish.smoothing)

    waiting = f"prices-{wish.ticker}"
    try:
        forecast = load()
    except ServiceProblem as error:
        if error.kind != UnknownTicker.code:
            raise
        st.header(wish.ticker)
        doing = f"{wish.ticker} is new here; if the symbol exists, its prices are being fetched"
        if not waits(waiting, lambda: bool(load()), doing):
            raise
        return None
    stop_waiting(waiting)
    return forecast


def show_provenance(forecast: ForecastOut) -> None:
    """Whose prices and which model; invented prices cannot be overlooked."""
    if forecast.data.source == "synthetic":
        invented_banner(forecast.ticker)
    model = forecast.model
    trained = f"Model version {model.version}, trained {age_of(model.trained_at)}"
    badges = [
        *provenance_badges(forecast),
        Badge(trained, "gray", ":material/model_training:"),
        Badge(f"Recipe {model.recipe}", "gray"),
        Badge(f"Trained through {long_date(model.trained_through)}", "gray"),
    ]
    with st.container(horizontal=True, gap="small"):
        for said, colour, icon in badges:
            st.badge(said, icon=icon, color=colour)
    for warning in forecast.warnings:
        if warning.code != "synthetic_prices":  # the banner says that louder
            st.warning(plain(f"Do not rely on this forecast: {warning.detail}"))


def show_figures(forecast: ForecastOut, wish: Wish) -> None:
    """Last price, next session, horizon and the chance of ending above the last close."""
    unit, as_of = forecast.currency, long_date(forecast.as_of)
    soon, late = long_date(forecast.dates[0]), long_date(forecast.dates[-1])
    mid, close = f"{forecast.last_actual_price:,.2f}", f"{forecast.last_close:,.2f}"
    first, last = f"{forecast.prices[0]:,.2f}", f"{forecast.prices[-1]:,.2f}"
    ahead = f"In {forecast.prediction_steps} sessions, {late}"
    figures = [
        Figure(f"Last close, {as_of}", close, unit, "the price to beat"),
        Figure(f"Last mid-price, {as_of}", mid, unit, "(high + low) / 2"),
        Figure(f"Next session, {soon}", first, unit, band_at(forecast, 0)),
        Figure(ahead, last, unit, band_at(forecast, -1)),
    ]
    with panel("chance"):
        likely = load_probability(
            wish.api_url, wish.ticker, wish.steps, "above", forecast.last_close
        )
        note = f"on {long_date(likely.date)}, {likely.paths:,} paths"
        figures.append(Figure("Chance above last close", chance(likely.probability), "", note))
    key_figures(figures)


def show_verdict(forecast: ForecastOut) -> None:
    """What the forecast is worth, in plain words."""
    draw = {"worse": st.warning, "no": st.info, "better": st.success}
    draw[forecast.skill.verdict.split()[0]](verdict_sentence(forecast.skill))


def show_chart(forecast: ForecastOut, wish: Wish) -> None:
    """The last sessions and the fan over session dates."""
    with st.container(horizontal=True, gap="medium"):
        last = st.segmented_control(
            "Past sessions", SPANS, default=60, required=True, key="last", bind="query-params"
        )
        kind = st.segmented_control(
            "Drawn as", KINDS, default="Candles", required=True, key="drawn", bind="query-params"
        )
    past: PricesOut | None = None
    with panel("past"):
        past = load_prices(wish.api_url, wish.ticker, last)
    st.plotly_chart(
        fan_chart(forecast, palette(), past, kind == "Candles"),
        config=PLOT,
        key="fan",
        alt=f"Forecast of {forecast.ticker} with its 80 and 95 per cent bands; table below",
    )
    drawn = "hollow candles rise, filled ones fall. " if kind == "Candles" else ""
    st.caption(
        f"Prices in {forecast.currency} by exchange session; {drawn}The forecast is of the "
        "mid-price, (high + low) / 2. 80 and 95 % of outcomes are meant to fall inside the bands. "
        "The dotted line repeats the last close."
    )


def show_table(forecast: ForecastOut) -> None:
    """Every figure of the chart, and the same as a file."""
    name = f"{forecast.ticker}_forecast_{forecast.as_of}"
    rows = table_of(forecast)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.subheader(f"Every session, in {forecast.currency}", width="stretch")
        with st.container(horizontal=True, width="content"):  # together, on a phone too
            download("Download CSV", csv_of(forecast), f"{name}.csv", "text/csv")
            answer = forecast.model_dump_json(indent=2)
            download("Download JSON", answer, f"{name}.json", "application/json")
    names = list(rows[0])
    plain_table(
        f"Every session of the forecast of {forecast.ticker}",
        [COLUMNS[name] for name in names],
        [[cell(name, row[name]) for name in names] for row in rows],
    )


def cell(name: str, value: str | float) -> str:
    """A session's date, or a price to the cent; the network's own scale is finer."""
    if isinstance(value, str):
        return value
    return f"{value:.4f}" if name == "raw_prediction" else f"{value:,.2f}"


def download(label: str, text: str, name: str, mime: str) -> None:
    """A button that hands over a file and changes nothing on the page."""
    st.download_button(
        label, text, file_name=name, mime=mime, on_click="ignore", icon=":material/download:"
    )


def show_command(wish: Wish) -> None:
    """The same answer without this page, once somebody wants to see it."""
    # Streamlit's script for blocks of code is the largest but the chart's
    more = st.expander("The same from a command line", key="command", bind="query-params")
    if not more.open:
        return
    url = wish.public_url + forecast_path(wish.ticker, wish.steps, wish.smoothing)
    key = '-H "Authorization: Bearer $STOCK_API_KEY" ' if wish.needs_key else ""
    more.code(f"curl {key}'{url}'", language=None, wrap_lines=True)
