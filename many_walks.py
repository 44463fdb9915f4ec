"""Walks of many tickers: networks and bases found here, rows and scores kept as they come.

Holds those of one ticker at a time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from base_training import base_for
from bases import PackedBase
from config import Settings
from contest import PackedChampion, packed
from contracts import BadBundle, ModelFromTheFuture, NoChampion, Prices
from data_pipeline import StockDataPipeline, today, training_bars
from engines import EngineChoice
from engines.job import Job
from many import Work, refreshed, worked
from model_store import ModelStore
from scorecard import score
from serving import check_match
from walkforward import Plan, Walk, chosen_origins, fits, walk

PARTS = "parts"  # rows of each ticker, below the job's folder


@dataclass(frozen=True, slots=True, eq=False)
class Walked:
    """What came of one ticker's walk."""

    rows: pd.DataFrame
    scores: Mapping[str, Any]  # by model


def walk_ticker(ticker: str, asked: Walk) -> Walked:
    """Walk and score.

    Raises:
        NotEnoughHistory: too few sessions before the first origin, or none from it on.
    """
    rows, known = walk(ticker, asked)
    return Walked(rows, score(rows, known, asked.plan.stride)[ticker])


class Walks:
    """One plan for many tickers.

    Args:
        tickers: whose prices are walked through.
        plan: from which origins, how far, by which network.
        settings: where prices, bases and champions are.
    """

    def __init__(self, tickers: tuple[str, ...], plan: Plan, settings: Settings) -> None:
        self.tickers, self.plan, self.settings = tickers, plan, settings
        self._bases: dict[tuple[date, bool, str], PackedBase | None] = {}

    def asked(self, ticker: str) -> Walk:
        """The task of one ticker, its prices refreshed.

        Raises:
            NotEnoughHistory: no origin.
            NoChampion, ModelFromTheFuture: the published model cannot walk here.
            NoBase: a fit would have none to start from.
        """
        prices = StockDataPipeline(ticker, self.settings).load()
        # earlier bars need not travel
        prices = replace(prices, bars=training_bars(prices, self.plan.start_date))
        days = prices.bars["Date"].to_numpy()
        origins = chosen_origins(days, self.plan)
        if self.plan.champion:
            first = pd.Timestamp(days[origins[0]]).date()
            return Walk(prices, self.plan, self._champion(prices, first))
        starts = [pd.Timestamp(days[at]).date() for at, _ in fits(origins, self.plan)]
        return Walk(prices, self.plan, None, tuple(self._base(day, prices) for day in starts))

    def _champion(self, prices: Prices, first_day: date) -> PackedChampion:
        champion = ModelStore(self.settings.models_dir).champion(prices.ticker)
        if champion is None:
            raise NoChampion(prices.ticker)
        check_match(champion, prices)
        card = champion.card
        if card.trained_through > first_day:
            raise ModelFromTheFuture(prices.ticker, card.trained_through, first_day)
        return packed(champion, self.settings)

    def _base(self, day: date, prices: Prices) -> PackedBase | None:
        provenance = prices.provenance
        kind = (day, provenance.source == "synthetic", provenance.adjustment)
        if kind not in self._bases:
            base = base_for(day, self.plan.recipe, self.settings, prices)
            self._bases[kind] = base.packed() if base else None
        return self._bases[kind]

    def job(self, *, rows: bool, afresh: bool = False) -> WalkJob:
        """All of them as one job, where it stands; with the rows kept or the scores alone.

        Raises:
            LeaseTaken: another process is at it.
        """
        plan = {name: str(value) for name, value in asdict(self.plan).items() if name != "recipe"}
        about = {
            "plan": plan,
            "recipe": self.plan.recipe.as_dict(),
            "rows": rows,
            "through": str(today(self.tickers[0], self.settings)),
        }
        folder = self.settings.models_dir / "jobs" / "backtest"
        return WalkJob(self, Job(folder, "walk forward", self.tickers, about, afresh=afresh), rows)


class WalkJob:
    """The walks as a job, with the rows of each ticker in a file of their own."""

    def __init__(self, walks: Walks, job: Job, rows: bool) -> None:
        self.walks, self.job, self._rows = walks, job, rows
        self._folder = job.folder / PARTS
        if not job.resumed:
            shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, choice: EngineChoice) -> Iterator[str]:
        """Walk what the job lacks; each ticker as it is done.

        Raises:
            EngineUnavailable: the engine cannot be started.
        """
        work: Work[Walk, str, Walked] = Work(
            lambda ticker: (self.walks.asked(ticker), ticker), walk_ticker, self._written
        )
        refreshed(self.job.pending(), self.walks.settings)
        for ticker, _ in worked(self.job, choice, work):
            yield ticker

    def scores(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every ticker that is done, with its part of `scorecard.score`."""
        for key, record in self.job.each():
            yield key, whole_steps(record["scores"])

    def parts(self) -> Iterator[pd.DataFrame]:
        """The rows of each ticker that is done, one table at a time.

        Raises:
            BadBundle: a table is missing or damaged.
        """
        for key, record in self.job.each():
            path = self._path(key)
            if not path.is_file() or _digest(path.read_bytes()) != record["sha256"]:
                raise BadBundle(f"the rows of {key} are missing or damaged; walk --afresh")
            yield pd.read_parquet(path)

    def forget_rows(self) -> None:
        """Remove the rows, once whoever wanted them has them."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _written(self, ticker: str, walked: Walked) -> Mapping[str, Any]:
        record: dict[str, Any] = {"scores": walked.scores, "rows": len(walked.rows)}
        if self._rows:
            data = walked.rows.to_parquet(index=False)
            self._folder.mkdir(exist_ok=True)
            with self._path(ticker).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            record["sha256"] = _digest(data)
        return record

    def _path(self, ticker: str) -> Path:
        return self._folder / f"{quote(ticker, safe='^=')}.parquet"


def whole_steps(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Scores as JSON gives them back, with steps as the numbers they are."""
    return {
        model: {**found, "steps": {int(step): row for step, row in found["steps"].items()}}
        for model, found in scores.items()
    }


def write_rows(path: Path, parts: Iterable[pd.DataFrame]) -> None:
    """One Parquet file of many tables, of which one at a time is in memory."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    with ExitStack() as stack:
        file: ParquetWriter | None = None
        for part in parts:
            table = pyarrow.Table.from_pandas(part, preserve_index=False)
            file = file or stack.enter_context(ParquetWriter(path, table.schema))
            file.write_table(table)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
