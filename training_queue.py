"""The trainer's other half: takes training requests from the database, one at a time.

A request is leased and the lease renewed while its training runs, so that one of a trainer that
was killed is taken again by the next. What came of it is written into the request.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from contracts import (
    ForecastingError,
    LeaseLost,
    LeaseTaken,
    LogUnavailable,
    SourceUnavailable,
    TrackingUnavailable,
    TrainingRequest,
)
from forecast_log import ForecastLog
from leasing import renewed, worker_name

log = logging.getLogger(__name__)

LEASE = "train"
LEASE_SECONDS = 120.0  # after which a request of a silent trainer is another's
OUTCOME_LENGTH = 500
# What may be over in a minute: the request is left to be taken again.
PASSING = (TrackingUnavailable, SourceUnavailable, LogUnavailable)

Train = Callable[[TrainingRequest], str]  # what became of it, in a line


@contextmanager
def at_work(requests: ForecastLog, seconds: float = LEASE_SECONDS) -> Iterator[None]:
    """Hold the trainers' lease while the body runs: whoever looks sees that one is at work.

    It keeps nobody away. Of several trainers one holds it, and another takes it over when that
    one is gone.
    """
    lease = requests.lease(LEASE, worker_name(), seconds)
    held = False

    def hold() -> bool:
        nonlocal held
        try:
            if held:
                lease.renew()
            else:
                lease.__enter__()
            held = True
        except (LeaseTaken, LeaseLost):
            held = False
        except LogUnavailable as error:
            log.warning("presence_not_told reason=%s", error)
        return True

    hold()
    try:
        with renewed(hold, seconds):
            yield
    finally:
        if held:
            lease.__exit__()


class TrainingQueue:
    """Training requests of one database, served by one worker."""

    def __init__(
        self, requests: ForecastLog, train: Train, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        self._requests = requests
        self._train = train
        self._lease = lease_seconds
        self.worker = worker_name()

    def serve_one(self) -> TrainingRequest | None:
        """Take the oldest free request and train; the request, or None where there is none.

        Raises:
            LogUnavailable: the database does not answer.
        """
        request = self._requests.take_training(self.worker, self._lease)
        if request is None:
            return None
        log.info("training_taken id=%d ticker=%s", request.id, request.ticker)
        try:
            with renewed(lambda: self._renew(request), self._lease):
                outcome = self._train(request)
        except PASSING as error:
            log.warning("training_put_off id=%d reason=%s", request.id, error)
            return request
        except ForecastingError as error:
            outcome = f"failed: {error}"
        self._finish(request, outcome)
        return request

    def serve_all(self) -> int:
        """Serve requests until none is free; how many there were."""
        count = 0
        while self.serve_one() is not None:
            count += 1
        return count

    def _renew(self, request: TrainingRequest) -> bool:
        kept = self._requests.renew_training(request.id, self.worker, self._lease)
        if not kept:
            log.warning("training_lease_lost id=%d", request.id)
        return kept

    def _finish(self, request: TrainingRequest, outcome: str) -> None:
        line = " ".join(outcome.split())[:OUTCOME_LENGTH]
        if self._requests.finish_training(request.id, line, self.worker):
            log.warning("training_finished ticker=%s outcome=%s", request.ticker, line)
        else:
            log.warning("training_was_taken_over id=%d ticker=%s", request.id, request.ticker)
