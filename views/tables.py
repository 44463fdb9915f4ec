"""A table to read, as the browser draws it by itself.

Streamlit's own table sorts and searches, and brings 1.6 MB of script for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from views.look import palette


def plain_table(label: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Text in rows under headings that stay while one scrolls; the first column names its row."""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = "".join(_row(row) for row in rows)
    st.html(
        f'<div class="sheet" role="region" tabindex="0" aria-label="{escape(label)}">'
        f'<table style="--page: {palette().page}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(cells: Sequence[str]) -> str:
    first, *others = (escape(cell) for cell in cells)
    return f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in others)}</tr>'
