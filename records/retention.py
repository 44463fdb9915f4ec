"""Forgets what is older than the user wants it kept."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from records.schema import (
    CHECK_REQUESTS,
    DRIFT_CHECKS,
    OUTCOMES,
    PROMISED_STEPS,
    PROMISES,
    TRAINING_REQUESTS,
)


def purge(connection: sa.Connection, before: datetime) -> int:
    """Delete promises made before a moment, and what only they needed; how many there were.

    Verdicts and finished requests of that age go too. A ticker's newest verdict stays.
    """
    old = sa.select(PROMISES.c.id).where(PROMISES.c.made_at < before)
    connection.execute(sa.delete(PROMISED_STEPS).where(PROMISED_STEPS.c.promise_id.in_(old)))
    gone = connection.execute(sa.delete(PROMISES).where(PROMISES.c.made_at < before)).rowcount
    connection.execute(_unneeded_outcomes())
    for queue in (TRAINING_REQUESTS, CHECK_REQUESTS):
        connection.execute(sa.delete(queue).where(queue.c.finished_at < before))
    latest = sa.select(sa.func.max(DRIFT_CHECKS.c.checked_at)).group_by(DRIFT_CHECKS.c.ticker)
    aged = (DRIFT_CHECKS.c.checked_at < before, DRIFT_CHECKS.c.checked_at.not_in(latest))
    connection.execute(sa.delete(DRIFT_CHECKS).where(*aged))
    return gone


def _unneeded_outcomes() -> sa.Delete:
    """Outcomes before a ticker's earliest remaining origin."""
    earliest: Any = (
        sa.select(sa.func.min(PROMISES.c.origin))
        .where(PROMISES.c.ticker == OUTCOMES.c.ticker)
        .scalar_subquery()
    )
    return sa.delete(OUTCOMES).where(sa.or_(earliest.is_(None), OUTCOMES.c.date < earliest))
