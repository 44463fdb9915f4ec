"""Alarms to a real receiver on this machine: retried, told once, never in the monitor's way."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import date

import pytest
from invented_forecasts import make_drift
from local_receiver import SILENCE, Receiver, local_receiver
from pydantic import SecretStr

import alerts
from alerts import Webhook, payload
from config import get_settings
from contracts import BadSettings

EPISODE = date(2025, 12, 23)
ALARM = replace(make_drift(), severity="alarm", episode=EPISODE, reasons=("ranges doubled",))
TOLD = replace(ALARM, alerted=True)


@pytest.fixture
def receiver():
    with local_receiver() as running:
        yield running


def webhook(receiver: Receiver) -> Webhook:
    return Webhook(SecretStr(receiver.url), "https://stocks.example/")


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """A receiver that hangs is given half a second."""
    monkeypatch.setattr(alerts, "REQUEST_SECONDS", 0.5)


def test_an_alarm_arrives_with_its_facts(receiver):
    assert webhook(receiver).tell(ALARM, ())
    assert receiver.bodies == [payload(ALARM, "https://stocks.example")]
    body = receiver.bodies[0]
    assert (body["ticker"], body["severity"], body["reasons"]) == (
        "AAPL",
        "alarm",
        ["ranges doubled"],
    )
    assert (body["as_of"], body["episode"]) == (ALARM.as_of.isoformat(), "2025-12-23")
    assert body["link"] == "https://stocks.example/drift/AAPL"


@pytest.mark.parametrize("statuses", [[500], [503, 500], [SILENCE, 500], [429]])
def test_a_receiver_in_trouble_is_asked_again(receiver, statuses):
    receiver.statuses = list(statuses)
    assert webhook(receiver).tell(ALARM, ())
    assert len(receiver.bodies) == len(statuses) + 1


def test_after_three_attempts_it_is_left_for_the_next_check(receiver, caplog):
    receiver.statuses = [500] * 9
    assert not webhook(receiver).tell(ALARM, ())
    assert len(receiver.bodies) == alerts.ATTEMPTS
    assert "alert_failed attempts=3 reason=Busy HTTP 500" in caplog.text


@pytest.mark.parametrize("status", [400, 404, 301])
def test_a_receiver_that_does_not_want_it_is_not_asked_again(receiver, caplog, status):
    receiver.statuses = [status] * 3
    assert not webhook(receiver).tell(ALARM, ())
    assert len(receiver.bodies) == 1
    assert f"alert_refused reason=HTTPError HTTP {status}" in caplog.text


def test_a_receiver_that_hangs_does_not_hold_the_monitor(receiver, monkeypatch):
    monkeypatch.setattr(alerts, "REQUEST_SECONDS", 30.0)
    monkeypatch.setattr(alerts, "PATIENCE", 0.3)
    receiver.statuses = [SILENCE]
    assert not webhook(receiver).tell(ALARM, ())
    assert receiver.hanging == 1


def test_nobody_listening_is_logged_and_raises_nothing(caplog):
    closed = Webhook(SecretStr("http://127.0.0.1:9/hook?token=very-secret"), None)
    assert not closed.tell(ALARM, ())
    assert "alert_failed" in caplog.text


def test_an_episode_is_told_once(receiver):
    assert not webhook(receiver).tell(ALARM, (TOLD,))
    assert receiver.bodies == []


@pytest.mark.parametrize(
    "earlier",
    [
        ALARM,  # it was not taken then
        replace(TOLD, episode=date(2025, 11, 3)),
        replace(TOLD, severity="critical"),
        replace(TOLD, ticker="MSFT"),
    ],
    ids=["not taken", "another episode", "another severity", "another ticker"],
)
def test_what_was_not_told_is_told(receiver, earlier):
    assert webhook(receiver).tell(ALARM, (earlier,))


@pytest.mark.parametrize("severity", ["none", "watch"])
def test_what_is_no_alarm_is_not_told(receiver, severity):
    calm = replace(ALARM, alarm=False, severity=severity)
    assert not webhook(receiver).tell(calm, ())
    assert receiver.bodies == []


def test_without_an_address_the_log_has_the_alarm(caplog):
    assert not Webhook(None, None).tell(ALARM, ())
    assert "drift_alarm ticker=AAPL severity=alarm" in caplog.text
    assert "ranges doubled" in caplog.text


def test_the_address_is_in_no_log_line(receiver, caplog):
    caplog.set_level(logging.DEBUG)
    receiver.statuses = [500, 500, 404]
    webhook(receiver).tell(ALARM, ())
    webhook(receiver).tell(ALARM, ())
    assert "very-secret" not in caplog.text


@pytest.mark.parametrize("address", ["ftp://x/secret-key", "file:///secret-key", "secret-key"])
def test_an_address_that_is_none_of_the_web_is_refused_unseen(settings, monkeypatch, address):
    monkeypatch.setenv("STOCK_ALERT_WEBHOOK", address)
    with pytest.raises(BadSettings, match=r"STOCK_ALERT_WEBHOOK=\.\.\.: .*http") as caught:
        get_settings()
    assert "secret-key" not in str(caught.value)
