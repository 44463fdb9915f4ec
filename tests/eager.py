"""The service, looking at its files fifty times a second instead of twice: for tests that change
them hundreds of times. `uvicorn --app-dir tests eager:app` with the project on PYTHONPATH."""

from __future__ import annotations

import standings

standings.LOOK_SECONDS = 0.02  # before the application is made; it is read at every look

from app import app as app  # noqa: E402
