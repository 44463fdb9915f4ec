"""What a job over many keys has done, on disk: a file a key, so that an interrupted one goes on.

Knows neither the tasks nor the engine; what a record holds is the command's business.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self
from urllib.parse import quote, unquote

from filelock import FileLock, Timeout
from tqdm import tqdm

from contracts import LeaseTaken

log = logging.getLogger(__name__)

ABOUT = "job.json"
RECORDS = "done"
FORM = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
LOG_SECONDS = 30.0  # between two lines of progress where nobody sees a line change


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How a job ended."""

    done: int  # records there are, `resumed` included
    failed: dict[str, str]  # key -> reason
    resumed: int  # records an earlier run had made
    seconds: float  # of this run

    def __str__(self) -> str:
        """One line, and one for each failure."""
        before = f", {self.resumed} of them before" if self.resumed else ""
        head = f"{self.done} done{before}, {len(self.failed)} failed in {_clock(self.seconds)}"
        return "\n".join([head, *(f"  {key}: {why}" for key, why in self.failed.items())])


class Job:
    """The records of one job, and its progress. One process at a time; a context manager.

    `id` names it where others keep something of it; a job that begins anew has another.

    Args:
        folder: its own; what is in it belongs to the job.
        title: of the line of progress.
        keys: what is to be done, each once; a key that a former run has done stays done.
        about: what makes it this job (recipe, seed, last session, ...), of JSON's types; another
            `about`, or a job that was over, begins anew.
        afresh: begin anew in any case.

    Raises:
        LeaseTaken: another process is at this job.
    """

    def __init__(
        self,
        folder: Path,
        title: str,
        keys: Sequence[str],
        about: Mapping[str, object],
        *,
        afresh: bool = False,
    ) -> None:
        self.folder, self.title = folder, title
        self.keys = tuple(dict.fromkeys(keys))
        self._about = json.loads(json.dumps(about, sort_keys=True))
        self._lock = _locked(folder)
        self._failed: dict[str, str] = {}
        self._begun = time.perf_counter()
        self._begin(afresh)
        self._done = {unquote(path.stem) for path in self._records.glob("*.json")} & set(self.keys)
        self.resumed = len(self._done)
        self._bar = self._progress()

    @property
    def since(self) -> datetime:
        """When the job began (UTC), before any interruption."""
        return datetime.fromisoformat(self._since)

    def pending(self) -> tuple[str, ...]:
        """What has no record yet, in the order of `keys`; what failed is among it."""
        return tuple(key for key in self.keys if key not in self._done)

    def records(self) -> dict[str, dict[str, Any]]:
        """What was kept of each key that is done, in the order of `keys`."""
        return dict(self.each())

    def each(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The same one by one, for records that are too large to be in memory together."""
        for key in self.keys:
            if key in self._done:
                yield key, json.loads(self._path(key).read_text("utf-8"))

    def keep(self, key: str, record: Mapping[str, Any]) -> None:
        """A key is done; what is kept survives a kill and a power cut once this returns.

        Raises:
            KeyError: it is none of the job's.
            TypeError: the record is not of JSON's types.
        """
        if key not in self.keys:
            raise KeyError(key)
        _write(self._path(key), record)
        self._failed.pop(key, None)
        again = key in self._done
        self._done.add(key)
        self._advance(0 if again else 1)

    def fail(self, key: str, reason: str, attempts: int = 1) -> None:
        """A key could not be done; the job goes on, and tries it again when it is resumed."""
        log.warning("failed job=%s key=%s attempts=%d reason=%s", self.title, key, attempts, reason)
        self._failed[key] = reason
        self._advance(0)

    def finish(self) -> Summary:
        """End this run. With nothing pending the job is over, and the next one begins anew."""
        if not self.pending():
            _write(self.folder / ABOUT, self._facts(over=True))
        summary = Summary(
            done=len(self._done),
            failed=dict(self._failed),
            resumed=self.resumed,
            seconds=time.perf_counter() - self._begun,
        )
        self.close()
        return summary

    def close(self) -> None:
        """Leave the job as it is, to be resumed unless it is finished."""
        self._bar.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _records(self) -> Path:
        return self.folder / RECORDS

    def _path(self, key: str) -> Path:
        return self._records / f"{quote(key, safe=' ^=')}.json"

    def _begin(self, afresh: bool) -> None:
        """Go on where this job stood, or begin with nothing."""
        before = _read(self.folder / ABOUT) or {}
        self.id, self._since = str(before.get("id")), str(before.get("since"))
        if afresh or before != self._facts(over=False):
            (self.folder / ABOUT).unlink(missing_ok=True)
            if self._records.exists():
                shutil.rmtree(self._records)
            self._records.mkdir()
            self.id = uuid.uuid4().hex
            self._since = datetime.now(UTC).isoformat()
            _write(self.folder / ABOUT, self._facts(over=False))

    def _facts(self, *, over: bool) -> dict[str, Any]:
        return {"id": self.id, "since": self._since, "about": self._about, "over": over}

    def _progress(self) -> tqdm[NoReturn]:
        if self.resumed:
            tqdm.write(
                f"{self.title}: resuming: {self.resumed} of {len(self.keys)} done "
                "(--afresh begins again)",
                file=sys.stderr,
            )
        return tqdm(
            total=len(self.keys),
            initial=self.resumed,
            desc=self.title,
            bar_format=FORM,
            mininterval=0.2 if sys.stderr.isatty() else LOG_SECONDS,
        )

    def _advance(self, by: int) -> None:
        self._bar.update(by)
        self._bar.set_postfix_str(self._pace())

    def _pace(self) -> str:
        minutes = (time.perf_counter() - self._begun) / 60
        pace = f"{(len(self._done) - self.resumed) / max(minutes, 1e-9):.1f} a minute"
        return f"{pace}, {len(self._failed)} failed" if self._failed else pace


def _locked(folder: Path) -> FileLock:
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise LeaseTaken(f"another process is at the job in {folder}; wait for it") from error
    return lock


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except ValueError as error:
        log.warning("set_aside file=%s reason=%s", path, error)
        return None


def _write(path: Path, facts: Mapping[str, Any]) -> None:
    """Whole or not at all, and on the disk, its name too, when this returns."""
    draft = path.with_name(f"{path.name}.new")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(facts, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
