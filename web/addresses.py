"""Where a request comes from: its peer, or what trusted proxies say of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from starlette.types import Scope

from contracts import BadSettings

_FORWARDED = (b"x-forwarded-for", b"forwarded", b"x-real-ip")
_FAR_ENOUGH = 20  # hops looked at from the right


class ClientAddresses:
    """Reads X-Forwarded-For from the right, as far as trusted proxies wrote it."""

    def __init__(self, proxies: Iterable[str]) -> None:
        """Raises BadSettings where a proxy is neither an address nor a network."""
        try:
            self._proxies = [ip_network(text, strict=False) for text in proxies]
        except ValueError as error:
            raise BadSettings(
                f"STOCK_TRUSTED_PROXIES: {error}; give addresses or networks such as 10.0.0.0/8"
            ) from error

    def of(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str:
        """Address of the client; an IPv6 one stands for its /64, which one user commands."""
        peer = (scope.get("client") or ("unknown", 0))[0]
        if self._proxies and self._is_proxy(peer):
            hops = headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")
            for hop in reversed(hops[-_FAR_ENOUGH:]):
                if not (address := _normal(hop.strip())):
                    break  # a hop that is no address: whoever wrote it is the last one known
                peer = address
                if not self._is_proxy(address):
                    break
        return _client(peer)

    def _is_proxy(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._proxies)


@lru_cache(maxsize=4096)
def _normal(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return ""


@lru_cache(maxsize=4096)
def _client(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


def is_this_machine(scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a program of this machine asks for itself; what a proxy passes on is not its own."""
    if any(name in headers for name in _FORWARDED):
        return False
    try:
        return ip_address((scope.get("client") or ("", 0))[0]).is_loopback
    except ValueError:
        return False
