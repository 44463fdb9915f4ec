"""Routes about what watching the served models found."""

from __future__ import annotations

from fastapi import APIRouter

from schemas import DriftOut
from web.dependencies import DeskDep, TickerPath
from web.problems import may_answer

router = APIRouter()


@router.get(
    "/drift/{ticker}", summary="The latest drift check", responses=may_answer(404, 422, 503)
)
def drift(ticker: TickerPath, desk: DeskDep) -> DriftOut:
    """Whether today's prices still look like those the model learnt from."""
    return DriftOut.of(desk.drift(ticker))
