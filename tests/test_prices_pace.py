"""How often a source is asked: a few at once, then a steady row that all processes share."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts import SourceUnavailable
from prices.pace import AT_ONCE, Pace


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def pace(self, path: Path, per_minute: int) -> Pace:
        return Pace(path, per_minute, clock=lambda: self.now, sleep=self.sleep)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def waited(clock: Clock, pace: Pace, times: int) -> float:
    began = clock.now
    for _ in range(times):
        pace.wait()
    return clock.now - began


def test_a_few_questions_need_not_wait(clock, tmp_path):
    assert waited(clock, clock.pace(tmp_path / "pace", 60), AT_ONCE) == 0


def test_many_are_a_steady_row(clock, tmp_path):
    pace = clock.pace(tmp_path / "pace", 30)
    waited(clock, pace, AT_ONCE)
    assert waited(clock, pace, 90) == pytest.approx(180)


def test_two_processes_share_the_row(clock, tmp_path):
    one, other = (clock.pace(tmp_path / "pace", 60) for _ in range(2))
    began = clock.now
    for _ in range(50):
        one.wait()
        other.wait()
    assert clock.now - began == pytest.approx(100 - AT_ONCE)


def test_after_a_rest_a_few_may_ask_at_once_again(clock, tmp_path):
    pace = clock.pace(tmp_path / "pace", 60)
    waited(clock, pace, 100)
    clock.now += 1000
    assert waited(clock, pace, AT_ONCE) == 0


def test_without_a_limit_nobody_waits_and_no_file_is_kept(clock, tmp_path):
    assert waited(clock, clock.pace(tmp_path / "pace", 0), 1000) == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "nonsense", "9e99"])
def test_a_damaged_file_or_a_clock_set_back_makes_nobody_wait_for_ever(clock, tmp_path, content):
    (tmp_path / "pace").write_text(content)
    assert waited(clock, clock.pace(tmp_path / "pace", 60), 1) == 0


def test_a_folder_that_cannot_be_written_is_said(clock, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceUnavailable, match="cannot be written"):
        clock.pace(tmp_path / "file" / "pace", 60).wait()
