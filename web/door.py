"""The door: one plain ASGI middleware that every request passes, in and out.

One layer instead of ten: each costs a call, a closure and two awaits per request, and the answer
itself takes some hundred microseconds. The rules live beside it, each in a module of its own.
"""

from __future__ import annotations

import asyncio

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config import Settings
from web.addresses import ClientAddresses
from web.compression import Packed, Packing, accepts_gzip
from web.deadlines import Deadlines
from web.guard import ALWAYS, OVERLOADED, Crowd, Guard, Refusal, has_body, replaying
from web.headers import Cors, FixedHeaders, Pairs
from web.keys import Keys
from web.limits import RateLimits
from web.metrics import Metrics
from web.problems import crash, problem, respond
from web.request_logs import access, log_access
from web.tracing import open_tracing
from web.visits import VISIT, RequestIds, Visit

_INFO = 20
SLOW = Refusal(
    503,
    "deadline_exceeded",
    "The answer took longer than allowed; try again.",
    {"Retry-After": "5"},
)


STRANGE_ORIGIN = Refusal(
    400, "origin_not_allowed", "Pages of this origin may not ask; see STOCK_CORS_ORIGINS."
)


class DoorRules:
    """The rules of one service, as its settings have them."""

    def __init__(self, settings: Settings) -> None:
        """Raises BadSettings where a key, a proxy or a store cannot be understood."""
        self.ids = RequestIds()
        self.guard = Guard(settings)
        self.crowd = Crowd(settings)
        self.keys = Keys(settings)
        self.limits = RateLimits(settings)
        self.addresses = ClientAddresses(settings.trusted_proxies)
        self.cors = Cors(settings) if settings.cors_origins else None
        self.fixed = FixedHeaders(settings)
        self.packed = Packed(settings.gzip_from_bytes) if settings.gzip_from_bytes else None
        self.seconds = settings.request_seconds
        self.deadlines = Deadlines(self.seconds)
        self.metrics = Metrics(self.crowd)
        self.tracing = open_tracing(settings)

    async def close(self) -> None:
        """Leave Redis and send the last spans."""
        await self.limits.close()
        if self.tracing:
            await asyncio.to_thread(self.tracing.close)


class Door:
    """Middleware: judges a request, lets it in, and sees its answer out."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        rules: DoorRules = scope["app"].state.door
        headers = dict(scope["headers"])
        visit = Visit(scope, headers, rules.ids.of(headers.get(b"x-request-id")))
        state = scope.setdefault("state", {})
        state["request_id"], state["visit"] = visit.request_id, visit
        VISIT.set(visit)
        answer = Answer(send, visit, rules)
        try:
            await self._admit(rules, visit, receive, answer)
        finally:
            del state["visit"]  # it knows the scope: a circle that only the collector could free
            rules.metrics.count(visit, visit.milliseconds / 1000)
            if access.isEnabledFor(_INFO):
                log_access(visit)

    async def _admit(
        self, rules: DoorRules, visit: Visit, receive: Receive, answer: Answer
    ) -> None:
        """Refuse, or give it a place inside and answer it there."""
        refusal = rules.guard.refusal(visit.scope, visit.headers)
        if refusal is None and rules.cors and _is_preflight(visit):
            await answer.preflight(rules.cors.preflight(visit.headers.get(b"origin", b"")))
            return
        if refusal is None and (rules.keys or rules.limits):
            refusal = await _judge_caller(rules, visit, answer)
        if refusal is None and has_body(visit.headers):
            body = await rules.guard.body(receive, rules.seconds)
            if body is None:
                return
            if isinstance(body, Refusal):
                refusal = body
            else:
                receive = replaying(body, receive)
        place = None if refusal else rules.crowd.enter(visit.scope["path"])
        if place is None:
            await answer.refuse(refusal or OVERLOADED)
            return
        try:
            if rules.tracing:
                with rules.tracing.span(visit):
                    await self._answer(rules, visit, receive, answer)
            else:
                await self._answer(rules, visit, receive, answer)
        finally:
            rules.crowd.leave(place)

    async def _answer(
        self, rules: DoorRules, visit: Visit, receive: Receive, answer: Answer
    ) -> None:
        """The routes' answer, within the deadline; a stream has none."""
        streams = visit.scope["path"].startswith("/stream/")
        task = None if streams else rules.deadlines.watch(visit.started)
        try:
            await self.app(visit.scope, receive, answer)
        except asyncio.CancelledError:
            if not rules.deadlines.is_overdue(task) or visit.status:
                raise
            await answer.refuse(SLOW)
        except Exception:
            if not visit.status:
                await answer.give(crash())
            raise  # the server logs it
        finally:
            rules.deadlines.leave(task)


async def _judge_caller(rules: DoorRules, visit: Visit, answer: Answer) -> Refusal | None:
    """Whether somebody may ask, and may ask again already."""
    refusal = None
    if rules.keys:
        admitted = rules.keys.admit(visit.scope["path"], visit.headers)
        if isinstance(admitted, Refusal):
            refusal = admitted
        else:
            visit.caller = admitted
    if rules.limits and visit.scope["path"] not in ALWAYS:
        name = visit.caller.name if visit.caller else None
        address = rules.addresses.of(visit.scope, visit.headers)
        too_often, answer.more = await rules.limits.count(name, address)
        refusal = too_often or refusal  # who guesses keys is slowed down, too
    return refusal


def _is_preflight(visit: Visit) -> bool:
    return visit.scope["method"] == "OPTIONS" and b"access-control-request-method" in visit.headers


class Answer:
    """Stands before `send`: adds what every answer carries, and notes what was answered."""

    def __init__(self, send: Send, visit: Visit, rules: DoorRules) -> None:
        headers = visit.headers
        packs = rules.packed and accepts_gzip(headers.get(b"accept-encoding", b""))
        self._send = Packing(send, rules.packed) if packs and rules.packed else send
        self._visit = visit
        self._rules = rules
        self.more: Pairs = []

    async def __call__(self, message: Message) -> None:
        """Pass a message of the routes on."""
        if message["type"] == "http.response.start":
            visit, rules = self._visit, self._rules
            visit.status = message["status"]
            headers = [
                *message.get("headers", ()),  # a new list: a cached answer keeps its own
                (b"x-request-id", visit.request_id.encode("ascii")),
                *rules.fixed.of(visit.scope["path"]),
                *self.more,
            ]
            if rules.cors:
                headers += rules.cors.of(visit.headers.get(b"origin"))
            message = {**message, "headers": headers}
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Answer instead of the routes."""
        document = problem(refusal.status, refusal.code, refusal.detail)
        await self.give(respond(document, refusal.headers))

    async def preflight(self, allowed: Pairs | None) -> None:
        """Tell a browser whether a page of another origin may ask."""
        if allowed is None:
            await self.refuse(STRANGE_ORIGIN)
            return
        response = Response(status_code=204)
        response.raw_headers += allowed
        await self.give(response)

    async def give(self, response: Response) -> None:
        """Send a whole answer of our own."""
        await response(self._visit.scope, _nothing, self)


async def _nothing() -> Message:
    raise RuntimeError("an answer of the door reads no body")
