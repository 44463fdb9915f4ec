"""Champions made of the shipped bases on invented bars: real bundles without any training."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import pandas as pd
from builders import card, provenance

from bases import Base, shipped_bases
from config import Settings
from contracts import Span
from data_pipeline import real_shelf
from generate_synthetic_data import generate_synthetic_stock_data
from model_store import CARD, NETWORK, TEMPLATES, ModelStore, card_json
from prices.cache import Label
from recipes import find_recipe

START, AS_OF = date(2020, 1, 1), date(2026, 1, 30)
AT = datetime(2026, 1, 31, 6, tzinfo=UTC)


@cache
def bases() -> tuple[Base, ...]:
    """The shipped ones: two networks of one shape and other weights."""
    return shipped_bases(Settings(), find_recipe("panel"))


@cache
def bars() -> pd.DataFrame:
    return generate_synthetic_stock_data("AAPL", START, AS_OF)


def put_prices(settings: Settings, ticker: str = "AAPL", rows: int | None = None) -> None:
    """Bars in the cache, as if a file had been imported: all of them, or the first `rows`."""
    shown = bars() if rows is None else bars().iloc[:rows].reset_index(drop=True)
    put_bars(settings, ticker, shown)


def put_bars(settings: Settings, ticker: str, table: pd.DataFrame) -> None:
    label = Label(source="file", adjustment="split", fetched_at=AT)
    real_shelf(settings).put(ticker, table, label)


def write_bundle(settings: Settings, ticker: str = "AAPL", which: int = 0) -> Path:
    """A bundle of one of the bases, as if it had been trained for the ticker; not published."""
    base = bases()[which]
    span = Span(first=START, last=date(2023, 6, 30), rows=800)
    about = card(
        ticker=ticker,
        recipe=base.card.recipe,
        trained_through=base.card.trained_through,
        train=span,
        validation=span,
        test=span,
        data=provenance(last_session=base.card.trained_through),
        calibration=base.card.calibration,
        skill=replace(base.card.skill, rmse_ratio=0.9 + which / 100),
    )
    files = {name: base.path / name for name in (NETWORK, TEMPLATES)}
    return ModelStore(settings.models_dir).write(ticker, AT, {CARD: card_json(about), **files})


def publish(settings: Settings, version: str, which: int = 0, ticker: str = "AAPL") -> Path:
    """A bundle, and a pointer that names it."""
    folder = write_bundle(settings, ticker, which)
    ModelStore(settings.models_dir).publish(ticker, folder, version)
    return folder


def truncate(path: Path) -> bytes:
    """Leave half of a file, as a writer that was killed would; gives what was there."""
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return whole
