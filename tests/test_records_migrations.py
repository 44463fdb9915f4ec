"""Databases of earlier versions come up without loss; those of later ones are left alone."""

from __future__ import annotations

import sqlite3

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from promised import forecast, serve
from test_forecast_log import a_verdict

from contracts import LogUnavailable
from forecast_log import ForecastLog, verdict_json
from records.database import MIGRATIONS
from records.schema import DRIFT_CHECKS, HEAD, METADATA


def tables_of(url: str) -> set[str]:
    engine = sa.create_engine(url)
    found = set(sa.inspect(engine).get_table_names())
    engine.dispose()
    return found


@pytest.fixture
def first_version(database_url) -> str:
    """A database as the software made it before there were revisions, with a verdict in it."""
    engine = sa.create_engine(database_url)
    METADATA.create_all(engine, tables=[DRIFT_CHECKS])
    verdict = a_verdict()
    row = {"ticker": "AAPL", "checked_at": verdict.checked_at, "alarm": True}
    with engine.begin() as connection:
        insert = sa.insert(DRIFT_CHECKS).values(**row, verdict=sa.literal_column("NULL"))
        plain = sa.text("UPDATE drift_checks SET verdict = :verdict")
        if engine.dialect.name == "postgresql":
            plain = sa.text("UPDATE drift_checks SET verdict = CAST(:verdict AS json)")
        connection.execute(sa.text("DELETE FROM drift_checks"))
        connection.execute(insert.values(verdict={}))
        connection.execute(plain, {"verdict": verdict_json(verdict)})
    engine.dispose()
    return database_url


def test_the_first_version_is_read_as_it_is(first_version):
    log = ForecastLog(first_version)
    assert log.latest_verdict("AAPL") == a_verdict()
    assert log.promises("AAPL") == ()
    assert log.performance("AAPL").rows == ()
    log.close()
    assert tables_of(first_version) == {"drift_checks"}


def test_the_first_version_comes_up_without_loss(first_version):
    log = ForecastLog(first_version)
    serve(log, forecast())
    assert log.latest_verdict("AAPL") == a_verdict()
    assert len(log.promises("AAPL")) == 1
    log.close()


def test_the_revisions_make_exactly_the_tables_that_are_used(database_url):
    log = ForecastLog(database_url)
    log.ask_check("AAPL")
    log.close()
    engine = sa.create_engine(database_url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()


def test_the_software_knows_its_newest_revision():
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_a_database_of_a_newer_version_is_not_touched(forecast_log, database_url):
    forecast_log.ask_check("AAPL")
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'r9999'"))
    engine.dispose()
    later = ForecastLog(database_url)
    with pytest.raises(LogUnavailable, match="newer version"):
        later.ask_check("MSFT")
    later.close()


def test_an_upgrade_that_fails_half_way_leaves_the_database_as_it_was(tmp_path):
    path = tmp_path / "forecasts.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE leases (something TEXT)")  # the last one to be made
    connection.close()
    log = ForecastLog(f"sqlite:///{path}")
    with pytest.raises(LogUnavailable, match="leases already exists"):
        log.ask_check("AAPL")
    log.close()
    assert tables_of(f"sqlite:///{path}") == {"leases"}


def test_a_writer_makes_its_tables_again_where_somebody_dropped_them(forecast_log, database_url):
    forecast_log.ask_check("AAPL")
    engine = sa.create_engine(database_url)
    everything = sa.MetaData()
    everything.reflect(engine)
    everything.drop_all(engine)
    engine.dispose()
    serve(forecast_log, forecast())
    assert len(forecast_log.promises("AAPL")) == 1
