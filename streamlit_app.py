"""The dashboard's door: `streamlit run streamlit_app.py`. The page itself is `views.page`.

A visit runs this file. The server imports it too, as it starts, and so has everything in memory
before it answers the first visitor.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st


def main() -> None:
    """What one visitor sees."""
    from views.page import draw  # late, as in `ready`

    draw()


@asynccontextmanager
async def ready(_: st.App) -> AsyncIterator[None]:
    """Load what the page needs, with the server running already: the page's caches ask for it."""
    from views.page import load

    load()
    yield


if __name__ == "__main__":
    main()
else:
    app = st.App(__file__, lifespan=ready)
