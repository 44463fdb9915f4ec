"""The shape, unit and meaning of every HTTP body, shared by the API and its client.

Knows contracts and pydantic; no HTTP, no settings, no file.
"""

from schemas.common import (
    COLD_HELP,
    MAX_BATCH,
    MAX_STEPS,
    MODE_HELP,
    STEPS_HELP,
    Day,
    Out,
    Price,
    Score,
    Ticker,
)
from schemas.forecasts import (
    EXAMPLE,
    IT,
    PROBABILITY_EXAMPLE,
    BandOut,
    BatchIn,
    BatchOut,
    DataOut,
    ForecastOut,
    IdentityOut,
    ProbabilityIn,
    ProbabilityOut,
    SkillOut,
)
from schemas.models import BaseOut, CalibrationOut, CardOut, ModelOut, SpanOut
from schemas.problems import FieldProblem, ProblemOut
from schemas.promises import LiveScoresOut, PerformanceOut, PerformanceRowOut
from schemas.service import HealthOut, ReadyOut, ServiceOut, TickersOut
from schemas.watching import CheckedSessionOut, DriftOut, FeatureDriftOut

__all__ = [
    "BandOut",
    "BaseOut",
    "BatchIn",
    "BatchOut",
    "COLD_HELP",
    "CalibrationOut",
    "CardOut",
    "DataOut",
    "Day",
    "CheckedSessionOut",
    "DriftOut",
    "EXAMPLE",
    "FeatureDriftOut",
    "FieldProblem",
    "ForecastOut",
    "HealthOut",
    "IT",
    "IdentityOut",
    "LiveScoresOut",
    "MAX_BATCH",
    "MAX_STEPS",
    "MODE_HELP",
    "ModelOut",
    "Out",
    "PROBABILITY_EXAMPLE",
    "PerformanceOut",
    "PerformanceRowOut",
    "Price",
    "ProbabilityIn",
    "ProbabilityOut",
    "ProblemOut",
    "ReadyOut",
    "STEPS_HELP",
    "Score",
    "ServiceOut",
    "SkillOut",
    "SpanOut",
    "Ticker",
    "TickersOut",
]
