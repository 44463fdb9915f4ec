"""The database of verdicts: what goes in comes out, and its absence is said plainly."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from project import free_port
from pydantic import ValidationError
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import StatementError

import records.database
from contracts import BadSettings, DriftVerdict, FeatureDrift, LogUnavailable
from forecast_log import ForecastLog, UtcDateTime, parse_verdict, verdict_json

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def database(tmp_path):
    return tmp_path / "forecasts.db"


@pytest.fixture
def store(database):
    opened = ForecastLog(f"sqlite:///{database}")
    yield opened
    opened.close()


def a_verdict(**changes: object) -> DriftVerdict:
    drift = FeatureDrift(
        feature="return", method="wasserstein", distance=0.7, threshold=0.5, drifted=True
    )
    verdict = DriftVerdict(
        ticker="AAPL",
        checked_at=datetime(2025, 12, 31, 22, 5, tzinfo=UTC),
        as_of=date(2025, 12, 31),
        alarm=True,
        summary="return has moved",
        features=(drift, replace(drift, feature="range", distance=0.1, drifted=False)),
        reference_rows=1000,
        current_rows=60,
        rmse_ratio_reference=1.02,
        rmse_ratio_current=1.07,
        model_version="3",
        data_source="file",
        reports=("AAPL_data_drift.html", "AAPL_model_performance.html"),
    )
    return replace(verdict, **changes)


def test_a_verdict_comes_back_as_it_went_in(forecast_log):
    forecast_log.record_verdict(a_verdict())
    assert forecast_log.latest_verdict("AAPL") == a_verdict()


def test_the_latest_is_the_newest_check_not_the_last_row(forecast_log):
    newer = a_verdict(summary="newer")
    forecast_log.record_verdict(newer)
    forecast_log.record_verdict(a_verdict(checked_at=newer.checked_at - timedelta(days=1)))
    assert forecast_log.latest_verdict("AAPL") == newer


def test_of_two_checks_in_one_instant_the_second_counts(forecast_log):
    forecast_log.record_verdict(a_verdict(summary="first"))
    forecast_log.record_verdict(a_verdict(summary="second"))
    assert forecast_log.latest_verdict("AAPL").summary == "second"


def test_tickers_do_not_see_each_other(forecast_log):
    forecast_log.record_verdict(a_verdict())
    forecast_log.record_verdict(a_verdict(ticker="MSFT", alarm=False))
    assert forecast_log.latest_verdict("AAPL").alarm
    assert not forecast_log.latest_verdict("MSFT").alarm
    assert forecast_log.latest_verdict("GOOGL") is None


def test_reading_creates_no_file(store, database):
    assert store.latest_verdict("AAPL") is None
    assert not database.exists()


def test_a_file_without_the_table_holds_no_verdict(store, database):
    sqlite3.connect(database).close()
    database.touch()
    assert store.latest_verdict("AAPL") is None
    assert database.stat().st_size == 0


def test_a_new_process_reads_what_another_wrote(store, database):
    store.record_verdict(a_verdict())
    again = ForecastLog(f"sqlite:///{database}")
    assert again.latest_verdict("AAPL") == a_verdict()
    again.close()


def test_sqlite_is_in_wal_mode(store, database):
    store.record_verdict(a_verdict())
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_reader_does_not_wait_for_a_writer(store, database):
    store.record_verdict(a_verdict())
    writer = sqlite3.connect(database, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert store.latest_verdict("AAPL") == a_verdict()
    writer.close()


def test_a_locked_database_is_said_plainly(store, database, monkeypatch):
    store.record_verdict(a_verdict())
    store.close()
    monkeypatch.setattr(records.database, "BUSY_SECONDS", 0.05)
    impatient = ForecastLog(f"sqlite:///{database}")
    writer = sqlite3.connect(database, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogUnavailable, match=r"cannot be written now \(database is locked\)"):
        impatient.record_verdict(a_verdict())
    writer.close()
    impatient.close()


def test_a_file_that_is_no_database_is_said_plainly(store, database):
    database.write_text("these are not the bytes of a database" * 100)
    with pytest.raises(LogUnavailable, match="file is not a database"):
        store.latest_verdict("AAPL")


def test_a_missing_folder_is_said_plainly(tmp_path):
    nowhere = ForecastLog(f"sqlite:///{tmp_path / 'absent' / 'forecasts.db'}")
    with pytest.raises(LogUnavailable, match="unable to open database file"):
        nowhere.record_verdict(a_verdict())
    nowhere.close()


@pytest.mark.parametrize("url", ["nonsense", "nosuchdb://host/name", ""])
def test_an_address_of_no_database_is_a_bad_setting(url):
    with pytest.raises(BadSettings, match="STOCK_DATABASE_URL"):
        ForecastLog(url)


def test_a_password_is_never_shown():
    with pytest.raises(BadSettings) as caught:
        ForecastLog("nosuchdb://user:secret@host/name")
    assert "secret" not in str(caught.value)


def test_a_row_of_another_version_is_said_plainly(store, database):
    store.record_verdict(a_verdict())
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE drift_checks SET verdict = json_remove(verdict, '$.alarm')")
    connection.close()
    with pytest.raises(LogUnavailable, match="not written by this version"):
        store.latest_verdict("AAPL")


@pytest.mark.parametrize(
    ("field", "value"), [("alarm", "yes"), ("reference_rows", 1.5), ("unheard_of", 1)]
)
def test_a_verdict_is_read_strictly(field, value):
    row = {**json.loads(verdict_json(a_verdict())), field: value}
    with pytest.raises(ValidationError, match=field):
        parse_verdict(json.dumps(row))


def test_what_json_cannot_carry_is_never_written(store, database):
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.record_verdict(a_verdict(rmse_ratio_current=float("nan")))
    assert not database.exists()


def test_any_zone_is_stored_as_utc(store, database):
    tokyo = datetime(2026, 1, 1, 7, 5, tzinfo=timezone(timedelta(hours=9)))
    store.record_verdict(a_verdict(checked_at=tokyo))
    with sqlite3.connect(database) as connection:
        (stored,) = connection.execute("SELECT checked_at FROM drift_checks").fetchone()
    connection.close()
    assert stored.startswith("2025-12-31 22:05:00")


@pytest.mark.postgres
def test_a_password_is_not_in_the_complaint_about_an_absent_server():
    away = ForecastLog(f"postgresql+psycopg://user:secret@127.0.0.1:{free_port()}/none")
    with pytest.raises(LogUnavailable, match="cannot be read") as caught:
        away.latest_verdict("AAPL")
    assert "secret" not in str(caught.value)
    away.close()


def test_a_moment_without_a_zone_is_refused(store):
    with pytest.raises(StatementError, match="has no time zone"):
        store.record_verdict(a_verdict(checked_at=datetime(2026, 1, 1)))


@pytest.mark.parametrize(
    ("dialect", "naive"), [(sqlite.dialect(), True), (postgresql.dialect(), False)]
)
def test_the_moment_type_is_right_on_both_databases(dialect, naive):
    moment, kind = datetime(2025, 12, 31, 22, 5, tzinfo=UTC), UtcDateTime()
    stored = kind.process_bind_param(moment, dialect)
    assert (stored.tzinfo is None) == naive
    assert kind.process_result_value(stored, dialect) == moment


def test_the_log_is_light_to_import():
    code = (
        "import sys, forecast_log; print([m for m in ('evidently', 'scipy') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
