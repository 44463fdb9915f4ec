"""Every error as one problem document (RFC 9457), and what a client may know of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from contracts import ForecastingError, Refused
from schemas import FieldProblem, ProblemOut
from web.visits import VISIT

logger = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER = "30"  # seconds; a champion or a price source rarely comes back sooner

# One row per failure we can explain; test_app.py fails when a new error has no row.
STATUS_OF = {
    "unknown_ticker": 404,
    "no_drift_check": 404,
    "no_scores": 404,
    "unknown_run": 404,
    "unknown_report": 404,
    "may_not_operate": 403,
    "invalid_ticker": 422,
    "unknown_recipe": 422,
    "refused_version": 409,
    "refused": 409,
    "overloaded": 503,
    "deadline_exceeded": 503,
    "no_champion": 503,
    "no_base": 503,
    "not_enough_history": 503,
    "model_from_the_future": 503,
    "source_unavailable": 503,
    "bad_prices": 503,
    "bad_bundle": 503,
    "tracking_unavailable": 503,
    "log_unavailable": 503,
    "lease_taken": 503,
    "lease_lost": 503,
    "service_unavailable": 503,
    "export_mismatch": 503,
    "backup_failed": 503,
    "engine_unavailable": 503,
    "bad_settings": 503,
}

# Their own text may name files, addresses or passwords; it goes to the log instead.
FIXED_DETAIL = {
    "source_unavailable": "No source of prices can answer for this ticker now; try again later.",
    "bad_prices": "The stored prices of this ticker cannot be trusted; the service's log says why.",
    "bad_bundle": "The model of this ticker is incomplete or altered and was not loaded; train it "
    "again. The service's log says more.",
    "refused_version": "That version may not become champion; the service's log says why.",
    "tracking_unavailable": "The tracking server does not answer; try again later.",
    "log_unavailable": "The database of served forecasts does not answer; try again later.",
    "lease_taken": "Another process is at this work; try again later.",
    "lease_lost": "Another process has taken over this work; try again later.",
    "service_unavailable": "A service that this one needs does not answer; try again later.",
    "backup_failed": "A backup could not be made or restored; the service's log says why.",
    "engine_unavailable": "The engine of large jobs does not answer; the service's log says why.",
    "export_mismatch": "The model of this ticker could not be exported faithfully; train it again.",
    "bad_settings": "The service is not configured correctly; its log says which setting.",
}


def problem_of(error: ForecastingError) -> ProblemOut:
    """What a client may know about an error; the rest is logged."""
    if error.code in FIXED_DETAIL:
        logger.warning("problem=%s text=%s", error.code, error)
    detail = FIXED_DETAIL.get(error.code, str(error))
    document = problem(STATUS_OF[error.code], error.code, detail)
    if isinstance(error, Refused):
        codes = [warning.code for warning in error.warnings]
        document = document.model_copy(update={"warnings": codes})
    return document


def problem(status: int, code: str, detail: str) -> ProblemOut:
    """A problem document without extensions."""
    title = code.replace("_", " ").capitalize()
    return ProblemOut(type=f"/problems/{code}", title=title, status=status, detail=detail)


def respond(document: ProblemOut, headers: Mapping[str, str] | None = None) -> Response:
    """The document as an HTTP answer, with its request's id; every 503 says when to come back."""
    visit = VISIT.get()
    if visit:
        visit.problem = document.type.rpartition("/")[2]
        document = document.model_copy(update={"request_id": visit.request_id})
    retry = {"Retry-After": RETRY_AFTER} if document.status == 503 else {}
    return Response(
        document.model_dump_json(),
        status_code=document.status,
        media_type=PROBLEM_TYPE,
        headers={**retry, **(headers or {})},
    )


_PROBLEM_CONTENT = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}


def may_answer(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI rows for problems. `content` only: `model=` would also promise application/json."""
    return {
        status: {"description": HTTPStatus(status).phrase, "content": _PROBLEM_CONTENT}
        for status in (*statuses, 500)
    }


def explain(_: Request, error: ForecastingError) -> Response:
    """A failure we can explain."""
    return respond(problem_of(error))


def explain_request(_: Request, error: RequestValidationError) -> Response:
    """A request that does not fit the schema; what was sent is not repeated."""
    errors = [FieldProblem(loc=list(row["loc"]), msg=row["msg"]) for row in error.errors()]
    detail = "; ".join(f"{_name(row.loc)}: {row.msg}" for row in errors)
    document = problem(422, "invalid_request", detail)
    return respond(document.model_copy(update={"errors": errors}))


def _name(loc: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in loc[1:]) or str(loc[0])


def explain_http(request: Request, error: HTTPException) -> Response:
    """An unknown route, a wrong method."""
    headers = error.headers
    if error.status_code == 405 and (methods := _methods_at(request)):
        headers = {**(headers or {}), "Allow": ", ".join(methods)}
    status = HTTPStatus(error.status_code)
    code = status.name.lower()
    document = problem(status, code, f"{status.phrase}: {status.description or error.detail}")
    return respond(document, headers)


def _methods_at(request: Request) -> list[str]:
    """Every method documented for this path; Starlette names those of one route only."""
    paths = request.app.openapi()["paths"]
    asked = request.url.path
    fitting = [ways for form, ways in paths.items() if compile_path(form)[0].match(asked)]
    return sorted({method.upper() for ways in fitting for method in ways})


def crash() -> Response:
    """A bug: fixed text out; the server logs the traceback."""
    detail = "The service failed unexpectedly; its log says why."
    return respond(problem(500, "internal_error", detail))


def explain_crash(_: Request, _error: Exception) -> Response:
    """A bug outside of the door, which answers for those inside."""
    return crash()


def explain_all(app: FastAPI) -> None:
    """Let an application answer every failure with a problem document."""
    app.exception_handler(ForecastingError)(explain)
    app.exception_handler(RequestValidationError)(explain_request)
    app.exception_handler(HTTPException)(explain_http)
    app.exception_handler(Exception)(explain_crash)
