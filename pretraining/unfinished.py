"""What a killed run leaves for the same run to go on from: the state after each epoch, in a folder.

Knows arrays and names, no network.
"""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from contracts import ForecastingError, WorkerLost
from whole_files import replace_file

log = logging.getLogger(__name__)

ABOUT = "about.json"
KEPT = 2  # states of each fit: workers that are killed differ by one epoch at most


@dataclass(frozen=True, slots=True)
class Unfinished:
    """One work's folder. A state is a list of arrays, under the name of its fit and its epoch."""

    folder: Path

    def begin(self, about: Mapping[str, Any]) -> None:
        """Forget what was left by a work on anything else than `about`."""
        said = json.dumps(about, sort_keys=True, default=str).encode()
        path = self.folder / ABOUT
        if path.is_file() and path.read_bytes() == said:
            return
        for left in self.folder.iterdir():
            left.unlink()
        replace_file(path, said)

    def epochs(self, fit: str) -> list[int]:
        """How many epochs each kept state has behind it, ascending."""
        return sorted(int(path.stem.split("-")[-1]) for path in self.folder.glob(f"{fit}-*.npz"))

    def keep(self, fit: str, epoch: int, state: Sequence[np.ndarray]) -> None:
        """Write the state after `epoch` epochs, whole or not at all; the last KEPT stay."""
        held = io.BytesIO()
        np.savez(held, *state, allow_pickle=False)
        replace_file(self._path(fit, epoch), held.getvalue())
        for old in self.epochs(fit)[:-KEPT]:
            self._path(fit, old).unlink()

    def state(self, fit: str, epoch: int) -> list[np.ndarray] | None:
        """What `keep` was given; None where there is none that can be read."""
        try:
            held = io.BytesIO(self._path(fit, epoch).read_bytes())
            with np.load(held, allow_pickle=False) as found:
                return [found[name] for name in found.files]
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            log.warning("state_not_read fit=%s epoch=%d reason=%s", fit, epoch, error)
            return None

    def _path(self, fit: str, epoch: int) -> Path:
        return self.folder / f"{fit}-{epoch:04}.npz"


@contextmanager
def unfinished(target: Path, worker: int = 0) -> Iterator[Unfinished]:
    """The folder of the work on `target`, beside it; one holder at a time across processes.

    It is gone once the work is done or cannot be done (ForecastingError), and stays where it was
    interrupted or a worker was lost.

    Args:
        target: what is made.
        worker: of several that make it together, each with a folder of its own.
    """
    folder = target.parent / f".{target.name}.making-{worker}"
    handle = _held(folder)
    try:
        yield Unfinished(folder)
        shutil.rmtree(folder)
    except ForecastingError as error:
        if not isinstance(error, WorkerLost):
            shutil.rmtree(folder)
        raise
    finally:
        os.close(handle)


def _held(folder: Path) -> int:
    """An open handle on the folder, made where it is missing, with its lock."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    while True:
        # whoever holds it may remove it at any moment
        with suppress(FileExistsError):
            folder.mkdir()
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("waiting folder=%s reason=another process works on it", folder.name)
            fcntl.flock(handle, fcntl.LOCK_EX)
        if _is_still(folder, handle):
            return handle
        os.close(handle)


def _is_still(folder: Path, handle: int) -> bool:
    """Whether the handle is on what is called so now, not on a folder that was removed."""
    try:
        return os.path.samestat(os.fstat(handle), folder.stat())
    except FileNotFoundError:
        return False
