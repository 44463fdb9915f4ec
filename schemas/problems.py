"""Errors as RFC 9457 describes them."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from schemas.common import Out, _absent


class FieldProblem(Out):
    """What is wrong with one part of a request."""

    loc: list[str | int] = Field(description="Where: query, path or body, then the name")
    msg: str


class ProblemOut(Out):
    """An error as RFC 9457 describes it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "/problems/unknown_ticker",
                "title": "Unknown ticker",
                "status": 404,
                "detail": "ZZZZ has neither a trained model nor prices here",
            }
        }
    )

    type: str = Field(description="Stable name of the kind of problem, `/problems/<code>`")
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to do next")
    request_id: str | None = Field(
        default=None,
        exclude_if=_absent,
        description="As in the header X-Request-ID and in the service's log",
    )
    errors: list[FieldProblem] | None = Field(
        default=None,
        exclude_if=_absent,
        description="Invalid requests only: one entry per invalid part",
    )
    tickers: dict[str, str | None] | None = Field(
        default=None,
        exclude_if=_absent,
        description="`/ready` only: by ticker, why it cannot answer; null when it can",
    )
    warnings: list[str] | None = Field(
        default=None,
        exclude_if=_absent,
        description="`refused` only: the codes of the warnings that the answer carries",
    )
