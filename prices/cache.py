"""Bars on disk: one canonical CSV per ticker with a sidecar that says where they came from.

A reader never sees a CSV described by another's sidecar, at whatever point a writer is killed or
the power fails: the sidecar is replaced first and describes the new CSV and the one it replaces,
the CSV second, and a reader takes the description whose SHA-256 the bytes have. Knows no source
and no setting.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import pandas as pd
from filelock import FileLock, Timeout

from contracts import Adjustment, BadPrices, Provenance, Source, SourceUnavailable
from prices.findings import Report, as_rows, from_rows, of_table
from prices.formats import from_csv_bytes, read_table, sha256_of, to_csv_bytes
from prices.sessions import market_at
from prices.validation import Checked, check_bars

log = logging.getLogger(__name__)

SOURCES: dict[str, Source] = {name: name for name in get_args(Source)}
ADJUSTMENTS: dict[str, Adjustment] = {name: name for name in get_args(Adjustment)}
LOCK_SECONDS = 120.0  # longer than a fetch that runs into every one of its time limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What is known of bars besides the bars."""

    source: Source
    adjustment: Adjustment
    fetched_at: datetime  # UTC
    report: Report = field(default_factory=Report)  # what validation repaired, dropped or noted
    details: Mapping[str, str] = field(default_factory=dict)  # of the source: a file's name, a seed


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """Bars as they lie on disk, all of them, with their label and their bytes."""

    bars: pd.DataFrame
    label: Label
    data: bytes  # `bars` in canonical form

    @property
    def first(self) -> date:
        """Session of the oldest bar."""
        return _day(self.bars, 0)

    @property
    def last(self) -> date:
        """Session of the newest bar."""
        return _day(self.bars, -1)

    def through(self, day: date) -> Stored:
        """The same without bars after `day`; hash and bytes are those of what is left."""
        rows = int(self.bars["Date"].searchsorted(pd.Timestamp(day), side="right"))
        if rows == len(self.bars):
            return self
        lines = self.data.splitlines(keepends=True)
        label = replace(self.label, report=self.label.report.through(day))
        return Stored(self.bars.iloc[:rows], label, b"".join(lines[: rows + 1]))

    def provenance(self) -> Provenance:
        """Of exactly these bars, at least one, and not yet judged stale."""
        return Provenance(
            source=self.label.source,
            adjustment=self.label.adjustment,
            fetched_at=self.label.fetched_at,
            first_session=self.first,
            last_session=self.last,
            rows=len(self.bars),
            sha256=sha256_of(self.data),
            findings=self.label.report.counts,
        )


@dataclass(frozen=True, slots=True)
class Shelf:
    """One folder of cached bars: `<folder>/<ticker>_<kind>.csv` and `.json`."""

    folder: Path
    kind: str  # `raw` or `synthetic`
    adopts: Source  # what bars are called whose sidecar is missing or does not fit

    def csv_path(self, ticker: str) -> Path:
        """Where the ticker's bars are, or would be."""
        return self.folder / f"{ticker}_{self.kind}.csv"

    def tickers(self) -> tuple[str, ...]:
        """Every ticker with bars here, in alphabetical order."""
        ending = f"_{self.kind}.csv"
        return tuple(sorted(p.name.removesuffix(ending) for p in self.folder.glob(f"*{ending}")))

    def sidecar_path(self, ticker: str) -> Path:
        """Where their description is, or would be."""
        return self.csv_path(ticker).with_suffix(".json")

    @contextmanager
    def locked(self, ticker: str, seconds: float = LOCK_SECONDS) -> Iterator[None]:
        """Hold the ticker's lock against every other process (and thread).

        Raises:
            SourceUnavailable: another process holds it for too long, or the folder is not
                writable.
        """
        path = self.csv_path(ticker).with_suffix(".lock")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path)
            lock.acquire(timeout=seconds)
        except Timeout as error:
            raise SourceUnavailable(
                f"another process has been writing {ticker}'s prices for over {seconds:.0f} s; "
                "wait for it or end it"
            ) from error
        except OSError as error:
            raise SourceUnavailable(f"{self.folder} cannot be written: {error}") from error
        try:
            yield
        finally:
            lock.release()

    def get(self, ticker: str) -> Stored | None:
        """The ticker's bars, or None. Waits for nobody.

        Bytes that fit no description have been changed by hand: they are checked like any
        file and labelled `adopts`. What is cut off or cannot be trusted is set aside as
        `.bad`, never deleted.
        """
        try:
            return self._whole(ticker)
        except BadPrices as error:
            why = str(error)
        try:
            with self.locked(ticker, seconds=0):
                return self._whole_or_aside(ticker)
        except SourceUnavailable:  # being replaced right now, or a read-only folder
            log.warning("cache_bad path=%s reason=%r", self.csv_path(ticker), why)
            return None

    def put(self, ticker: str, bars: pd.DataFrame, label: Label) -> Stored:
        """Replace the ticker's bars; the caller holds the lock.

        Raises:
            SourceUnavailable: the folder cannot be written; what was there is still there.
        """
        new, path = Stored(bars, label, to_csv_bytes(bars)), self.csv_path(ticker)
        sidecar = _entry(new)
        if (old := self._whole_or_aside(ticker)) is not None:
            sidecar["previous"] = _entry(old)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            words = (json.dumps(sidecar, indent=2) + "\n").encode()
            _replace({self.sidecar_path(ticker): words, path: new.data})
        except OSError as error:
            raise SourceUnavailable(f"{path} cannot be written: {error}") from error
        log.info("bars_written path=%s source=%s rows=%d", path, label.source, len(bars))
        return new

    def _whole(self, ticker: str) -> Stored | None:
        """The bars under their own description, or adopted.

        Raises:
            BadPrices: no description fits, and the bars cannot be trusted.
        """
        path = self.csv_path(ticker)
        for _ in range(3):  # a second look is enough unless two writers pass between the reads
            try:
                data = path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None
            except OSError as error:
                raise SourceUnavailable(f"{path} cannot be read: {error}") from error
            sidecar = read_sidecar(self.sidecar_path(ticker))
            if (label := label_of(sha256_of(data), sidecar)) is not None:
                return Stored(_parsed(data).copy(), label, data)
        return self._adopted(ticker, data, sidecar)

    def _whole_or_aside(self, ticker: str) -> Stored | None:
        """The same, with bars nobody can trust moved out of the way; under the lock."""
        try:
            return self._whole(ticker)
        except BadPrices as error:
            _set_aside(self.csv_path(ticker), str(error))
            return None

    def _adopted(self, ticker: str, data: bytes, sidecar: Mapping[str, Any]) -> Stored:
        path = self.csv_path(ticker)
        changed_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        checked, adjustment = _judged(data, ticker, path.name, datetime.now(UTC).date())
        text = "changed by hand since it was written"
        edited = of_table("edited_by_hand", "kept", text)
        label = Label(
            source=self.adopts,
            adjustment=ADJUSTMENTS.get(sidecar.get("adjustment", ""), adjustment),
            fetched_at=changed_at,
            report=Report.of((edited, *checked.findings)),
        )
        log.warning("cache_changed_by_hand path=%s findings=%s", path, label.report)
        return Stored(checked.bars.copy(), label, to_csv_bytes(checked.bars))


@lru_cache(maxsize=16)
def _parsed(data: bytes) -> pd.DataFrame:
    """Parsing takes some 20 ms, a service reads the same bytes at every request."""
    return from_csv_bytes(data)


@lru_cache(maxsize=16)
def _judged(data: bytes, ticker: str, name: str, day: date) -> tuple[Checked, Adjustment]:
    """Bars changed by hand, as they can be used on a day; judged once, not at every request."""
    if not data.endswith(b"\n"):
        raise BadPrices(f"{name} is {'cut off' if data else 'empty'}")
    table = read_table(data, ticker, name)
    market = market_at(ticker, datetime.combine(day, time.max, UTC))
    return check_bars(table.bars, name, market, table.findings), table.adjustment


def read_sidecar(path: Path) -> dict[str, Any]:
    """The sidecar's content; empty where it is missing or damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def label_of(sha256: str, sidecar: Mapping[str, Any]) -> Label | None:
    """How the sidecar describes these bytes, or None where it does not."""
    for entry in (sidecar, sidecar.get("previous")):
        if not isinstance(entry, dict) or entry.get("sha256") != sha256:
            continue
        try:
            return Label(
                source=SOURCES[entry["source"]],
                adjustment=ADJUSTMENTS[entry["adjustment"]],
                fetched_at=datetime.fromisoformat(entry["fetched_at"]).astimezone(UTC),
                report=_report_of(entry["findings"]),
                details=dict(entry["details"]),
            )
        except (KeyError, TypeError, ValueError):  # a sidecar changed by hand describes nothing
            continue
    return None


def _report_of(entry: Mapping[str, Any]) -> Report:
    counts = {str(code): int(count) for code, count in entry["counts"].items()}
    return Report(counts, from_rows(entry["first"]))


def _day(bars: pd.DataFrame, row: int) -> date:
    day: date = bars["Date"].iloc[row].date()
    return day


def _entry(stored: Stored) -> dict[str, Any]:
    fact = stored.provenance()
    return {
        "source": fact.source,
        "adjustment": fact.adjustment,
        "fetched_at": fact.fetched_at.isoformat(),
        "first_session": fact.first_session.isoformat(),
        "last_session": fact.last_session.isoformat(),
        "rows": fact.rows,
        "sha256": fact.sha256,
        "findings": {
            "counts": dict(stored.label.report.counts),
            "first": as_rows(stored.label.report.listed),
        },
        "details": dict(stored.label.details),
    }


def _set_aside(path: Path, why: str) -> None:
    """Out of the way, under a name nothing has; the caller holds the lock."""
    aside = path.with_name(f"{path.name}.bad")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.bad{number}")
    try:
        path.replace(aside)
    except OSError as error:  # the file stays, and is not used either
        log.warning("cache_bad path=%s left_because=%r reason=%r", path, str(error), why)
    else:
        log.warning("cache_bad path=%s moved_to=%s reason=%r", path, aside.name, why)


def _replace(contents: Mapping[Path, bytes]) -> None:
    """Write all of them beside and flush them to the disk, then let them take their names in order.

    A full disk is met before anything is replaced. The drafts' names are fixed, so that a killed
    writer's are overwritten by the next; the lock keeps everybody else from them.
    """
    drafts = {path: path.with_name(f".{path.name}.new") for path in contents}
    try:
        for path, data in contents.items():
            with drafts[path].open("wb") as draft:
                draft.write(data)
                draft.flush()
                os.fsync(draft.fileno())
        for path, draft_path in drafts.items():
            draft_path.replace(path)
            _flush_folder(path.parent)
    except BaseException:
        for draft_path in drafts.values():
            draft_path.unlink(missing_ok=True)
        raise


def _flush_folder(folder: Path) -> None:
    """A new name is on the disk only once its folder is."""
    if os.name == "nt":
        return  # Windows opens no folders
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
