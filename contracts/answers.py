"""A forecast as it is sent."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from contracts.forecasts import Forecast

OBJECT_SHARE = 4  # a forecast in memory with its text takes some four times the text's length


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A forecast and the very bytes that say so."""

    forecast: Forecast
    body: bytes  # JSON in UTF-8
    etag: str  # strong, quoted

    @classmethod
    def of(cls, forecast: Forecast, body: bytes) -> Answer:
        """With the tag that these bytes have in every process."""
        return cls(forecast, body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')

    @property
    def size(self) -> int:
        """Bytes it takes in memory, roughly."""
        return OBJECT_SHARE * len(self.body)
