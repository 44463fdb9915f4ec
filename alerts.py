"""Alarms to a webhook: once per episode and severity, retried, never in the monitor's way.

Knows no database: the verdicts so far are handed in, and a verdict that was told says so. The
address may hold a secret, so it is in no log line and no message.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from urllib.parse import quote

import httpx
from pydantic import SecretStr
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity import wait_random_exponential as back_off

from contracts import DriftVerdict

log = logging.getLogger(__name__)

ATTEMPTS = 3
REQUEST_SECONDS = 3.0
PATIENCE = 12.0  # seconds for all attempts; a receiver that drips bytes outlasts a timeout of reads
TOLD = ("alarm", "critical")


class Busy(Exception):
    """The receiver answers, but not now: it may later."""


class Webhook:
    """One receiver of alarms; without an address it tells nobody."""

    def __init__(self, address: SecretStr | None, public_url: str | None) -> None:
        """Take an http or https address, and where people find the API, for the link."""
        self._address = address
        self._public_url = public_url

    def tell(self, verdict: DriftVerdict, earlier: Sequence[DriftVerdict]) -> bool:
        """Post an alarm that none of the earlier verdicts told; True once it was taken.

        Waits PATIENCE seconds at most and raises nothing: what went wrong is logged, and the
        next check tries again.
        """
        if verdict.severity not in TOLD:
            return False
        facts = f"ticker={verdict.ticker} severity={verdict.severity} episode={verdict.episode}"
        if any(_same_alarm(verdict, row) and row.alerted for row in earlier):
            log.info("alert_told_before %s", facts)
            return False
        log.warning("drift_alarm %s reasons=%r", facts, "; ".join(verdict.reasons))
        if self._address is None:
            return False
        taken = self._in_time(payload(verdict, self._public_url))
        (log.info if taken else log.error)("alert_taken=%s %s", taken, facts)
        return taken

    def _in_time(self, body: dict[str, object]) -> bool:
        """Send beside the monitor, which goes on after PATIENCE seconds whatever happens."""
        taken = threading.Event()
        sender = threading.Thread(target=self._send, args=(body, taken), daemon=True)
        sender.start()
        sender.join(PATIENCE)
        return taken.is_set()

    def _send(self, body: dict[str, object], taken: threading.Event) -> None:
        logging.getLogger("httpx").addFilter(_without_address)  # a second time changes nothing
        try:
            for attempt in Retrying(
                stop=stop_after_attempt(ATTEMPTS),
                wait=back_off(multiplier=0.2, max=2.0),
                retry=retry_if_exception_type((httpx.TransportError, Busy)),
            ):
                with attempt:
                    self._post(body)
            taken.set()
        except RetryError as error:
            cause = error.last_attempt.exception()
            log.error("alert_failed attempts=%d reason=%s", ATTEMPTS, _plain(cause))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            log.error("alert_refused reason=%s", _plain(error))

    def _post(self, body: dict[str, object]) -> None:
        """One attempt; the answer's body is not read.

        Raises:
            Busy: a status that may pass: 429 or above 499.
            httpx.HTTPError: no answer in time, or a status that will not pass.
        """
        address = self._address.get_secret_value() if self._address else ""
        with httpx.stream("POST", address, json=body, timeout=REQUEST_SECONDS) as answer:
            if answer.status_code == 429 or answer.status_code >= 500:
                raise Busy(f"HTTP {answer.status_code}")
            if not answer.is_success:
                raise httpx.HTTPError(f"HTTP {answer.status_code}")


def payload(verdict: DriftVerdict, public_url: str | None) -> dict[str, object]:
    """What a receiver gets; `link` is null where the API has no public address."""
    path = f"/drift/{quote(verdict.ticker, safe='')}"
    link = public_url.rstrip("/") + path if public_url else None
    return {
        "ticker": verdict.ticker,
        "severity": verdict.severity,
        "summary": verdict.summary,
        "reasons": list(verdict.reasons),
        "as_of": verdict.as_of.isoformat(),
        "episode": None if verdict.episode is None else verdict.episode.isoformat(),
        "model_version": verdict.model_version,
        "false_alarms_per_month": verdict.false_alarms_per_month,
        "link": link,
    }


def _same_alarm(one: DriftVerdict, other: DriftVerdict) -> bool:
    facts = [(row.ticker, row.severity, row.episode) for row in (one, other)]
    return facts[0] == facts[1]


def _plain(error: BaseException | None) -> str:
    """What went wrong without the address, which httpx repeats in many of its messages."""
    said = f" {error}" if isinstance(error, Busy) or type(error) is httpx.HTTPError else ""
    return f"{type(error).__name__}{said}"


def _without_address(record: logging.LogRecord) -> bool:
    """httpx tells every address it posts to."""
    return "POST" not in record.getMessage()
