"""The trials of a search on disk, a file each, written whole or not at all.

Knows neither how a trial was chosen nor what was fitted.
"""

from __future__ import annotations

import json
import logging
import math
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from contracts import BadSettings
from search_space import Value

log = logging.getLogger(__name__)

Values = dict[str, Value]  # by recipe field


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One trial: the fields that were varied, and the losses by epoch."""

    number: int  # from 0
    values: Values
    losses: list[float]
    val_losses: list[float]

    @property
    def best(self) -> float:
        """The validation loss of the best epoch; infinite where no epoch's was a number."""
        return min((loss for loss in self.val_losses if math.isfinite(loss)), default=math.inf)


class Ledger:
    """What one search has found, a file a trial; each is written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def search_id(self) -> str:
        """The name of this search, there before any run carries it."""
        if (known := self._read("search.json")) is None:
            known = {"id": uuid.uuid4().hex}
            self._write("search.json", known)
        return str(known["id"])

    def trial(self, number: int, values: Values) -> Tried | None:
        """What came of a trial; None if it has not ended, or was of other values."""
        found = self._read(f"trial_{number:04d}.json")
        return Tried(**found) if found and found["values"] == values else None

    def trials(self) -> tuple[Tried, ...]:
        """Every trial that has ended, by number."""
        names = sorted(path.name for path in self.folder.glob("trial_*.json"))
        return tuple(Tried(**found) for name in names if (found := self._read(name)) is not None)

    def keep(self, tried: Tried) -> None:
        """A trial that has ended."""
        self._write(f"trial_{tried.number:04d}.json", asdict(tried))

    def published(self, best: Tried, models_dir: Path) -> str | None:
        """What was said when the best trial's model was registered; None if that is to be done."""
        found = self._read("outcome.json")
        if found and found["trial"] == best.number and (models_dir / found["bundle"]).is_dir():
            return str(found["said"])
        return None

    def publish(self, best: Tried, bundle: Path, said: str) -> None:
        """Remember that the best trial's model has been registered."""
        facts = {"trial": best.number, "bundle": bundle.name, "said": said}
        self._write("outcome.json", facts)

    def job(self, best: Tried) -> str:
        """What the training of the best trial goes by, so that it is not registered twice."""
        return f"{self.search_id}-{best.number}"

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return dict(json.loads((self.folder / name).read_text("utf-8")))
        except FileNotFoundError:
            return None
        except ValueError as error:
            log.warning("set_aside file=%s reason=%s", self.folder / name, error)
            return None

    def _write(self, name: str, facts: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f"{name}.new"
        with draft.open("w", encoding="utf-8") as file:
            json.dump(facts, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.folder / name)


def best_of(found: Sequence[Tried]) -> Tried:
    """The trial of the lowest loss, the earlier of two.

    Raises:
        BadSettings: no trial had a finite one.
    """
    best = min(found, key=lambda tried: (tried.best, tried.number))
    if not math.isfinite(best.best):
        raise BadSettings("no trial had a finite validation loss; search other values")
    return best
