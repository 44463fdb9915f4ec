"""A price table judged without taking it in: for people who ask before, or who doubt the cache.

Reads files and shelves, writes nothing, prints nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from contracts import BadPrices, Finding, InvalidTicker, UnknownTicker, parse_ticker
from prices.cache import Shelf
from prices.findings import LISTED, Findings, Report, as_rows, of_table
from prices.formats import read_table
from prices.sessions import market_at
from prices.validation import Checked, judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What would become of a table, or what is in the cached bars of a ticker."""

    name: str
    rows: int  # bars that would be used; 0 where the table is refused
    findings: Findings

    @property
    def refused(self) -> bool:
        """Whether nothing of it would be used."""
        return any(finding.action == "refused" for finding in self.findings)

    @property
    def verdict(self) -> str:
        """`fine`, `usable, with findings` or `refused`."""
        return "refused" if self.refused else "usable, with findings" if self.findings else "fine"

    def as_json(self) -> str:
        """Every finding, one object for the whole."""
        return json.dumps(
            {
                "name": self.name,
                "verdict": self.verdict,
                "rows": self.rows,
                "counts": dict(Report.of(self.findings).counts),
                "findings": as_rows(self.findings),
            },
            indent=2,
        )

    def as_table(self) -> str:
        """A line per finding, LISTED of each code at most, and how many there are."""
        seen: Counter[str] = Counter()
        lines = [f"{'date':10} {'action':8} {'finding':18} text"] if self.findings else []
        for finding in self.findings:
            seen[finding.code] += 1
            if seen[finding.code] <= LISTED:
                lines.append(_line(finding))
        lines += [
            f"... and {count - LISTED} more {code}"
            for code, count in sorted(seen.items())
            if count > LISTED
        ]
        return "\n".join([*lines, f"{self.name}: {self.verdict}, {self.rows} bars; {self._told()}"])

    def _told(self) -> str:
        report = Report.of(self.findings)
        return f"findings: {report}" if report.counts else "no findings"


def inspect(target: str, ticker: str | None, shelves: Sequence[Shelf]) -> Inspection:
    """Judge a file, or the cached bars of a ticker.

    Args:
        target: path of a price file, or a symbol.
        ticker: whose bars a file holds; by default as its name begins (`AAPL_2020.csv`).
        shelves: where bars of a symbol are looked for, in this order.

    Raises:
        BadPrices: the file cannot be opened.
        InvalidTicker: neither a file nor a symbol.
        UnknownTicker: nobody has bars of it.
    """
    path = Path(target)
    if path.is_file() or path.suffix.lower() in (".csv", ".gz") or len(path.parts) > 1:
        return _of_file(path, parse_ticker(ticker) if ticker else _owner(path))
    return _of_cache(parse_ticker(target), shelves)


def _of_file(path: Path, ticker: str) -> Inspection:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadPrices(f"{path} cannot be read: {error.strerror}") from error
    try:
        table = read_table(data, ticker, path.name)
    except BadPrices as error:
        refusal = of_table("unreadable_table", "refused", str(error))
        return Inspection(name=path.name, rows=0, findings=(refusal,))
    checked = judged(table.bars, market_at(ticker, datetime.now(UTC)), table.findings)
    return _of_checked(path.name, checked)


def _of_cache(ticker: str, shelves: Sequence[Shelf]) -> Inspection:
    """The bars as they are now, with what was done to them on their way in."""
    for shelf in shelves:
        if (stored := shelf.get(ticker)) is not None:
            market = market_at(ticker, datetime.now(UTC))
            name = f"{shelf.csv_path(ticker).name} ({stored.label.source})"
            done = [f for f in stored.label.report.listed if f.code == "edited_by_hand"]
            done += stored.label.report.lasting
            return _of_checked(name, judged(stored.bars, market, done))
    raise UnknownTicker(ticker)


def _of_checked(name: str, checked: Checked) -> Inspection:
    rows = 0 if checked.refusal is not None else len(checked.bars)
    return Inspection(name=name, rows=rows, findings=checked.findings)


def _owner(path: Path) -> str:
    """AAPL of `AAPL.csv.gz` and of `AAPL_2020.csv`.

    Raises:
        BadPrices: the name does not begin with a symbol.
    """
    stem = path.name.removesuffix(".gz").removesuffix(".csv").partition("_")[0]
    try:
        return parse_ticker(stem)
    except InvalidTicker as error:
        raise BadPrices(f"{path.name} does not say whose bars it holds; add --ticker") from error


def _line(finding: Finding) -> str:
    day = "-" if finding.date is None else finding.date.isoformat()
    return f"{day:10} {finding.action:8} {finding.code:18} {finding.text}"
