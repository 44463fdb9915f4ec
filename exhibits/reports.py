"""Drift reports below one folder: which there are, and the bytes of one by its name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from stat import S_ISREG
from urllib.parse import quote

from contracts import DriftVerdict, UnknownReport
from schemas import REPORT_PATTERN, ReportOut

MOST_BYTES = 32 * 1024 * 1024  # Evidently's pages have 4 MB


class ReportFolder:
    """Reads reports by name; what is a link, a folder or no report counts as absent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def listed(self, verdicts: Iterable[DriftVerdict]) -> list[ReportOut]:
        """What the verdicts left and is still there."""
        return [
            ReportOut(
                name=name,
                url=f"/reports/{quote(name)}",
                ticker=verdict.ticker,
                checked_at=verdict.checked_at,
                as_of=verdict.as_of,
                alarm=verdict.alarm,
                reference_rows=verdict.reference_rows,
                current_rows=verdict.current_rows,
                bytes=size,
            )
            for verdict in verdicts
            for name in verdict.reports
            if (size := self._size(name)) is not None
        ]

    def read(self, name: str) -> bytes:
        """The page of that name.

        Raises:
            UnknownReport: there is none.
        """
        if self._size(name) is None:
            raise UnknownReport
        try:
            return (self._folder / name).read_bytes()
        except OSError as error:  # replaced or removed just now
            raise UnknownReport from error

    def _size(self, name: str) -> int | None:
        if not re.fullmatch(REPORT_PATTERN, name):
            return None
        try:
            facts = (self._folder / name).lstat()
        except OSError:
            return None
        return facts.st_size if S_ISREG(facts.st_mode) and facts.st_size <= MOST_BYTES else None
