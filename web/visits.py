"""One request as the door sees it: its id, who asks, what became of it. Knows no rule."""

from __future__ import annotations

import itertools
import secrets
from contextvars import ContextVar
from time import perf_counter

from starlette.types import Scope

MAX_ID = 64
_ID_BYTES = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:"


class RequestIds:
    """Numbers requests; one's own id is kept where it could not harm a log or a header."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6)  # tells processes apart; an id is no secret
        self._count = itertools.count(1)

    def of(self, given: bytes | None) -> str:
        """The client's id if it is 1 to 64 letters, digits, `-_.:`; else a new one."""
        if given and len(given) <= MAX_ID and not given.translate(None, _ID_BYTES):
            return given.decode("ascii")
        return f"{self._prefix}-{next(self._count):08x}"


class Visit:
    """One request. The door writes it; routes, problems and log lines read it."""

    __slots__ = ("caller", "headers", "problem", "request_id", "scope", "started", "status")

    def __init__(self, scope: Scope, headers: dict[bytes, bytes], request_id: str) -> None:
        self.scope = scope
        self.headers = headers  # of a header sent twice the last value
        self.request_id = request_id
        self.started = perf_counter()
        self.status = 0  # until an answer has begun
        self.problem = ""  # code of the problem document answered, if one was
        self.caller: Caller | None = None

    @property
    def route(self) -> str:
        """The template that matched, such as `/models/{ticker}`; never what a client typed."""
        return getattr(self.scope.get("route"), "path", "(none)")

    @property
    def milliseconds(self) -> float:
        """Since the request's headers were read."""
        return (perf_counter() - self.started) * 1000


class Caller:
    """Whose key came with a request, and whether it may operate."""

    __slots__ = ("may_operate", "name")

    def __init__(self, name: str, may_operate: bool) -> None:
        self.name = name
        self.may_operate = may_operate


VISIT: ContextVar[Visit | None] = ContextVar("visit", default=None)


def request_id() -> str:
    """Id of the request being answered here; empty outside of one."""
    visit = VISIT.get()
    return visit.request_id if visit else ""
