"""Work that another process does meanwhile: asked for again every few seconds, with progress."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from contracts import ForecastingError

EVERY = 3.0  # seconds
TRIES = 10


def waits(name: str, done: Callable[[], bool], doing: str) -> bool:
    """Draw the progress of something that `done` will tell; the page is drawn anew once it is.

    Args:
        name: of what is waited for, unique on the page.
        done: asks whether it is there; a failure counts as not yet.
        doing: what is being done, in words.

    Returns:
        False when it was asked for TRIES times: whoever looks should be told something else.
    """
    tries = f"tries-{name}"
    if st.session_state.setdefault(tries, 0) >= TRIES:
        return False
    _poll(tries, done, doing)
    return True


def stop_waiting(name: str) -> None:
    """The next wait for it starts from the beginning."""
    st.session_state.pop(f"tries-{name}", None)


@st.fragment(run_every=EVERY)
def _poll(tries: str, done: Callable[[], bool], doing: str) -> None:
    made = st.session_state.get(tries, 0) + 1
    st.session_state[tries] = made
    st.progress(made / TRIES, text=f"{doing} (looked {made} of {TRIES} times)")
    if made >= TRIES or _is_there(done):
        st.rerun()


def _is_there(done: Callable[[], bool]) -> bool:
    try:
        return done()
    except ForecastingError:
        return False
