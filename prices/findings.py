"""What validation says of a table: findings made, counted, shortened for a sidecar and told.

Knows no rule; `validation` and its neighbours decide what is found.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from contracts import Finding

log = logging.getLogger(__name__)

Action = Literal["kept", "repaired", "dropped", "refused"]
Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Findings = tuple[Finding, ...]

ACTIONS: dict[str, Action] = {name: name for name in get_args(Action)}
LISTED = 20  # findings of one code that a sidecar or a printed table spells out


def on_days(
    days: pd.Series[pd.Timestamp], chosen: Mask, code: str, action: Action, text: str
) -> list[Finding]:
    """The same finding for every chosen row.

    Args:
        days: (n,) session of each row.
        chosen: (n,) which rows it is about.
        code: stable name.
        action: what became of these rows.
        text: for people, the same for all.
    """
    return [
        Finding(code=code, date=day, action=action, text=text)
        for day in days.to_numpy()[chosen].astype("datetime64[D]").tolist()
    ]


def of_table(code: str, action: Action, text: str) -> Finding:
    """A finding about the table as a whole."""
    return Finding(code=code, date=None, action=action, text=text)


@dataclass(frozen=True, slots=True)
class Report:
    """All findings counted by code, the first LISTED of each code spelt out."""

    counts: Mapping[str, int] = field(default_factory=dict)
    listed: Findings = ()

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> Report:
        """What is kept of findings."""
        ordered, seen = in_order(findings), Counter[str]()
        listed = []
        for finding in ordered:
            seen[finding.code] += 1
            if seen[finding.code] <= LISTED:
                listed.append(finding)
        return cls(dict(sorted(seen.items())), tuple(listed))

    def through(self, day: date) -> Report:
        """The same without the findings of later days, as far as they are spelt out."""
        later = Counter(f.code for f in self.listed if f.date and f.date > day)
        counts = {code: n - later[code] for code, n in self.counts.items() if n > later[code]}
        return Report(counts, tuple(f for f in self.listed if not f.date or f.date <= day))

    @property
    def lasting(self) -> Findings:
        """What was done to the bars; what is merely in them is found again at every look."""
        return tuple(f for f in self.listed if f.action in ("repaired", "dropped"))

    def __str__(self) -> str:
        """`large_move=2 missing_session=1`, or `none`."""
        return " ".join(f"{code}={count}" for code, count in self.counts.items()) or "none"


def in_order(findings: Iterable[Finding]) -> Findings:
    """Those about the whole table first, then by day and code."""
    return tuple(sorted(findings, key=lambda f: (f.date or date.min, f.code)))


def log_findings(ticker: str, report: Report) -> None:
    """One line where anything was found."""
    if report.counts:
        log.warning("price_findings ticker=%s %s", ticker, report)


def as_rows(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Code, date, action and text of each, as JSON has them."""
    return [
        {**asdict(finding), "date": finding.date and finding.date.isoformat()}
        for finding in findings
    ]


def from_rows(rows: Iterable[Mapping[str, Any]]) -> Findings:
    """The inverse of `as_rows`.

    Raises:
        KeyError, TypeError, ValueError: not such rows.
    """
    return tuple(
        Finding(
            code=str(row["code"]),
            date=date.fromisoformat(row["date"]) if row["date"] else None,
            action=ACTIONS[row["action"]],
            text=str(row["text"]),
        )
        for row in rows
    )
