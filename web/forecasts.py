"""Routes that forecast: one ticker, many, and how likely a price is."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from contracts import Answer, Forecast, ForecastingError, Probability, Refused
from schemas import (
    BatchIn,
    BatchOut,
    ForecastIn,
    ForecastOut,
    ProbabilityIn,
    ProbabilityOut,
    part_of,
)
from web.dependencies import (
    Desk,
    PartsDep,
)
from web.problems import may_answer, problem_of

FRESH = "private, max-age=5"  # a promotion or a new price shows within seconds anyway
QUESTIONS = 4096  # query strings whose meaning is remembered

Asked = tuple[str, int, bool]  # ticker, steps, smoothing


class AtHandRoute(APIRoute):
    """Answers from memory, before anything is parsed, what has been asked in the same words.

    Only a query string that has passed validation is remembered, with what it meant.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The usual handler behind a look into memory."""
        usual = super().get_route_handler()

        async def handler(request: Request) -> Response:
            meant = request.app.state.questions.get(request.scope["query_string"])
            if meant is not None:
                asked, strict = meant
                if (answer := request.app.state.desk.at_hand(*asked)) is not None:
                    return sent(request, answer, strict)
            return await usual(request)

        return handler


router = APIRouter(tags=["forecasts"])
remembering = APIRouter(route_class=AtHandRoute)

UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "The forecast still has the ETag given as If-None-Match: no body"}
}


@remembering.get(
    "/predict",
    summary="Forecast one ticker",
    response_model=ForecastOut,
    responses={**may_answer(404, 409, 422, 503), **UNCHANGED},
)
async def predict(
    request: Request, question: Annotated[ForecastIn, Query()], parts: PartsDep
) -> Response:
    """The next mid-prices of one ticker, with a band around each and the model's honest skill."""
    asked = (question.ticker, question.steps or parts.default_steps, question.smoothing)
    if (answer := parts.desk.at_hand(*asked)) is None:
        request_id: str = getattr(request.state, "request_id", "")
        answer = await parts.work.run(asked, partial(parts.desk.answer, *asked, request_id))
    _remember(request, asked, question.strict)
    return sent(request, answer, question.strict)


router.include_router(remembering)


@router.post(
    "/predict/batch",
    summary="Forecast many tickers",
    response_model=BatchOut,
    responses=may_answer(400, 422, 503),
)
async def predict_batch(request: Request, body: BatchIn, parts: PartsDep) -> Response:
    """Forecasts of 1 to 100 tickers; one that fails has its problem and does not stop the rest.

    Without `tickers`, of every one there is, `limit` at a time from `offset` on.
    """
    steps = body.steps or parts.default_steps
    request_id: str = getattr(request.state, "request_id", "")
    make = partial(_batch, parts.desk, body, steps, request_id)
    return Response(await parts.work.run(object(), make), media_type="application/json")


@router.get(
    "/probability", summary="How likely is a price", responses=may_answer(404, 409, 422, 503)
)
async def probability(asked: Annotated[ProbabilityIn, Query()], parts: PartsDep) -> ProbabilityOut:
    """The chance that the mid-price ends `above` or `below` a price, or comes to `touch` it.

    Give exactly one of the three. `above` and `below` concern the mid-price of the last session
    only; `touch` is met when that of any session up to it reaches the level.
    """
    question = (asked.ticker, asked.steps or parts.default_steps, *asked.question())
    found = await parts.work.run(question, partial(parts.desk.probability, *question))
    _check(found, asked.strict)
    return ProbabilityOut.of(found)


def sent(request: Request, answer: Answer, strict: bool) -> Response:
    """The bytes of an answer, or 304 for whoever has them.

    Raises:
        Refused: a strict request, and the answer carries warnings.
    """
    _check(answer.forecast, strict)
    headers = {"etag": answer.etag, "cache-control": FRESH}
    held = request.headers.get("if-none-match")
    if held is not None and (held.strip() == "*" or answer.etag in held):
        return Response(status_code=304, headers=headers)
    return Response(answer.body, media_type="application/json", headers=headers)


def _remember(request: Request, asked: Asked, strict: bool) -> None:
    """What these words mean; of too many different ones all are forgotten."""
    questions: dict[bytes, tuple[Asked, bool]] = request.app.state.questions
    if len(questions) >= QUESTIONS:
        questions.clear()
    questions[request.scope["query_string"]] = (asked, strict)


def _check(said: Forecast | Probability, strict: bool) -> None:
    if strict and said.warnings:
        raise Refused(said.ticker, said.warnings)


def _batch(desk: Desk, body: BatchIn, steps: int, request_id: str) -> bytes:
    """`BatchOut` made of the bytes that each answer has already."""
    asked = desk.tickers() if body.tickers is None else body.tickers
    page, more = part_of(asked, body.limit, body.offset)
    found = desk.answers(page, steps, body.smoothing, request_id)
    predictions: list[bytes] = []
    errors: list[bytes] = []
    for ticker in page:
        said, name = found[ticker], f'"{ticker}":'.encode()  # a symbol needs no escape
        try:
            if isinstance(said, ForecastingError):
                raise said
            _check(said.forecast, body.strict)
            predictions += (b",", name, said.body)
        except ForecastingError as error:
            errors += (b",", name, problem_of(error).model_dump_json().encode())
    counts = f'}},"total":{len(asked)},"next_offset":{"null" if more is None else more}}}'.encode()
    # one copy of half a megabyte, not three; both begin with a comma too many
    parts = (b'{"predictions":{', *predictions[1:], b'},"errors":{', *errors[1:], counts)
    return b"".join(parts)
