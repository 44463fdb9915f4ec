"""The page around the tabs: asks the forecast service, draws the answer, computes nothing.

Only the open tab is made. Knows no model, no file and no database.
"""

from __future__ import annotations

from contextlib import suppress

import streamlit as st

from charts.fan import rehearse
from config import Settings, get_settings
from contracts import BadSettings, ForecastingError
from views import compare, drift, info, predictions, runs, scores
from views.look import STYLE
from views.service import connect, forget_forecasts, load_tickers
from views.trouble import show_trouble
from views.wish import Wish, ask

# inline, since Streamlit fetches named icons of the tab from the internet
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="M1 13 6 7l3 3 6-8" '
    'fill="none" stroke="#0072B2" stroke-width="2"/></svg>'
)
TABS = {
    "Predictions": predictions.show,
    "Compare": compare.show,
    "Scores": scores.show,
    "MLflow runs": runs.show,
    "Drift": drift.show,
    "Info": info.show,
}
DISCLAIMER = "A research tool, not investment advice. Prices are daily mid-prices, (high+low)/2."


def draw() -> None:
    """The page, top to bottom."""
    # with an entry of its own the menu appears, and in it the choice of a light or dark theme
    st.set_page_config("Stock forecasts", ICON, layout="wide", menu_items={"About": DISCLAIMER})
    st.html(STYLE)
    st.title("Stock price forecasts")
    try:
        settings = get_settings()
        wish = ask_for(settings)
    except ForecastingError as error:
        show_trouble(error, "page")
        st.stop()
    show_tabs(wish)
    links = f"[Service]({wish.public_url}/docs) · [MLflow]({wish.mlflow_url})"
    st.caption(f"{DISCLAIMER} {links}")


def ask_for(settings: Settings) -> Wish:
    """What the visitor wants to see, among the tickers the service has."""
    tickers = load_tickers(settings.api_url)
    if not tickers:
        st.info("The service has no ticker yet; run: python train.py AAPL")
        st.stop()
    wish, again = ask(settings, tickers)
    if again:
        forget_forecasts()
    return wish


def show_tabs(wish: Wish) -> None:
    """All tabs by name, and what is in the open one."""
    tabs = st.tabs(list(TABS), key="tab", bind="query-params")
    for tab, show in zip(tabs, TABS.values(), strict=True):
        if tab.open:
            with tab:
                show(wish)


def load() -> None:
    """Have in memory what the first visitor would wait for; what is wrong is told to visitors."""
    rehearse()
    with suppress(BadSettings):
        connect(get_settings().api_url)
