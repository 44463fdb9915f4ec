"""Training arrays kept on disk under the hash of what made them; anything else is made anew.

Mid-prices and each one's trailing minimum and maximum are kept, not the sequences: those are
views on the mids, and scaling them takes less time than reading fifty times the bytes. Knows
no setting and not what a recipe is.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import features
from features import Scale
from whole_files import replace_file

log = logging.getLogger(__name__)

NAMES = ("mids", "lo", "hi")
# What NumPy and zipfile raise on bytes that are no such file, or no longer.
DAMAGED = (OSError, ValueError, KeyError, EOFError, RuntimeError, SyntaxError, zipfile.BadZipFile)


def digest(bars: pd.DataFrame) -> str:
    """SHA-256 of the values themselves: a label may have been taken along from other bars."""
    total = hashlib.sha256()
    for name, column in bars.items():
        total.update(f"{name} {len(column)} ".encode() + column.to_numpy().tobytes())
    return total.hexdigest()


def key_of(facts: Mapping[str, object]) -> str:
    """Hex digest of everything that decides the arrays: these facts, and the code of `features`."""
    text = json.dumps({**facts, "code": _code()}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def kept(path: Path, key: str, make: Callable[[], Scale]) -> Scale:
    """The arrays kept under this key, or those just made, which then are kept."""
    if (found := read(path, key)) is not None:
        return found
    made = make()
    write(path, key, made)
    return made


def read(path: Path, key: str) -> Scale | None:
    """The arrays kept under this key, or None: another key, no file, or a damaged one."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            if str(file["key"]) != key:
                return None
            mids, lo, hi = (file[name] for name in NAMES)
    except FileNotFoundError:
        return None
    except DAMAGED as error:
        log.warning("processed_unreadable path=%s reason=%r", path, str(error))
        return None
    plain = all(side.dtype == float and side.shape == (len(mids),) for side in (mids, lo, hi))
    return Scale(mids, lo, hi) if plain else None


def write(path: Path, key: str, scale: Scale) -> None:
    """Keep the arrays, whole or not at all; a folder that cannot be written keeps none."""
    arrays: dict[str, Any] = {name: getattr(scale, name) for name in NAMES}
    buffer = io.BytesIO()
    np.savez(buffer, key=np.array(key), **arrays)
    try:
        replace_file(path, buffer.getvalue())
    except OSError as error:
        log.info("processed_not_kept path=%s reason=%r", path, str(error))


@cache
def _code() -> str:
    return hashlib.sha256(Path(features.__file__).read_bytes()).hexdigest()
