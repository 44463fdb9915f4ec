"""Leases: at most one process at a piece of work, and none for ever; by the database's clock."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta

import sqlalchemy as sa

from contracts import LeaseLost, LeaseTaken, LogUnavailable
from records.database import Database
from records.schema import LEASES

log = logging.getLogger(__name__)


class Lease:
    """One taking of a named lease: `with log.lease("watch", "host-1", 60) as lease: ...`.

    Whoever works longer than the seconds it asked for must `renew` before they are over.
    """

    def __init__(self, database: Database, name: str, holder: str, seconds: float) -> None:
        self._database = database
        self._seconds = seconds
        self._token = uuid.uuid4().hex
        self.name = name
        self.holder = holder

    def __enter__(self) -> Lease:
        """Take it.

        Raises:
            LeaseTaken: somebody holds it, and not longer than it was taken for.
            LogUnavailable: the database cannot be written.
        """
        with self._database.writing() as connection:
            self._database.serialise(connection, f"lease {self.name}")
            now = self._database.now(connection)
            held = connection.execute(
                sa.select(LEASES.c.holder, LEASES.c.expires_at).where(LEASES.c.name == self.name)
            ).one_or_none()
            if held is not None and held.expires_at > now:
                raise LeaseTaken(
                    f"{held.holder} is at {self.name!r} until {held.expires_at:%Y-%m-%d %H:%M:%S} "
                    "UTC or until it is done; try again then"
                )
            if held is not None:
                connection.execute(sa.delete(LEASES).where(LEASES.c.name == self.name))
            expires = now + timedelta(seconds=self._seconds)
            row = {"holder": self.holder, "token": self._token, "expires_at": expires}
            connection.execute(sa.insert(LEASES).values(name=self.name, **row))
        return self

    def __exit__(self, *failure: object) -> None:
        """Give it back; one that was lost meanwhile is somebody else's and stays."""
        try:
            with self._database.writing() as connection:
                gone = connection.execute(sa.delete(LEASES).where(*self._mine())).rowcount
        except LogUnavailable as error:  # it ends by itself; what failed inside matters more
            log.warning("lease_not_given_back name=%s reason=%s", self.name, error)
            return
        if gone != 1:
            log.warning("lease_lost name=%s holder=%s", self.name, self.holder)

    def renew(self) -> None:
        """Hold it for the same seconds from now.

        Raises:
            LeaseLost: it ran out and somebody else took it; stop the work.
            LogUnavailable: the database cannot be written.
        """
        with self._database.writing() as connection:
            expires = self._database.now(connection) + timedelta(seconds=self._seconds)
            kept = connection.execute(
                sa.update(LEASES).where(*self._mine()).values(expires_at=expires)
            )
        if kept.rowcount != 1:
            raise LeaseLost(
                f"{self.holder} no longer holds {self.name!r}: it ran out after "
                f"{self._seconds:g} s; the work goes on elsewhere"
            )

    def _mine(self) -> tuple[sa.ColumnElement[bool], ...]:
        return LEASES.c.name == self.name, LEASES.c.token == self._token


def is_held(database: Database, name: str) -> bool:
    """Whether anybody is at it now; nothing is written.

    Raises:
        LogUnavailable: the database cannot be read.
    """
    with database.reading(LEASES) as connection:
        if connection is None:
            return False
        ends = connection.execute(sa.select(LEASES.c.expires_at).where(LEASES.c.name == name))
        until = ends.scalar_one_or_none()
        return until is not None and until > database.now(connection)
