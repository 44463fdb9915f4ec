"""Headers every answer carries, encoded once: what a browser may do with it, and who may read it.

CORS is off unless origins are listed; nothing here ever allows credentials.
"""

from __future__ import annotations

from collections.abc import Mapping

from config import Settings
from web.swagger import DOCS_POLICY

Pairs = list[tuple[bytes, bytes]]

_STRICT = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# A report is one HTML file with its scripts inside. The sandbox takes our origin away from it, so
# that whatever is in it can neither call this service nor any other.
_REPORT = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; "
    "script-src 'unsafe-inline' 'unsafe-eval' blob: data:; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; worker-src blob:; frame-ancestors 'self'; "
    "base-uri 'none'; form-action 'none'"
)
_PREFLIGHT_HEADERS = "Authorization, Content-Type, If-None-Match, X-API-Key, X-Request-ID"
_EXPOSED = "ETag, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, X-Request-ID"


def encode(headers: Mapping[str, str]) -> Pairs:
    """Header pairs as ASGI wants them."""
    return [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()]


class FixedHeaders:
    """The same for every answer of a kind."""

    def __init__(self, settings: Settings) -> None:
        vary = ["Accept-Encoding"]
        if settings.cors_origins:
            vary.append("Origin")
        if settings.api_keys or settings.api_keys_file:
            vary += ["Authorization", "X-API-Key"]
        common = {
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Vary": ", ".join(vary),
        }
        self._plain = encode({**common, "Content-Security-Policy": _STRICT})
        self._docs = encode({**common, "Content-Security-Policy": DOCS_POLICY})
        self._report = encode({**common, "Content-Security-Policy": _REPORT})

    def of(self, path: str) -> Pairs:
        """What an answer from this path carries."""
        if path == "/docs":
            return self._docs
        return self._report if path.startswith("/reports/") else self._plain


class Cors:
    """Which pages of other origins may read our answers."""

    def __init__(self, settings: Settings) -> None:
        self._origins = {origin.rstrip("/").encode("latin-1") for origin in settings.cors_origins}
        self._anyone = b"*" in self._origins

    def allows(self, origin: bytes) -> bool:
        """Whether a page from there may read an answer."""
        return self._anyone or origin in self._origins

    def of(self, origin: bytes | None) -> Pairs:
        """What an answer to a page from `origin` carries; nothing for one that is not listed."""
        if origin is None or not self.allows(origin):
            return []
        allowed = b"*" if self._anyone else origin
        exposed = (b"access-control-expose-headers", _EXPOSED.encode())
        return [(b"access-control-allow-origin", allowed), exposed]

    def preflight(self, origin: bytes) -> Pairs | None:
        """What a browser is told that asks beforehand; None for an origin that is not listed."""
        if not self.allows(origin):
            return None
        told = {
            "Access-Control-Allow-Methods": "GET, POST",
            "Access-Control-Allow-Headers": _PREFLIGHT_HEADERS,
            "Access-Control-Max-Age": "600",
        }
        return [*self.of(origin), *encode(told)]
