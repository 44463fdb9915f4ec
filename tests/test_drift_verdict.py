"""Verdicts as they are kept: rows of the first version stay readable, new facts survive."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest
from invented_forecasts import make_drift

from contracts import CheckedSession
from forecast_log import parse_verdict, verdict_json
from schemas import DriftOut

ADDED = ("severity", "consecutive", "reasons", "episode", "cooled_down")
ADDED += ("false_alarms_per_month", "history")


def of_the_first_version(**changes: object) -> str:
    """A row as it was written before severity, history and the false-alarm rate."""
    plain = json.loads(verdict_json(make_drift())) | changes
    for entry in plain["features"]:
        del entry["consecutive"], entry["reason"]
    return json.dumps({name: value for name, value in plain.items() if name not in ADDED})


@pytest.mark.parametrize(("alarm", "severity"), [(True, "alarm"), (False, "none")])
def test_a_verdict_of_the_first_version_is_still_read(alarm, severity):
    verdict = parse_verdict(of_the_first_version(alarm=alarm))
    assert (verdict.alarm, verdict.severity) == (alarm, severity)
    assert (verdict.reasons, verdict.false_alarms_per_month) == ((), None)


def test_a_full_verdict_comes_back_as_it_was_written():
    checked = CheckedSession(session=date(2025, 12, 31), severity="alarm", strain=1.4, raised=True)
    verdict = replace(
        make_drift(),
        severity="critical",
        consecutive=7,
        reasons=("daily ranges are 2.1 times those of training for 7 sessions",),
        episode=date(2025, 12, 23),
        cooled_down=True,
        false_alarms_per_month=0.031,
        history=(checked,),
    )
    assert parse_verdict(verdict_json(verdict)) == verdict
    assert DriftOut.of(verdict).history[0].strain == 1.4
