"""Limits, units and types that several bodies share."""

from __future__ import annotations

import math
from datetime import date
from typing import Annotated

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
STEPS_HELP = "Exchange sessions ahead; 30 unless configured otherwise"
MODE_HELP = "`recursive`: each step is fed back to make the next; `direct`: every step at once"
COLD_HELP = "The ticker has no model of its own yet; a base network of many tickers answers"
Day = date  # for answers with a field of that name


def _finite_or_none(value: object) -> object:
    """JSON has no NaN: a score that could not be computed is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
