"""Who may ask: API keys, of which only hashes are kept, and what routes that operate demand.

    python -m web.keys new --name dashboard --scope read

prints a new key, once, and the line by which the service will know it.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import re
import secrets
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from config import Settings
from contracts import BadSettings, MayNotOperate
from web.addresses import is_this_machine
from web.guard import Refusal
from web.swagger import SCRIPT, STYLE
from web.visits import Caller, Visit

READ, OPERATE = "read", "operate"
OPEN_PATHS = frozenset(
    ("/health", "/ready", "/docs", f"/docs/{SCRIPT}", f"/docs/{STYLE}", "/openapi.json")
)
_LINE = re.compile(r"([A-Za-z0-9_-]{1,40}):(read|operate):([0-9a-f]{64})")
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="stock forecasting"'}
_NO_KEY = Refusal(
    401,
    "key_required",
    "This service answers to API keys only; send one as `Authorization: Bearer KEY` or "
    "`X-API-Key: KEY`.",
    _CHALLENGE,
)
_WRONG_KEY = Refusal(401, "key_unknown", "This API key is not known here.", _CHALLENGE)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the service knows it."""

    name: str
    scope: str  # read or operate; operate includes read
    digest: bytes  # SHA-256 of the key

    @classmethod
    def of_line(cls, line: str) -> ApiKey:
        """Read `name:scope:sha256`. Raises BadSettings without repeating the line."""
        found = _LINE.fullmatch(line)
        if not found:
            raise BadSettings(
                "an API key must be given as name:scope:sha256, a line that "
                "`python -m web.keys new` prints; this one starts with "
                f"{line.partition(':')[0][:40]!r}"
            )
        return cls(found[1], found[2], bytes.fromhex(found[3]))

    def line(self) -> str:
        """What goes into STOCK_API_KEYS or a line of STOCK_API_KEYS_FILE."""
        return f"{self.name}:{self.scope}:{self.digest.hex()}"


def digest_of(key: bytes) -> bytes:
    """SHA-256: a key has 256 random bits, so there is nothing to guess that a slow hash would
    protect, and every request pays for the hash."""
    return hashlib.sha256(key).digest()


def new_key(name: str, scope: str) -> tuple[str, ApiKey]:
    """A key, and how the service will know it."""
    key = f"stock_{secrets.token_urlsafe(32)}"
    return key, ApiKey(name, scope, digest_of(key.encode()))


class Keys:
    """The keys of one service; without any, everybody may read."""

    def __init__(self, settings: Settings) -> None:
        """Raises BadSettings where the file is missing or a line does not fit."""
        lines = [*settings.api_keys, *_lines_of(settings.api_keys_file)]
        self._keys = [ApiKey.of_line(line) for line in lines]
        if settings.api_keys_file and not self._keys:
            raise BadSettings("STOCK_API_KEYS_FILE holds no key, and nobody could ask for anything")
        if len({key.name for key in self._keys}) < len(self._keys):
            raise BadSettings("two API keys have one name; name each after who uses it")
        self._open = OPEN_PATHS | ({"/metrics"} if settings.metrics_open else set())
        self.anyone_operates = settings.operate_without_key

    def __bool__(self) -> bool:
        return bool(self._keys)

    def admit(self, path: str, headers: Mapping[bytes, bytes]) -> Caller | Refusal | None:
        """Who asks, or why he is refused; None where no key is needed and none was sent."""
        given = _key_in(headers)
        if given is None:
            return None if path in self._open else _NO_KEY
        known = self._find(digest_of(given))
        if known is None:
            return None if path in self._open else _WRONG_KEY
        return Caller(known.name, known.scope == OPERATE)

    def _find(self, digest: bytes) -> ApiKey | None:
        """Compares with every key, each in constant time: how long it takes tells nothing."""
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def _lines_of(path: Path | None) -> Iterable[str]:
    if path is None:
        return []
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"STOCK_API_KEYS_FILE={path} cannot be read: {error}") from error
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def _key_in(headers: Mapping[bytes, bytes]) -> bytes | None:
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return token.strip()
    return headers.get(b"x-api-key")


def require_operator(request: Request) -> str:
    """Name of who operates.

    Without keys that is whoever asks from this machine and is no web page of another site.

    Raises:
        MayNotOperate: a key that may only read; or no keys, and a request from elsewhere.
    """
    visit: Visit = request.state.visit
    keys: Keys = request.app.state.door.keys
    if visit.caller and visit.caller.may_operate:
        return visit.caller.name
    if keys:
        raise MayNotOperate("this API key may only read; this needs one of scope operate")
    if not _is_own_page(visit.headers):
        raise MayNotOperate("a page of another site may not do this without an API key")
    if keys.anyone_operates or is_this_machine(visit.scope, visit.headers):
        return "anyone"
    raise MayNotOperate(
        "from another machine this needs an API key of scope operate: "
        "python -m web.keys new --name NAME --scope operate"
    )


def _is_own_page(headers: Mapping[bytes, bytes]) -> bool:
    """False for what a browser sends on behalf of another site; programs send neither header."""
    if headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin"):
        return False
    origin = headers.get(b"origin")
    return origin is None or origin.partition(b"://")[2] == headers.get(b"host")


def may_operate(request: Request) -> bool:
    """Whether who asks may be told what only operators are told."""
    try:
        require_operator(request)
    except MayNotOperate:
        return False
    return True


OperatorDep = Annotated[str, Depends(require_operator)]


def main(argv: list[str] | None = None) -> int:
    """Make a key. Prints it once, and the line by which the service knows it."""
    parser = argparse.ArgumentParser(prog="python -m web.keys", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    new = commands.add_parser("new", help="make a key and print it, once, with its line")
    new.add_argument("--name", required=True, help="who will use it: letters, digits, - and _")
    new.add_argument(
        "--scope", choices=[READ, OPERATE], default=READ, help="operate includes read (default)"
    )
    wish = parser.parse_args(argv)
    key, known = new_key(wish.name, wish.scope)
    try:
        ApiKey.of_line(known.line())
    except BadSettings:
        print("--name may have 1 to 40 letters, digits, - and _", file=sys.stderr)
        return 2
    print(f"key   {key}\nline  {known.line()}")
    print(
        "Give the key to its user; it is kept nowhere. Add the line to the file that "
        "STOCK_API_KEYS_FILE names, or to STOCK_API_KEYS, and start the service again.",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
