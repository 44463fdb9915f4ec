"""The writer beside the requests: nothing waits for it, and it loses what it says it may lose."""

from __future__ import annotations

import json
import logging
import math
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from promised import forecast

import records.database
import records.writer
from forecast_log import ForecastLog, ForecastWriter
from records.database import Database

HERE = Path(__file__).resolve().parent


def kept(log: ForecastLog) -> set[str]:
    return {promise.version for promise in log.promises("AAPL")}


def put(writer: ForecastWriter, *names: str) -> None:
    for name in names:
        writer.put(forecast(version=name), "a-request")


def wait_until(true, seconds: float = 20.0) -> None:
    """A bound for broken code, not a measure."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.01)


def test_a_forecast_is_written_without_being_closed(forecast_log):
    writer = forecast_log.writer()
    put(writer, "1", "2")
    wait_until(lambda: writer.pending == 0)
    assert kept(forecast_log) == {"1", "2"}
    writer.close()


def test_closing_writes_what_is_pending(forecast_log):
    writer = forecast_log.writer()
    put(writer, *map(str, range(450)))  # more than two batches
    writer.close()
    assert (writer.pending, writer.lost) == (0, 0)
    assert len(kept(forecast_log)) == 450


def test_a_writer_without_forecasts_opens_nothing(tmp_path):
    writer = ForecastLog(f"sqlite:///{tmp_path / 'forecasts.db'}").writer()
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_what_comes_after_closing_is_counted_as_lost(forecast_log):
    writer = forecast_log.writer()
    writer.close()
    put(writer, "1")
    assert writer.lost == 1


def test_threads_may_share_a_writer(forecast_log):
    writer = forecast_log.writer()
    threads = [
        threading.Thread(target=put, args=(writer, *(f"{i}-{j}" for j in range(20))))
        for i in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    assert len(kept(forecast_log)) == 100


@pytest.fixture
def away(tmp_path, monkeypatch):
    """A database whose folder is not there yet."""
    monkeypatch.setattr(records.writer, "RETRY_FIRST", 0.02)
    return tmp_path / "volume" / "forecasts.db"


def test_a_database_that_comes_back_has_lost_nothing(away, caplog):
    log = ForecastLog(f"sqlite:///{away}")
    writer = log.writer()
    put(writer, "1", "2")
    wait_until(lambda: caplog.text.count("forecasts_wait") > 2)
    assert writer.pending == 2
    away.parent.mkdir()
    put(writer, "3")
    wait_until(lambda: kept(log) == {"1", "2", "3"})
    writer.close()
    assert writer.lost == 0
    log.close()


@pytest.mark.postgres
def test_a_server_that_ends_its_connections_has_lost_nothing(postgres_url, monkeypatch, caplog):
    monkeypatch.setattr(records.writer, "RETRY_FIRST", 0.02)
    admin = sa.create_engine(
        postgres_url.rpartition("/")[0] + "/template1", isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as server:
        server.execute(sa.text("DROP DATABASE IF EXISTS restless"))
        server.execute(sa.text("CREATE DATABASE restless"))
        log = ForecastLog(postgres_url.rpartition("/")[0] + "/restless")
        writer = log.writer()
        put(writer, "1")
        wait_until(lambda: kept(log) == {"1"})
        server.execute(sa.text("ALTER DATABASE restless ALLOW_CONNECTIONS false"))
        ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'restless'"
        server.execute(sa.text(ending))
        put(writer, "2")
        wait_until(lambda: caplog.text.count("forecasts_wait") > 2)
        assert writer.pending == 1
        server.execute(sa.text("ALTER DATABASE restless ALLOW_CONNECTIONS true"))
        wait_until(lambda: writer.pending == 0)
        assert (kept(log), writer.lost) == ({"1", "2"}, 0)
        writer.close()
        log.close()
    admin.dispose()


def test_another_writer_is_waited_for(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(records.database, "BUSY_SECONDS", 0.02)
    monkeypatch.setattr(records.writer, "RETRY_FIRST", 0.02)
    log = ForecastLog(f"sqlite:///{tmp_path / 'forecasts.db'}")
    log.ask_check("AAPL")
    other = sqlite3.connect(tmp_path / "forecasts.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writer = log.writer()
    put(writer, "1")
    wait_until(lambda: "database is locked" in caplog.text)
    other.execute("COMMIT")
    other.close()
    writer.close()
    assert (kept(log), writer.lost) == ({"1"}, 0)
    log.close()


def test_a_full_queue_loses_what_comes_and_says_so_once(away, caplog):
    writer = ForecastWriter(Database(f"sqlite:///{away}"), room=3)
    with caplog.at_level(logging.ERROR):
        put(writer, *map(str, range(300)))
    assert writer.lost + writer.pending == 300
    assert writer.pending <= 3 + records.writer.BATCH
    assert len([row for row in caplog.records if "forecasts_lost" in row.message]) == 1
    writer.close(timeout=0)
    assert (writer.lost, writer.pending) == (300, 0)


def test_closing_gives_up_on_a_database_that_stays_away(away):
    log = ForecastLog(f"sqlite:///{away}")
    writer = log.writer()
    put(writer, "1")
    writer.close(timeout=0.1)
    assert (writer.lost, writer.pending) == (1, 0)


def test_a_forecast_the_database_refuses_takes_no_other_with_it(forecast_log, caplog):
    writer = forecast_log.writer()
    put(writer, "1")
    writer.put(forecast(version="wrong", last_mid=math.nan, last_close=None), "a-request")
    put(writer, "2")
    writer.close()
    assert (kept(forecast_log), writer.lost) == ({"1", "2"}, 1)
    assert "unwritable AAPL" in caplog.text


def ends(url: str, runs: int) -> dict[str, list[dict[str, float]]]:
    command = [sys.executable, str(HERE / "promise_processes.py"), "writers", url, str(runs)]
    run = subprocess.run(
        command, env={"PYTHONPATH": f"{HERE.parent}:{HERE}"}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)["writers"]


@pytest.mark.parametrize("runs", [1, pytest.param(25, marks=pytest.mark.long)])
def test_sigterm_loses_nothing_and_sigkill_at_most_the_last_second(database_url, runs):
    found = ends(database_url, runs)
    for end in found["SIGTERM"]:
        assert end["acknowledged"] > 0
        assert end["lost"] == 0
    for end in found["SIGKILL"]:
        assert end["acknowledged"] > 0
        assert end["lost_are_the_last"]
        # where the machine itself stood still, so did the clock that counts
        assert end["oldest_lost"] <= 1.0 + 3 * end["stood_still"]
