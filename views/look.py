"""What the page adds to Streamlit's own look: key figures that never lose a digit, a banner."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import streamlit as st

from charts.look import Palette, palette_of

# Colours come from the theme by way of currentColor, so one sheet serves light and dark.
# Captions, open tabs and sliders are paler in Streamlit's own look than WCAG's 4.5 to 1. Where the
# keyboard is, is cut off on its tabs and not drawn on its sliders; a copy button cannot be reached.
STYLE = """<style>
dl.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 9.5rem), 1fr));
  gap: 0.75rem; margin: 0; padding: 0; }
dl.figures > div { border: 1px solid color-mix(in srgb, currentColor 24%, transparent);
  border-radius: 0.5rem; padding: 0.65rem 0.85rem; margin: 0; }
dl.figures dt, dl.figures .note { font-size: 0.875rem; font-weight: 400; line-height: 1.4; }
dl.figures dd { margin: 0; padding: 0; overflow-wrap: anywhere;
  font-variant-numeric: tabular-nums; }
dl.figures .value { font-size: 1.5rem; font-weight: 600; line-height: 1.4; }
dl.figures .value small { font-size: 0.875rem; font-weight: 400; }
.sheet { max-height: 19rem; overflow: auto; border-radius: 0.5rem;
  border: 1px solid color-mix(in srgb, currentColor 24%, transparent); }
.sheet:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
.sheet table { width: 100%; border-collapse: separate; border-spacing: 0; font-size: 0.875rem;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.sheet th, .sheet td { padding: 0.35rem 0.75rem; text-align: right; font-weight: 400;
  border-bottom: 1px solid color-mix(in srgb, currentColor 14%, transparent); }
.sheet th:first-child { text-align: left; }
.sheet thead th { position: sticky; top: 0; background: var(--page); font-weight: 600; }
.sheet tbody tr:last-child > * { border-bottom: 0; }
.invented { background: #b00020; color: #ffffff; border-radius: 0.5rem; padding: 0.9rem 1.1rem;
  border: 3px dashed #ffffff; outline: 3px solid #b00020; margin: 3px; }
.invented strong { display: block; font-size: 1.5rem; letter-spacing: 0.06em; }
[data-testid="stCaptionContainer"] { opacity: 1; color: inherit; }
[data-testid="stCaptionContainer"] p { color: color-mix(in srgb, currentColor 82%, transparent); }
[data-testid="stTab"], [data-testid="stTab"] p, [data-testid="stSliderThumbValue"],
[data-testid="stSliderThumbValue"] p { color: inherit !important; }
[role="slider"], [data-testid="stButtonGroup"] [role="radio"] { color: inherit !important; }
[data-testid="stTab"]:focus-visible { outline: 2px solid currentColor; outline-offset: -2px; }
[data-testid="stMultiSelect"] input:focus-visible { box-shadow: inset 0 -2px currentColor; }
[data-testid="stSlider"] div:has(> div > input:focus-visible) { outline: 2px solid currentColor;
  outline-offset: 3px; }
[data-testid="stCode"]:focus-within > div, [data-testid="stCode"]:focus-within > div * {
  opacity: 1; visibility: visible; }
</style>"""

PLOT = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d"]}


class Figure(NamedTuple):
    """One key figure: what it is, how much, what it refers to."""

    label: str
    value: str
    unit: str
    note: str


def key_figures(figures: Sequence[Figure]) -> None:
    """Side by side where there is room, below one another on a phone; nothing is cut off."""
    cells = "".join(
        f'<div><dt>{escape(label)}</dt><dd class="value">{escape(value)} '
        f'<small>{escape(unit)}</small></dd><dd class="note">{escape(note)}</dd></div>'
        for label, value, unit, note in figures
    )
    st.html(f'<dl class="figures">{cells}</dl>')


def invented_banner(ticker: str) -> None:
    """Says that prices are invented, in a way that no theme softens."""
    st.html(
        f'<div class="invented" role="alert"><strong>SYNTHETIC PRICES</strong>Every price of '
        f"{escape(ticker)} here is invented for demonstration. None of it is market data.</div>"
    )


def palette() -> Palette:
    """The charts' colours on the visitor's present theme."""
    return palette_of(st.context.theme.type)
