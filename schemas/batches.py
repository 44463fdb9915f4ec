"""Bodies of forecasts of many tickers."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from schemas.common import MAX_BATCH, MAX_OFFSET, MAX_STEPS, NEXT_HELP, TOTAL_HELP, Out, Ticker
from schemas.forecasts import EXAMPLE, ForecastOut
from schemas.problems import ProblemOut


def _whole(value: object) -> object:
    """To JSON, 3.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = BeforeValidator(_whole)


class BatchIn(BaseModel):
    """Several tickers at once, or every one there is, a page at a time."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={
            "example": {"tickers": ["AAPL", "MSFT"], "steps": 30, "smoothing": True}
        },
    )

    tickers: list[Ticker] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_BATCH,
        json_schema_extra={"uniqueItems": True},
        description="Every ticker that `/tickers` lists, in its order, where none is given",
    )
    steps: Annotated[int | None, Whole] = Field(
        default=None,
        ge=1,
        le=MAX_STEPS,
        description="Exchange sessions ahead; 30 unless configured",
    )
    smoothing: bool = Field(default=True, description="Add an exponential moving average")
    strict: bool = Field(
        default=False, description="A problem instead of a prediction that carries warnings"
    )
    limit: Annotated[int, Whole] = Field(
        default=MAX_BATCH, ge=1, le=MAX_BATCH, description="Tickers answered for at most"
    )
    offset: Annotated[int, Whole] = Field(
        default=0, ge=0, le=MAX_OFFSET, description="Tickers passed over"
    )

    @field_validator("tickers")
    @classmethod
    def _unique(cls, value: list[str] | None) -> list[str] | None:
        if value is None:
            return None
        if twice := sorted({ticker for ticker in value if value.count(ticker) > 1}):
            raise ValueError(f"every ticker once, please; given twice: {', '.join(twice)}")
        return value


class BatchOut(Out):
    """Every ticker of the page is in exactly one of the two."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "predictions": {"AAPL": EXAMPLE},
                "errors": {},
                "total": 1,
                "next_offset": None,
            }
        }
    )

    predictions: dict[str, ForecastOut]
    errors: dict[str, ProblemOut]
    total: int = Field(description=f"{TOTAL_HELP}: tickers")
    next_offset: int | None = Field(description=NEXT_HELP)
