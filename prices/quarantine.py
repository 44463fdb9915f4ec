"""Why a feed's newer bars were refused, kept beside the good bars that stay in their place.

A note names the very bytes it was written about, so that whatever replaces them (a good fetch, an
imported file) voids it, at whatever point a writer is killed. Knows no source and no clock.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime
from pathlib import Path

from prices.cache import Shelf, Stored
from prices.formats import sha256_of

log = logging.getLogger(__name__)


def quarantine(shelf: Shelf, ticker: str, stored: Stored, reason: str, at: datetime) -> None:
    """Note that newer bars than `stored` were refused; the caller holds the ticker's lock.

    A folder that cannot be written leaves no note: the bars are stale and the log says why.
    """
    path = _path(shelf, ticker)
    note = {"sha256": sha256_of(stored.data), "reason": reason, "at": at.isoformat()}
    draft = path.with_suffix(".tmp")
    try:
        draft.write_text(json.dumps(note, indent=2) + "\n", "utf-8")
        draft.replace(path)
    except OSError as error:
        log.warning("quarantine_not_noted path=%s reason=%r", path, str(error))


def quarantined(shelf: Shelf, ticker: str, stored: Stored) -> str | None:
    """Why bars newer than exactly these were refused, or None. Waits for nobody."""
    try:
        note = json.loads(_path(shelf, ticker).read_bytes())
        return str(note["reason"]) if note["sha256"] == sha256_of(stored.data) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def release(shelf: Shelf, ticker: str) -> None:
    """Forget what was noted; the caller holds the ticker's lock."""
    _path(shelf, ticker).unlink(missing_ok=True)


def _path(shelf: Shelf, ticker: str) -> Path:
    return shelf.csv_path(ticker).with_suffix(".quarantine.json")
