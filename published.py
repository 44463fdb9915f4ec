"""Published LSTM systems again, leaks included, beside the same recipes without them.

`python published.py --data FOLDER` fits five systems as they were published, on their own scales
and splits, writes docs/PUBLISHED_RESULTS.md, and keeps every run so that a killed one goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from contracts import BadSettings, ForecastingError
from published_doc import write_document
from published_fits import Lot, baselines, cut, fit_causal, fit_published
from published_reasons import Section
from published_systems import SYSTEMS, Source, System, read_series
from recipes import Recipe, find_recipe

FIRST_SEED = 42
CACHE = Path("data/published")
DOCUMENT = Path("docs/PUBLISHED_RESULTS.md")


UNITS, DROPOUTS = range(30, 101, 10), (0.1, 0.2, 0.3, 0.4, 0.5)
SPACE = tuple(itertools.product(UNITS, DROPOUTS, DROPOUTS))


def searched(seed: int, trial: int) -> dict[str, float]:
    """Units and two dropouts, drawn at random from SPACE, never twice the same."""
    chosen = np.random.default_rng(seed).permutation(len(SPACE))[trial]
    return dict(zip(("units", "dropout_1", "dropout_2"), SPACE[chosen], strict=True))


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to compute and keep: `published`, a reading, `causal`, `baselines`, `trial`."""

    system: System
    source: Source
    form: str
    number: int  # a seed, or a trial's number

    @property
    def read(self) -> System:
        """The system in the reading that the form names."""
        return self.system.read_as(self.form)

    def recipe(self, epochs: int | None) -> Recipe:
        """The system's recipe with what the command or a trial replaces."""
        chosen: dict[str, Any] = dict(self.system.changes) | ({"epochs": epochs} if epochs else {})
        if self.form == "trial":
            chosen |= searched(FIRST_SEED, self.number)
        return find_recipe(self.system.recipe, chosen)

    def compute(self, lot: Lot, recipe: Recipe) -> dict[str, Any]:
        """The task's result, as JSON holds it."""
        if self.form == "baselines":
            return baselines(lot)
        if self.form == "causal":
            return fit_causal(lot, recipe, self.number)
        seed = FIRST_SEED if self.form == "trial" else self.number
        done = fit_published(lot, self.read, recipe, seed)
        return done | (searched(FIRST_SEED, self.number) if self.form == "trial" else {})


def tasks_of(system: System, seeds: int) -> Iterator[Task]:
    """Everything one system's section needs, a whole seed before the next."""
    for source in system.sources:
        yield Task(system, source, "baselines", 0)
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        for source in system.sources:
            yield Task(system, source, "published", seed)
            for reading in system.readings:
                yield Task(system, source, reading, seed)
            yield Task(system, source, "causal", seed)
    for source in system.sources:
        for trial in range(system.trials):
            yield Task(system, source, "trial", trial)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where prices come from and results are kept, and how long to train."""

    data: Path
    cache: Path
    epochs: int | None

    def kept(self, task: Task) -> Path:
        """The file of a task's result: its name changes with whatever decides the numbers."""
        recipe = task.recipe(self.epochs).as_dict()
        series = read_series(self.data, task.source)
        digest = hashlib.sha256(json.dumps([recipe, task.read.as_dict()]).encode())
        digest.update(series.days.tobytes() + series.values.tobytes() + series.closes.tobytes())
        name = f"{task.system.recipe}-{task.source.name}-{task.form}-{task.number}"
        return self.cache / f"{name}-{digest.hexdigest()[:10]}.json"

    def done(self, task: Task) -> dict[str, Any] | None:
        """What was computed before; None where it was not, or the file is damaged."""
        try:
            found: dict[str, Any] = json.loads(self.kept(task).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found

    def do(self, task: Task) -> dict[str, Any]:
        """The task's result, computed unless it is kept already."""
        if (found := self.done(task)) is not None:
            return found
        recipe, began = task.recipe(self.epochs), time.monotonic()
        lot = cut(read_series(self.data, task.source), task.read, recipe)
        result = task.compute(lot, recipe) | {"seconds": round(time.monotonic() - began, 1)}
        path = self.kept(task)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(result), "utf-8")
        draft.replace(path)
        return result


def gather(bench: Bench, system: System, seeds: int) -> Section | None:
    """What is kept of one system, by series and form; None while a form of a series has nothing."""
    results: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for task in tasks_of(system, seeds):
        forms = results.setdefault(task.source.name, {}).setdefault(task.form, [])
        forms += [found for found in [bench.done(task)] if found is not None]
    if not all(found for forms in results.values() for found in forms.values()):
        return None
    recipe = find_recipe(system.recipe)
    lots = {
        source.name: cut(read_series(bench.data, source), system, recipe)
        for source in system.sources
    }
    return Section(system, recipe, results, lots)


def main(argv: list[str] | None = None) -> int:
    """Fit published LSTM systems as they were published, and write what came of it."""
    arguments = _parser().parse_args(argv)
    _quiet_libraries()
    try:
        bench = Bench(_folder(arguments.data), CACHE, arguments.epochs)
        chosen = [SYSTEMS[name] for name in arguments.systems]
        tasks = [task for system in chosen for task in tasks_of(system, arguments.seeds)]
        with tqdm(tasks, unit="fit") as bar:
            for task in bar:
                bar.set_description(f"{task.system.recipe} {task.source.name} {task.form}")
                bench.do(task)
        sections = [gather(bench, system, arguments.seeds) for system in SYSTEMS.values()]
        write_document(DOCUMENT, [section for section in sections if section is not None])
    except ForecastingError as error:
        print(f"published.py: {error}", file=sys.stderr)
        return 2
    print(f"wrote {DOCUMENT}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="published.py", description=main.__doc__)
    parser.add_argument("--data", type=Path, help="folder of price tables (default REAL_DATA_DIR)")
    parser.add_argument("--seeds", type=int, default=3, help="fits of each form (default 3)")
    parser.add_argument(
        "--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), help="which to fit"
    )
    parser.add_argument("--epochs", type=int, help="at most so many, in place of the recipe's")
    return parser


def _folder(given: Path | None) -> Path:
    folder = given or Path(os.environ.get("REAL_DATA_DIR", ""))
    if folder == Path() or not folder.is_dir():
        raise BadSettings(
            "no folder of price tables; name one with --data or REAL_DATA_DIR (it holds yahoo/ "
            "and reference_tables/)"
        )
    return folder


def _quiet_libraries() -> None:
    """One thread and few words, from libraries that read these names when they are loaded."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, "1")


if __name__ == "__main__":
    sys.exit(main())
