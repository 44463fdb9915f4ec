"""What can be told of cached bars without reading one: whose words they are, whether they changed.

Knows no source, no setting and no clock.
"""

from __future__ import annotations

import os
from datetime import date

from contracts import Provenance
from prices.cache import Shelf, label_of, read_sidecar
from prices.formats import sha256_of


def described(shelf: Shelf, ticker: str) -> Provenance | None:
    """What the sidecar says of the very bytes that lie here.

    None where there are no bars, or none that it describes: `Shelf.get` tells those apart.
    """
    try:
        digest = sha256_of(shelf.csv_path(ticker).read_bytes())
    except OSError:
        return None
    sidecar = read_sidecar(shelf.sidecar_path(ticker))
    entry = sidecar if sidecar.get("sha256") == digest else sidecar.get("previous")
    if (label := label_of(digest, sidecar)) is None or not isinstance(entry, dict):
        return None
    try:
        return Provenance(
            source=label.source,
            adjustment=label.adjustment,
            fetched_at=label.fetched_at,
            first_session=date.fromisoformat(entry["first_session"]),
            last_session=date.fromisoformat(entry["last_session"]),
            rows=int(entry["rows"]),
            sha256=digest,
            findings=label.report.counts,
        )
    except (KeyError, TypeError, ValueError):
        return None


Stamp = tuple[int, int, int]


def mark(shelf: Shelf, ticker: str) -> tuple[Stamp | None, ...]:
    """Differs from what it was whenever the ticker's files have been replaced or changed."""
    stem = f"{shelf.folder}/{ticker}_{shelf.kind}"
    if (bars := _stamp(f"{stem}.csv")) is None:
        return (None,)
    return (bars, _stamp(f"{stem}.json"), _stamp(f"{stem}.quarantine.json"))


def _stamp(path: str) -> Stamp | None:
    try:
        facts = os.stat(path)  # noqa: PTH116 - a Path takes five times as long as the look
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_ino, facts.st_size
