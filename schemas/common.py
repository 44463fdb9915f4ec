"""Limits, units and types that several bodies share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)

from contracts import (
    TICKER_PATTERN,
    parse_ticker,
)

MAX_STEPS = 90
MAX_BATCH = 100
MAX_PAGE = 1000  # rows of a list in one answer
MAX_OFFSET = 1_000_000
STEPS_HELP = "Exchange sessions ahead; 30 unless configured otherwise"
MODE_HELP = "`recursive`: each step is fed back to make the next; `direct`: every step at once"
TOTAL_HELP = "How many there are in all"
NEXT_HELP = "Give it as `offset` for what follows; null: no more"
COLD_HELP = "The ticker has no model of its own yet; a base network of many tickers answers"
Row = TypeVar("Row")
Day = date  # for answers with a field of that name


def _finite_or_none(value: object) -> object:
    """JSON has no NaN: a score that could not be computed is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def part_of(rows: Sequence[Row], limit: int | None, offset: int) -> tuple[list[Row], int | None]:
    """At most `limit` rows from `offset` on (None: all of them), and the offset of what follows."""
    part = list(rows[offset:] if limit is None else rows[offset : offset + limit])
    end = offset + len(part)
    return part, end if part and end < len(rows) else None


def _absent(value: object) -> bool:
    return value is None


Score = Annotated[float | None, BeforeValidator(_finite_or_none)]
Price = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Ticker = Annotated[
    str,
    AfterValidator(parse_ticker),
    WithJsonSchema({"type": "string", "pattern": TICKER_PATTERN, "examples": ["AAPL", "BRK-B"]}),
]


class Out(BaseModel):
    """Every answer: immutable, readable from a contract's attributes."""

    model_config = ConfigDict(frozen=True, from_attributes=True)
