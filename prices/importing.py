"""Price files into the cache: one, or a folder of them over several processes.

A folder can be imported again at any time: what came from the very same bytes is passed over,
so an import that was ended half-way goes on. Knows no setting and prints nothing.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from contracts import Adjustment, BadPrices, ForecastingError, parse_ticker
from prices.cache import Label, Shelf, Stored
from prices.findings import log_findings
from prices.formats import read_table
from prices.sessions import market_at
from prices.validation import check_bars

ENDINGS = (".csv", ".csv.gz")
FILE_HASH = "file_sha256"  # in a label's details: of the bytes the bars were imported from


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of one file of a folder."""

    path: Path
    state: Literal["imported", "skipped", "refused"]
    text: str = ""  # why it was refused


def import_bars(
    shelf: Shelf, ticker: str, path: Path, adjustment: Adjustment | None = None
) -> Stored:
    """Take a user's price file into the cache in place of what is there; source `file`.

    Raises:
        BadPrices: the file cannot be read or trusted; the cache is as it was.
        SourceUnavailable: the cache cannot be written.
    """
    data = _bytes_of(path)
    table, now = read_table(data, ticker, path.name), datetime.now(UTC)
    checked = check_bars(table.bars, path.name, market_at(ticker, now), table.findings)
    log_findings(ticker, checked.report)
    label = Label(
        source="file",
        adjustment=adjustment or table.adjustment,
        fetched_at=now,
        report=checked.report,
        details={"file": path.name, FILE_HASH: _sha256(data)},
    )
    with shelf.locked(ticker):
        return shelf.put(ticker, checked.bars, label)


def import_folder(
    shelf: Shelf, folder: Path, adjustment: Adjustment | None = None
) -> tuple[Imported, ...]:
    """Import every `<ticker>.csv` and `<ticker>.csv.gz` of a folder, with a progress bar; by name.

    Raises:
        BadPrices: no such folder, or no such file in it.
    """
    files = files_in(folder)
    outcomes = import_files(shelf, files, adjustment)
    bar = tqdm(outcomes, total=len(files), desc="importing", unit="file")
    return tuple(sorted(bar, key=lambda outcome: outcome.path))


def files_in(folder: Path) -> tuple[Path, ...]:
    """Its CSV and CSV.GZ files, by name.

    Raises:
        BadPrices: no such folder, or none in it.
    """
    try:
        found = sorted(path for path in folder.iterdir() if path.name.lower().endswith(ENDINGS))
    except OSError as error:
        raise BadPrices(f"{folder} cannot be read: {error.strerror}") from error
    if not found:
        raise BadPrices(f"{folder} holds no file named like AAPL.csv or AAPL.csv.gz")
    return tuple(found)


def ticker_of(path: Path) -> str:
    """AAPL of AAPL.csv and of AAPL.csv.gz.

    Raises:
        InvalidTicker: the name is no symbol.
    """
    name = path.name.lower()
    ending = next(ending for ending in reversed(ENDINGS) if name.endswith(ending))
    return parse_ticker(path.name[: -len(ending)])


def import_files(
    shelf: Shelf,
    files: Sequence[Path],
    adjustment: Adjustment | None = None,
    processes: int | None = None,
) -> Iterator[Imported]:
    """Import every file, in the order in which they are done; a refused one costs only itself.

    Args:
        shelf: the cache.
        files: named after their tickers; of two for one ticker neither is taken.
        adjustment: as for `import_bars`.
        processes: at once; as many as there are processors unless given.
    """
    owners: dict[str, Path] = {}
    single, doubled = [], set()
    for path in files:
        name = path.name.upper().removesuffix(".GZ")
        if owners.setdefault(name, path) is not path:
            doubled |= {path, owners[name]}
    for path in files:
        if path in doubled:
            yield Imported(path=path, state="refused", text="another file is for the same ticker")
        else:
            single.append(path)
    work = partial(_import_one, shelf, adjustment)
    with _workers(min(processes or os.cpu_count() or 1, len(single) or 1)) as pool:
        waiting: list[Future[Imported]] = [pool.submit(work, path) for path in single]
        for done in as_completed(waiting):
            yield done.result()


def _import_one(shelf: Shelf, adjustment: Adjustment | None, path: Path) -> Imported:
    try:
        ticker = ticker_of(path)
        if _already_there(shelf, ticker, path, adjustment):
            return Imported(path=path, state="skipped")
        import_bars(shelf, ticker, path, adjustment)
    except ForecastingError as error:
        return Imported(path=path, state="refused", text=str(error))
    return Imported(path=path, state="imported")


def _already_there(shelf: Shelf, ticker: str, path: Path, adjustment: Adjustment | None) -> bool:
    """Whether the cached bars came from these very bytes, read in the same way."""
    stored = shelf.get(ticker)
    if stored is None or stored.label.details.get(FILE_HASH) != _sha256(_bytes_of(path)):
        return False
    return adjustment in (None, stored.label.adjustment)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadPrices(f"{path} cannot be read: {error.strerror}") from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def _workers(count: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that take no new file once the caller leaves, by whatever way."""
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_begin)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """A worker's first act: leave Ctrl-C and words to the parent, and never outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger().addHandler(logging.NullHandler())  # findings are in each ticker's sidecar
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    """A killed parent closes nothing in an orderly way; without this its workers wait for ever."""
    connection.wait([sentinel])
    os._exit(1)
