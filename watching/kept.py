"""Calibrations kept on disk under the hash of what made them; anything else is made anew."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from watching.calibration import Calibrated, References
from whole_files import replace_file

log = logging.getLogger(__name__)

FORM: TypeAdapter[tuple[str, Calibrated]] = TypeAdapter(tuple[str, Calibrated])


def key_of(references: References, seed: int) -> str:
    """Hex digest of all that decides a calibration: the samples, the seed and this code."""
    total = hashlib.sha256(f"{seed} {_code()}".encode())
    for rows in (references.training, references.unseen):
        for name in rows.columns.drop("date"):
            total.update(f"{name} {len(rows)} ".encode() + rows[name].to_numpy().tobytes())
    return total.hexdigest()


def kept(path: Path, key: str, make: Callable[[], Calibrated]) -> Calibrated:
    """What is kept under this key, or what was just made, which then is kept.

    A file of another key, or a damaged one, is replaced; a folder that cannot be written keeps
    none.
    """
    if (found := _read(path, key)) is not None:
        return found
    made = make()
    try:
        replace_file(path, FORM.dump_json((key, made)))
    except OSError as error:
        log.info("calibration_not_kept path=%s reason=%r", path, str(error))
    return made


def _read(path: Path, key: str) -> Calibrated | None:
    try:
        known, found = FORM.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        log.warning("calibration_unreadable path=%s reason=%r", path, type(error).__name__)
        return None
    return found if known == key else None


@cache
def _code() -> str:
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
