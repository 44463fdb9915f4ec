"""Long tables a page at a time: the service is asked for the rows that are shown, and no more."""

from __future__ import annotations

import streamlit as st

ROWS = 50


def offset_of(key: str) -> int:
    """How many rows come before the page that was chosen under this key."""
    chosen: int = st.session_state.get(key, 1)
    return ROWS * (chosen - 1)


def show_pager(key: str, shown: int, total: int) -> None:
    """Which rows these are, and a choice of page where there are more than one."""
    if total <= ROWS:
        return
    pages, first = -(-total // ROWS), offset_of(key) + 1
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.number_input(f"Page, of {pages}", 1, pages, key=key, width=160)
        st.caption(f"Rows {first} to {first + shown - 1} of {total:,}")
