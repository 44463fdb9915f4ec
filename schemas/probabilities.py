"""Bodies of questions how likely a price is, and of their answers."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from answers import probability_answer
from contracts import Event, Mode, Probability
from schemas.common import COLD_HELP, MAX_STEPS, MODE_HELP, STEPS_HELP, Day, Out, Price, Ticker
from schemas.forecasts import EXAMPLE, WARNINGS_HELP, DataOut, IdentityOut, SkillOut, WarningOut

IT = "this price? Give exactly one of `above`, `below` and `touch`"


class ProbabilityIn(BaseModel):
    """What a probability is asked about: one ticker, one session, one event at one price."""

    model_config = ConfigDict(frozen=True)

    ticker: Ticker = Field(description="Symbol as Yahoo writes it")
    steps: int | None = Field(default=None, ge=1, le=MAX_STEPS, description=STEPS_HELP)
    above: Price | None = Field(default=None, description=f"Is the last session's mid above {IT}")
    below: Price | None = Field(default=None, description=f"Is the last session's mid below {IT}")
    touch: Price | None = Field(
        default=None,
        description=f"Does the mid of any session up to the last one reach, from either side, {IT}",
    )

    strict: bool = Field(
        default=False, description="409 instead of an answer that carries warnings"
    )

    @model_validator(mode="after")
    def _one_event(self) -> Self:
        if len(self._given()) != 1:
            raise PydanticCustomError("one_of", "give exactly one of above, below and touch")
        return self

    def question(self) -> tuple[Event, float]:
        """The event and its level, in the listing currency."""
        return self._given()[0]

    def _given(self) -> list[tuple[Event, float]]:
        asked: dict[Event, float | None] = {
            "above": self.above,
            "below": self.below,
            "touch": self.touch,
        }
        return [(event, level) for event, level in asked.items() if level is not None]


PROBABILITY_EXAMPLE: JsonDict = {
    "ticker": "AAPL",
    "currency": "USD",
    "as_of": "2025-12-31",
    "date": "2026-02-13",
    "steps": 30,
    "event": "above",
    "level": 300.0,
    "probability": 0.137,
    "paths": 10000,
    "last_actual_price": 272.72,
    "last_close": 271.86,
    "mode": "direct",
    "cold_start": False,
    "data": EXAMPLE["data"],
    "model": EXAMPLE["model"],
    "skill": EXAMPLE["skill"],
    "warnings": [],
}


class ProbabilityOut(Out):
    """How likely the mid-price, (high + low) / 2, of one ticker does something."""

    model_config = ConfigDict(json_schema_extra={"example": PROBABILITY_EXAMPLE})

    ticker: str
    currency: str
    as_of: Day = Field(description="Last session the model saw")
    date: Day = Field(description="The exchange session `steps` after `as_of`")
    steps: int = Field(description="Exchange sessions ahead")
    event: Event = Field(
        description="`above`, `below`: the mid-price of the session `date` alone; `touch`: that of "
        "any session up to `date` reaches the level"
    )
    level: float = Field(description="The price asked about, in `currency`")
    probability: float = Field(gt=0, lt=1, description="Share of the paths on which it happens")
    paths: int = Field(description="Joint sample paths it was counted over")
    last_actual_price: float = Field(description="Last known mid-price, in `currency`")
    last_close: float = Field(description="Last known close, in `currency`")
    mode: Mode = Field(description=MODE_HELP)
    cold_start: bool = Field(description=COLD_HELP)
    data: DataOut
    model: IdentityOut
    skill: SkillOut
    warnings: list[WarningOut] = Field(description=WARNINGS_HELP)

    @classmethod
    def of(cls, probability: Probability) -> Self:
        """The answer to one question."""
        return cls.model_validate(probability_answer(probability))
