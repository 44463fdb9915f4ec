"""A failure in one panel: a sentence, a way on, and the rest of the page as it was."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import streamlit as st

from api_client import ServiceProblem
from contracts import BadSettings, ForecastingError, InvalidTicker

CALM = {"no_champion", "no_drift_check", "no_scores"}  # nothing is broken, only not there yet

# By status, what whoever looks can do; the sentence before it is the service's own.
WAYS_ON = {
    401: "This page's own key is missing or unknown: set STOCK_API_KEY where the page runs.",
    404: "Choose another ticker above.",
    409: "Choose another ticker above, or train this one again.",
    422: "Change the request above.",
    500: "It is a bug of the service; another view may still work.",
}


class Trouble(NamedTuple):
    """What is said of a failure."""

    sentence: str
    calm: bool  # information rather than an error
    again: bool  # trying again may help


def trouble_of(error: ForecastingError) -> Trouble:
    """The sentence for one failure, with what to do next."""
    if isinstance(error, ServiceProblem):
        return _refused(error)
    hopeless = isinstance(error, BadSettings | InvalidTicker)
    return Trouble(str(error), error.code in CALM, not hopeless and error.code not in CALM)


def _refused(error: ServiceProblem) -> Trouble:
    calm = error.kind in CALM
    status = error.problem.status
    if status in (429, 503):
        wait = f" in {error.retry_after} s" if error.retry_after else " in a moment"
        busy = "The service was asked too often. " if status == 429 else ""
        way_on = "" if calm else f"Try again{wait}."
        return Trouble(_joined(f"{busy}{error}", way_on), calm, not calm)
    way_on = "" if calm else WAYS_ON.get(status, "")
    return Trouble(_joined(str(error), way_on), calm, again=not calm and status >= 500)


def _joined(said: str, more: str) -> str:
    """Two sentences; those of problem documents often end without a full stop."""
    return f"{said.rstrip('.')}. {more}" if more else said


def plain(text: str) -> str:
    """The text without meaning for Markdown: what a link made visitors type is not drawn."""
    return re.sub(r"([\\`*\[\]<$])", r"\\\1", text)


@contextmanager
def panel(name: str) -> Iterator[None]:
    """What can be explained and fails inside is said in its place; what comes after still runs."""
    try:
        yield
    except ForecastingError as error:
        show_trouble(error, name)


def show_trouble(error: ForecastingError, name: str) -> None:
    """The sentence, and a button where trying again may help; `name` is unique on the page."""
    said = trouble_of(error)
    sentence = plain(said.sentence)
    if said.calm:
        st.info(sentence, icon=":material/schedule:")
        return
    st.error(sentence, icon=":material/cloud_off:")
    if said.again:
        st.button("Try again", key=f"again-{name}", icon=":material/refresh:")
