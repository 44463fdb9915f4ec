"""One database: connections, transactions and the way up from an older form. Knows no tables' use.

SQLite writers queue at BEGIN IMMEDIATE, so that two never deadlock half-way; readers never wait.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from contracts import BadSettings, LogUnavailable
from records.schema import HEAD

BUSY_SECONDS = 5.0  # how long to wait for another writer, or for a server
LOCK_KEY = 5_281_970  # of this log among a PostgreSQL server's advisory locks
MIGRATIONS = Path(__file__).resolve().parent / "migrations"
BEGIN = "begin"  # the option of a connection that says how SQLite begins
WRITING = {BEGIN: "BEGIN IMMEDIATE"}


class Database:
    """Nothing is opened or created before the first call that needs it. Safe to share by threads.

    Raises (on creation):
        BadSettings: no address, or of a database whose driver is not installed.
    """

    def __init__(self, url: str) -> None:
        """Take an address such as `sqlite:///forecasts.db` or `postgresql+psycopg://...`."""
        try:
            self._url = sa.make_url(url)
            patience = "timeout" if self.is_sqlite else "connect_timeout"
            waiting = {patience: BUSY_SECONDS if self.is_sqlite else int(BUSY_SECONDS)}
            self._engine = sa.create_engine(self._url, connect_args=waiting, pool_pre_ping=True)
        except (ArgumentError, ModuleNotFoundError) as error:
            raise BadSettings(
                "STOCK_DATABASE_URL is not the address of a database that can be used here "
                f"({type(error).__name__}); expected something like sqlite:///forecasts.db"
            ) from error
        if self.is_sqlite:
            sa.event.listen(self._engine, "connect", _leave_transactions_to_us)
            sa.event.listen(self._engine, "begin", _begin)
        self._upgrading = threading.Lock()
        self._current = False

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of this machine rather than a server."""
        return self._url.get_backend_name() == "sqlite"

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction that commits at the end; older tables are brought up first.

        Raises:
            LogUnavailable: the database is away, locked, read-only or of a newer version.
        """
        with self._explained("written"):
            self._upgrade()
            with self._engine.execution_options(**WRITING).begin() as connection:
                yield connection

    @contextmanager
    def reading(self, table: sa.Table) -> Iterator[sa.Connection | None]:
        """A connection to read by; None where the database or the table does not exist yet.

        Raises:
            LogUnavailable: the database is away or locked.
        """
        if self._no_file_yet:
            yield None
            return
        with self._explained("read"), self._engine.connect() as connection:
            there = self._current or sa.inspect(connection).has_table(table.name)
            yield connection if there else None

    def now(self, connection: sa.Connection) -> datetime:
        """The time by the clock that all users of the database share: the server's, if any."""
        if self.is_sqlite:
            return datetime.now(UTC)
        moment: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        return moment.astimezone(UTC)

    def serialise(self, connection: sa.Connection, name: str) -> None:
        """Wait until no other transaction has asked the same; SQLite's writers always queue."""
        if not self.is_sqlite:
            key = sa.func.hashtext(name)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK_KEY, key)))

    def close(self) -> None:
        """Give every connection back."""
        self._engine.dispose()

    @property
    def _no_file_yet(self) -> bool:
        name = self._url.database
        in_memory = not name or ":memory:" in name
        return self.is_sqlite and not in_memory and not Path(str(name)).is_file()

    def _upgrade(self) -> None:
        """Bring the tables to `HEAD`; safe beside other processes doing the same."""
        with self._upgrading:
            if self._current:
                return
            if self.is_sqlite:
                self._keep_a_log_ahead()
            with self._engine.execution_options(**WRITING).begin() as connection:
                if not self.is_sqlite:
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK_KEY)))
                if _version(connection) != HEAD:
                    _migrate(connection)
            self._current = True

    def _keep_a_log_ahead(self) -> None:
        """WAL: readers then never wait for a writer. Kept in the file; not within a transaction."""
        with self._engine.execution_options(**{BEGIN: ""}).connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")

    @contextmanager
    def _explained(self, deed: str) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, PoolTimeout) as error:
            self._current = False  # the tables may be what is missing: look again next time
            raise self._unavailable(deed, error) from error

    def _unavailable(self, deed: str, error: Exception) -> LogUnavailable:
        where = self._url.render_as_string(hide_password=True)
        cause = str(getattr(error, "orig", None) or type(error).__name__).splitlines()[0]
        return LogUnavailable(
            f"the forecast log at {where} cannot be {deed} now ({cause}); "
            "see that the database runs and STOCK_DATABASE_URL names it"
        )


def _version(connection: sa.Connection) -> str | None:
    """The revision the database is at; None before there were revisions."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return found


def _migrate(connection: sa.Connection) -> None:
    """Run what lies between the database's revision and `HEAD`, within this transaction."""
    from alembic import command  # 100 ms and 10 MB that a database of today never needs
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise LogUnavailable(
            "the forecast log was written by a newer version of this software; update this one"
        ) from error


def _leave_transactions_to_us(connection: Any, record: object) -> None:  # noqa: ARG001
    """Python's sqlite3 would begin late and commit before DDL."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA synchronous=NORMAL")  # in WAL mode: safe but for a loss of power
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    statement = connection.get_execution_options().get(BEGIN, "BEGIN")
    if statement:
        connection.exec_driver_sql(statement)
