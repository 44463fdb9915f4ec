"""What is refused before any route runs: strange hosts, long addresses, large bodies, crowds.

Decides from the request's head alone and keeps no secret; keys and rates are judged elsewhere.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import chain
from urllib.parse import unquote_plus

from starlette.types import Message, Receive, Scope

from config import Settings

MAX_ADDRESS = 4096  # bytes of path and query; the longest sensible question has some 150
MAX_HEADERS = 16_384  # bytes of all header names and values
ALWAYS = frozenset({"/health", "/ready", "/metrics"})  # answered in a crowd, too
LISTS = frozenset({"tickers"})  # query parameters that may be given more than once
BRIEFLY = {"Retry-After": "1"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer instead of a route's."""

    status: int
    code: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)


LONG_ADDRESS = Refusal(414, "address_too_long", f"The address may have {MAX_ADDRESS} bytes.")
LONG_HEAD = Refusal(431, "headers_too_large", f"All headers may have {MAX_HEADERS} bytes.")
SLOW_BODY = Refusal(408, "body_too_slow", "The body did not arrive in time; send it again.")
BAD_HOST = Refusal(
    400,
    "untrusted_host",
    "The Host header names a host that this service does not answer for; its operator can add it "
    "to STOCK_ALLOWED_HOSTS.",
)
TWICE = Refusal(
    422, "invalid_request", "A query parameter is given more than once; give each of them once."
)
OVERLOADED = Refusal(
    503, "overloaded", "As many requests as allowed are being answered; try again.", BRIEFLY
)


class Guard:
    """The rules of one service, and the hosts it has judged."""

    def __init__(self, settings: Settings) -> None:
        self._hosts = _Hosts(settings.allowed_hosts)
        self._max_body = settings.max_body_bytes
        self._large = Refusal(
            413, "body_too_large", f"The body may have {self._max_body} bytes; ask in parts."
        )

    def refusal(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Refusal | None:
        """Why this request is not even looked at; None where nothing is wrong with its head."""
        if not self._hosts.trusts(headers.get(b"host", b"")):
            return BAD_HOST
        if len(scope["path"]) + len(scope["query_string"]) > MAX_ADDRESS:
            return LONG_ADDRESS
        if sum(map(len, chain.from_iterable(scope["headers"]))) > MAX_HEADERS:
            return LONG_HEAD
        length = headers.get(b"content-length")
        if length and (not length.isdigit() or int(length[:20]) > self._max_body):
            return self._large
        if scope["path"] not in ALWAYS and repeats_itself(scope["query_string"]):
            return TWICE
        return None

    async def body(self, receive: Receive, seconds: float) -> bytes | Refusal | None:
        """A request's whole body; None from a client that has left.

        Read before the request takes a place inside: a client that sends a byte a second then
        holds nothing but its own connection.
        """
        pieces, size = [], 0
        try:
            async with asyncio.timeout(seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    pieces.append(message.get("body", b""))
                    size += len(pieces[-1])
                    if size > self._max_body:
                        return self._large
                    if not message.get("more_body"):
                        return b"".join(pieces)
        except TimeoutError:
            return SLOW_BODY


def replaying(body: bytes, receive: Receive) -> Receive:
    """Gives a body that has been read, then whatever else comes."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        """The body at first."""
        return messages.pop() if messages else await receive()

    return replay


def repeats_itself(query: bytes) -> bool:
    """Whether a parameter of one value is given twice: readers disagree which of them counts."""
    parts = query.split(b"&") if b"&" in query else ()
    names = [unquote_plus(part.partition(b"=")[0].decode("latin-1")) for part in parts if part]
    single = [name for name in names if name not in LISTS]
    return len(set(single)) < len(single)


def has_body(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request's head announces a body."""
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"


class _Hosts:
    """Which Host headers are ours.

    A page on another site can have its own name resolve to our address (DNS rebinding), so a name
    that a public DNS could serve must be listed. Addresses and names without a dot it cannot.
    """

    def __init__(self, listed: Iterable[str]) -> None:
        self._listed = {name.lower() for name in (*listed, socket.gethostname())}
        self._judged: dict[bytes, bool] = {}

    def trusts(self, host: bytes) -> bool:
        """One look-up for a host that was seen before."""
        known = self._judged.get(host)
        if known is None:
            if len(self._judged) >= 1024:  # a client that invents names must not fill the memory
                self._judged.clear()
            known = self._judged[host] = self._judge(host.decode("latin-1").lower())
        return known

    def _judge(self, host: str) -> bool:
        name = _without_port(host)
        if "*" in self._listed or name in self._listed or host in self._listed:
            return True
        if "." not in name and ":" not in name:
            return all(c.isalnum() or c in "-_" for c in name)
        if name.endswith(".localhost"):
            return True
        try:
            ip_address(name)
        except ValueError:
            return any(name.endswith(f".{end[2:]}") for end in self._listed if end[:2] == "*.")
        return True


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() else host


class Crowd:
    """How many requests, and how many streams that stay open, are being answered."""

    def __init__(self, settings: Settings) -> None:
        self.limits = (settings.max_in_flight, settings.max_streams)
        self.inside = [0, 0]

    def enter(self, path: str) -> int | None:
        """A place to give back by `leave`; None where every place is taken.

        A stream holds its place for hours, so streams have places of their own.
        """
        kind = 1 if path.startswith("/stream/") else 0
        if self.inside[kind] >= self.limits[kind] and path not in ALWAYS:
            return None
        self.inside[kind] += 1
        return kind

    def leave(self, kind: int) -> None:
        """Give a place back."""
        self.inside[kind] -= 1
