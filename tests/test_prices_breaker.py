"""How long a source that failed is left alone: growing, jittered, and known to every process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from contracts import SourceUnavailable
from prices.breaker import FIRST_WAIT, LONGEST_WAIT, TRIAL_SECONDS, Breaker

ROOT = Path(__file__).resolve().parent.parent


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "sources" / "yfinance.json"


def opens_after(breaker: Breaker, clock: Clock) -> float:
    """Seconds until the breaker lets somebody in, found by trying."""
    start = clock.now
    while True:
        try:
            breaker.enter()
        except SourceUnavailable:
            clock.now += 1
        else:
            waited, clock.now = clock.now - start, start
            return waited


def test_nothing_is_written_and_nobody_waits_while_a_source_answers(path, clock):
    breaker = Breaker(path, "yfinance", clock)
    for _ in range(3):
        breaker.enter()
        breaker.answered()
    assert not path.exists()


def test_every_further_failure_doubles_the_wait_up_to_an_hour(path, clock):
    breaker = Breaker(path, "yfinance", clock, chance=lambda: 0.0)
    waits = []
    for _ in range(9):
        breaker.failed("HTTP 429")
        waits.append(opens_after(breaker, clock))
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert (FIRST_WAIT, LONGEST_WAIT) == (60, 3600)


@pytest.mark.parametrize(("chance", "wait"), [(0.0, 60), (0.5, 45), (1.0, 30)])
def test_up_to_half_of_a_wait_is_remitted_at_random(path, clock, chance, wait):
    breaker = Breaker(path, "yfinance", clock, chance=lambda: chance)
    breaker.failed("HTTP 429")
    assert opens_after(breaker, clock) == wait


def test_the_reason_and_the_time_left_are_said(path, clock):
    breaker = Breaker(path, "yfinance", clock, chance=lambda: 0.0)
    breaker.failed("HTTP 429")
    with pytest.raises(SourceUnavailable, match=r"yfinance is left alone for 60 s.*HTTP 429"):
        breaker.enter()


def test_after_the_wait_one_tries_and_the_others_go_on_waiting(path, clock):
    one, other = (Breaker(path, "yfinance", clock) for _ in range(2))
    one.failed("HTTP 429")
    clock.now += FIRST_WAIT
    one.enter()
    with pytest.raises(SourceUnavailable):
        other.enter()
    clock.now += TRIAL_SECONDS  # the one who tried was killed
    other.enter()
    other.answered()
    one.enter()
    other.enter()


def test_an_answer_ends_the_counting_too(path, clock):
    breaker = Breaker(path, "yfinance", clock, chance=lambda: 0.0)
    for _ in range(4):
        breaker.failed("HTTP 429")
    breaker.answered()
    breaker.failed("HTTP 429")
    assert opens_after(breaker, clock) == FIRST_WAIT


def test_another_process_knows(path):
    Breaker(path, "yfinance").failed("HTTP 429")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\nfrom prices.breaker import Breaker\n"
        f"Breaker(Path({str(path)!r}), 'yfinance').enter()\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1 and "left alone" in run.stderr


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"failures": "many"}', "\x00" * 40])
def test_a_damaged_state_counts_as_no_failure(path, clock, damage):
    breaker = Breaker(path, "yfinance", clock)
    breaker.failed("HTTP 429")
    path.write_text(damage)
    breaker.enter()
    breaker.failed("HTTP 500")
    with pytest.raises(SourceUnavailable, match="HTTP 500"):
        breaker.enter()


def test_a_clock_set_back_for_years_keeps_nobody_waiting(path, clock):
    breaker = Breaker(path, "yfinance", clock)
    breaker.failed("HTTP 429")
    clock.now -= 1e8
    assert opens_after(breaker, clock) == 0


def test_a_folder_that_cannot_be_written_is_said_plainly(tmp_path):
    (tmp_path / "sources").write_text("a file")
    with pytest.raises(SourceUnavailable, match="cannot be written"):
        Breaker(tmp_path / "sources" / "yfinance.json", "yfinance").enter()
