"""Answers in gzip, level 1, for who accepts it: once per body that is served again and again."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from typing import Any

from starlette.types import Message, Send

_GZIP = 16 + zlib.MAX_WBITS
_PACKABLE = (
    *(b"application/json", b"application/problem+json", b"text/html", b"text/plain"),
    *(b"text/css", b"text/javascript"),
)
MOST_PACKED = 256  # bodies kept packed
LONGEST_KEPT = 65_536  # bytes of a body worth keeping


class Packed:
    """Packs whole bodies, and keeps those that carry an ETag and so will be asked for again.

    A bytes object remembers its own hash, so a body that a cache serves is found at once.
    """

    def __init__(self, least: int) -> None:
        self.least = least  # bytes; below, packing costs more than it saves
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()

    def pack(self, body: bytes, keep: bool) -> bytes:
        """The body in gzip."""
        if not keep or len(body) > LONGEST_KEPT:
            return _pack(body)
        packed = self._kept.get(body)
        if packed is None:
            packed = self._kept[body] = _pack(body)
            if len(self._kept) > MOST_PACKED:
                self._kept.popitem(last=False)
        return packed


def _pack(body: bytes) -> bytes:
    worker = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    return worker.compress(body) + worker.flush()


def accepts_gzip(header: bytes) -> bool:
    """Whether an Accept-Encoding wants it: named, and not with q=0."""
    if b"gzip" not in header:
        return False
    for part in header.split(b","):
        name, _, q = part.partition(b";")
        if name.strip() == b"gzip":
            return q.replace(b" ", b"").rstrip(b"0.") != b"q="
    return False


class Packing:
    """Stands before `send` for one answer: holds its start back until its first body is known."""

    def __init__(self, send: Send, packed: Packed) -> None:
        self._send = send
        self._packed = packed
        self._start: Message | None = None
        self._worker: Any = None

    async def __call__(self, message: Message) -> None:
        """Pass a message on, packed where that is worth it."""
        if message["type"] == "http.response.start":
            if message["status"] == 200 and _is_packable(message["headers"]):
                self._start = message
                return
        elif self._start is not None:
            message = await self._first_body(self._start, message)
        elif self._worker is not None:
            message = self._next_body(message)
        await self._send(message)

    async def _first_body(self, start: Message, message: Message) -> Message:
        self._start = None
        body = message.get("body", b"")
        if message.get("more_body"):
            self._worker = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
            await self._send(_as_packed(start, None))
            return self._next_body(message)
        if len(body) < self._packed.least:
            await self._send(start)
            return message
        keep = any(name == b"etag" for name, _ in start["headers"])
        body = self._packed.pack(body, keep)
        await self._send(_as_packed(start, len(body)))
        return {**message, "body": body}

    def _next_body(self, message: Message) -> Message:
        body = self._worker.compress(message.get("body", b""))
        if not message.get("more_body"):
            body += self._worker.flush()
        return {**message, "body": body}


def _is_packable(headers: list[tuple[bytes, bytes]]) -> bool:
    """Text that is not packed yet and not an event stream, whose events must not wait."""
    names = dict(headers)
    kind = names.get(b"content-type", b"")
    return kind.startswith(_PACKABLE) and b"content-encoding" not in names


def _as_packed(start: Message, length: int | None) -> Message:
    """The start of a packed body. Its ETag becomes weak: the same forecast in other bytes."""
    headers = [(b"content-encoding", b"gzip")]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    for name, value in start["headers"]:
        if name == b"etag" and not value.startswith(b"W/"):
            value = b"W/" + value
        if name != b"content-length":
            headers.append((name, value))
    return {**start, "headers": headers}
