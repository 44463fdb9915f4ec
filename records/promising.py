"""Served forecasts as rows, and back. Writing the same forecast twice changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from contracts import LEVELS, Band, Forecast, Promise
from records.schema import KEY, PROMISED_STEPS, PROMISES

Row = dict[str, Any]
Step = tuple[Any, ...]  # in the order of
STEP_COLUMNS = tuple(column.name for column in PROMISED_STEPS.columns)
DATE = STEP_COLUMNS.index("date")


@dataclass(frozen=True, slots=True)
class Serving:
    """A forecast as it was handed out."""

    forecast: Forecast
    request_id: str
    at: datetime  # UTC


def write(connection: sa.Connection, servings: Iterable[Serving]) -> None:
    """Store what is new among some servings, in the order they were made."""
    promises: dict[tuple[Any, ...], Row] = {}
    steps: dict[tuple[Any, ...], list[Step]] = {}
    for serving in servings:
        row = _promise_row(serving)
        key = tuple(row[name] for name in KEY)
        kept = promises.setdefault(key, row)
        kept["served_at"] = max(kept["served_at"], row["served_at"])
        own = steps.setdefault(key, [])
        own += _step_rows(serving.forecast)[len(own) :]  # a longer one reaches further
    ids = _upsert(connection, list(promises.values()))
    _add_steps(connection, [(ids[key], *row) for key, own in steps.items() for row in own])


def _add_steps(connection: sa.Connection, rows: list[Step]) -> None:
    """Those that are not there yet, handed to the driver as they are.

    A batch of a hundred forecasts is three thousand rows, whose way through SQLAlchemy's types
    takes twice the time of making the forecasts.
    """
    sqlite_driver = connection.dialect.name == "sqlite"
    mark = "?" if sqlite_driver else "%s"
    names, marks = ", ".join(STEP_COLUMNS), ", ".join([mark] * len(STEP_COLUMNS))
    if sqlite_driver:  # it keeps dates as text
        rows = [(*row[:DATE], row[DATE].isoformat(), *row[DATE + 1 :]) for row in rows]
    connection.exec_driver_sql(
        f"INSERT INTO {PROMISED_STEPS.name} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING",
        rows,
    )


def _upsert(connection: sa.Connection, rows: list[Row]) -> dict[tuple[Any, ...], int]:
    """Insert promises or note when they were served again; the id of each by its key."""
    insert = _insert(connection, PROMISES)
    newest = sa.case(
        (insert.excluded.served_at > PROMISES.c.served_at, insert.excluded.served_at),
        else_=PROMISES.c.served_at,
    )
    upsert = insert.on_conflict_do_update(index_elements=KEY, set_={"served_at": newest})
    returned = (PROMISES.c.id, *(PROMISES.c[name] for name in KEY))
    found = connection.execute(upsert.returning(*returned), rows)
    return {tuple(row[1:]): row[0] for row in found}


def _insert(connection: sa.Connection, table: sa.Table) -> Any:
    """The dialect's own INSERT, which knows ON CONFLICT."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)


def _promise_row(serving: Serving) -> Row:
    forecast = serving.forecast
    model, data = forecast.model, forecast.provenance
    return {
        "ticker": forecast.ticker,
        "origin": forecast.as_of,
        "version": model.version,
        "bundle": model.bundle,
        "mode": model.mode,
        "cold_start": model.cold_start,
        "source": data.source,
        "adjustment": data.adjustment,
        "data_sha256": data.sha256,
        "currency": forecast.currency,
        "last_mid": forecast.last_mid,
        "last_close": forecast.last_close,
        "made_at": serving.at,
        "served_at": serving.at,
        "request_id": serving.request_id[:128],
    }


def _step_rows(forecast: Forecast) -> list[Step]:
    """The columns of the steps, without the promise's id."""
    steps = len(forecast.dates)
    none = (None,) * steps
    sides = [
        getattr(forecast.bands[level], side) if level in forecast.bands else none
        for level in LEVELS
        for side in ("lower", "upper")
    ]
    return list(zip(range(1, steps + 1), forecast.dates, forecast.prices, *sides, strict=True))


def read(
    connection: sa.Connection, ticker: str, first: date | None, last: date | None
) -> tuple[Promise, ...]:
    """The promises of a ticker with origins from `first` through `last`, the earliest first."""
    wanted = [PROMISES.c.ticker == ticker]
    wanted += [PROMISES.c.origin >= first] if first else []
    wanted += [PROMISES.c.origin <= last] if last else []
    heads = connection.execute(
        sa.select(PROMISES).where(*wanted).order_by(PROMISES.c.origin, PROMISES.c.id)
    )
    steps: dict[int, list[sa.RowMapping]] = {}
    chosen = (
        sa.select(PROMISED_STEPS)
        .join(PROMISES, PROMISES.c.id == PROMISED_STEPS.c.promise_id)
        .where(*wanted)
        .order_by(PROMISED_STEPS.c.promise_id, PROMISED_STEPS.c.step)
    )
    for row in connection.execute(chosen).mappings():
        steps.setdefault(row["promise_id"], []).append(row)
    return tuple(_promise(head, steps.get(head["id"], [])) for head in heads.mappings())


def _promise(head: sa.RowMapping, steps: list[sa.RowMapping]) -> Promise:
    return Promise(
        **head,
        dates=tuple(row["date"] for row in steps),
        points=tuple(row["point"] for row in steps),
        bands=_bands(steps),
    )


def _bands(steps: list[sa.RowMapping]) -> Mapping[str, Band]:
    """Levels that every step has."""
    bands = {}
    for level in LEVELS:
        lower, upper = ([row[f"{side}_{level}"] for row in steps] for side in ("lower", "upper"))
        if steps and None not in (*lower, *upper):
            bands[level] = Band(lower=tuple(lower), upper=tuple(upper))
    return bands
