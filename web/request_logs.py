"""How log lines look: text for people or JSON for machines, each with the id of its request."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import orjson

from config import Settings
from contracts import InvalidTicker, parse_ticker
from web.visits import Visit, request_id

access = logging.getLogger("stock.access")
_SERVERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")
_PLAIN = set(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {"message", "asctime"}


class TextLines(logging.Formatter):
    """One line of words; the request's id stands at its end."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line, without line breaks that a client might have sent."""
        line = super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")
        asked = request_id()
        return f"{line} request_id={asked}" if asked else line


class JsonLines(logging.Formatter):
    """One JSON object a line: time in UTC, level, logger, message, request_id, and any extras."""

    def format(self, record: logging.LogRecord) -> str:
        """Extras of the record become members; what is no JSON becomes its text."""
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if asked := request_id():
            told["request_id"] = asked
        told |= {k: v for k, v in record.__dict__.items() if k not in _PLAIN}
        told.pop("color_message", None)  # uvicorn's own line again, with colours
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(told, default=str).decode()


def set_up(settings: Settings) -> None:
    """Lines in the form asked for, the server's as well. Nothing happens where it is set up."""
    as_json = settings.log_format == "json"
    if not logging.getLogger().handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(JsonLines() if as_json else TextLines())
        logging.basicConfig(level=settings.log_level, handlers=[handler])
        if as_json:
            _take_over(*_SERVERS)
    if settings.access_log:
        access.setLevel(logging.INFO)
    if settings.access_log or as_json:  # ours instead of the server's, which costs more
        server = logging.getLogger("uvicorn.access")
        server.handlers.clear()
        server.propagate = False


def _take_over(*names: str) -> None:
    for name in names:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def log_access(visit: Visit) -> None:
    """One line about an answered request: its route, never the address as it was typed."""
    facts = {
        "method": visit.scope["method"],
        "route": visit.route,
        "status": visit.status,
        "ms": round(visit.milliseconds, 3),
        "ticker": _ticker(visit),
        "caller": visit.caller.name if visit.caller else None,
        "problem": visit.problem or None,
    }
    facts = {name: value for name, value in facts.items() if value is not None}
    access.info(" ".join(f"{name}={value}" for name, value in facts.items()), extra=facts)


def _ticker(visit: Visit) -> str | None:
    """The symbol asked for, if it is one."""
    given = visit.scope.get("path_params", {}).get("ticker")
    if given is None:
        for part in visit.scope["query_string"].split(b"&"):
            name, _, value = part.partition(b"=")
            if name == b"ticker":
                given = value.decode("latin-1")
    try:
        return parse_ticker(given) if given else None
    except InvalidTicker:
        return None
