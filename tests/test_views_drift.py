"""The tab of drift, as a visitor sees it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from fake_desk import FakeDesk
from fake_pages import FakePages
from invented_forecasts import REPORT, make_drift
from shown import texts

from charts.look import LIGHT
from charts.watching import strain_chart
from contracts import CheckedSession, LogUnavailable
from schemas import DriftOut


def button(shown, label):
    return next(button for button in shown.button if button.label == label)


def test_an_alarm_is_a_warning_with_its_table(page, behind):
    shown = page(behind(FakeDesk()), tab="Drift")
    assert "range of AAPL has widened" in shown.warning[0].value
    features = shown.dataframe[0].value
    assert list(features["drifted"]) == ["no", "yes"]
    assert list(features["feature"]) == ["daily returns", "daily ranges"]
    assert "Checked 18 Jan 2026, 06:00 UTC" in texts(shown.caption)


def test_the_errors_stand_beside_the_last_close(page, behind):
    said = texts(page(behind(FakeDesk()), tab="Drift").caption)
    assert "Error relative to repeating the last close: 3.40 now, 3.10 then." in said


def test_every_ticker_and_every_past_check_is_listed(page, behind):
    shown = page(behind(FakeDesk()), tab="Drift")
    past, everyone = shown.dataframe[1].value, shown.dataframe[2].value
    assert set(past["Ticker"]) == {"AAPL"}
    assert "AAPL" in set(everyone["Ticker"])
    assert {"daily ranges"} <= set(past["Moved"])


def test_no_check_yet_is_no_error(page, behind):
    shown = page(behind(FakeDesk(checked=False)), tab="Drift")
    assert "has not been checked for drift yet" in shown.info[0].value
    assert not shown.error


def test_trouble_with_the_latest_check_leaves_the_past_ones(page, behind):
    shown = page(behind(FakeDesk(failures={"AAPL": LogUnavailable("x")})), tab="Drift")
    assert "does not answer; try again later" in shown.error[0].value
    assert len(shown.dataframe) == 2


def test_a_check_is_asked_for_and_waited_for(page, behind):
    pages = FakePages()
    shown = page(behind(FakeDesk(), pages), tab="Drift")
    button(shown, "Check now").click().run()
    assert pages.asked_checks == ["AAPL"]
    assert not shown.exception and not shown.error


def test_who_may_not_operate_is_told_so(page, behind, monkeypatch):
    # a service with keys on, and a page whose own key may only read
    from web.keys import new_key

    reading, known = new_key("page", "read")
    operating, operator = new_key("boss", "operate")
    monkeypatch.setenv("STOCK_API_KEYS", f"{known.line()},{operator.line()}")
    monkeypatch.setenv("STOCK_API_KEY", reading)
    pages = FakePages()
    shown = page(behind(FakeDesk(), pages), tab="Drift")
    button(shown, "Check now").click().run()
    assert "may only read" in shown.error[0].value
    assert pages.asked_checks == []
    shown.text_input[0].set_value(operating)
    button(shown, "Check now").click().run()
    assert pages.asked_checks == ["AAPL"]
    assert not shown.error


def test_a_check_that_was_made_is_shown_at_once(page, behind):
    class Prompt(FakePages):
        def drift_history(self, ticker, limit):
            found = super().drift_history(ticker, limit)
            day = timedelta(days=len(self.asked_checks))
            later = [
                check.model_copy(update={"checked_at": check.checked_at + day})
                for check in found.checks
            ]
            return found.model_copy(update={"checks": later})

        def ask_check(self, ticker):
            asked = super().ask_check(ticker)
            self.asked_checks.pop()  # still in the queue when the page looks
            return asked

    pages = Prompt()
    shown = page(behind(FakeDesk(), pages), tab="Drift")
    button(shown, "Check now").click().run()
    assert "The check has been made." not in texts(shown.success)
    pages.asked_checks.append("AAPL")
    shown.run()
    assert "The check has been made." in texts(shown.success)


def test_a_monitor_that_sleeps_is_not_waited_for_forever(page, behind, monkeypatch):
    monkeypatch.setattr("views.waiting.TRIES", 3)
    shown = page(behind(FakeDesk()), tab="Drift")
    button(shown, "Check now").click().run()
    for _ in range(2):  # the click was the first look
        shown.run()
    assert "Queued: it waits for the monitor" in texts(shown.info)
    assert not shown.exception


def test_a_report_can_be_looked_at_and_taken_away(page, behind):
    shown = page(behind(FakeDesk()), tab="Drift")
    shown.button_group[0].set_value(REPORT).run()
    assert [button.proto.label for button in shown.get("download_button")] == ["Download HTML"]
    assert shown.get("iframe")


@pytest.mark.parametrize("severity", ["none", "watch", "alarm", "critical"])
def test_every_severity_is_drawn_with_a_mark_of_its_own(severity):
    days = [date(2025, 12, 1) + timedelta(days=n) for n in range(3)]
    sessions = tuple(
        CheckedSession(session=day, severity=severity, strain=0.5 + n) for n, day in enumerate(days)
    )
    verdict = DriftOut.of(replace(make_drift(), history=sessions))
    drawing = strain_chart(verdict.history, LIGHT)
    marks = next(line for line in drawing.data if line.name == severity)
    assert list(marks.y) == [0.5, 1.5, 2.5]
    assert list(marks.x) == days


def test_past_sessions_are_drawn_where_they_are_known(page, behind):
    assert not page(behind(FakeDesk()), tab="Drift").get("plotly_chart")
