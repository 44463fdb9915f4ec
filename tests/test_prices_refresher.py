"""Prices fetched beside the requests: one at a time, once, boundedly, and never waited for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import pytest

from contracts import BadPrices, SourceUnavailable
from prices import refresher
from prices.providers import NoData
from prices.refresher import STRANGERS, Refresher


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Source:
    """What is fetched and what comes of it; a fetch may be held back."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.raises: Exception | None = None
        self.open = threading.Event()
        self.open.set()
        self.at_once = self.most_at_once = 0

    def __call__(self, ticker: str) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.asked.append(ticker)
        self.open.wait(20)
        self.at_once -= 1
        if self.raises is not None:
            raise self.raises


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source():
    held = Source()
    yield held
    held.open.set()


@pytest.fixture
def desk(source, clock):
    worker = Refresher(source, known=lambda ticker: ticker in ("AAPL", "MSFT"), clock=clock)
    yield worker
    source.open.set()
    worker.close()


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.002)


def settle(desk: Refresher) -> None:
    """Return once nothing waits and nothing is being fetched."""
    until(lambda: not desk._waiting and desk._busy is None)


def test_no_thread_runs_before_something_is_asked_for(desk):
    assert desk._worker is None


def test_a_ticker_is_fetched_once_however_often_it_is_asked_for(desk, source):
    source.open.clear()
    assert [desk.ask("AAPL") for _ in range(5)] == [True, False, False, False, False]
    source.open.set()
    settle(desk)
    assert not desk.ask("AAPL"), "it rests"
    assert source.asked == ["AAPL"]


@pytest.mark.parametrize(
    ("raises", "rest"),
    [
        (None, 300),
        (NoData("no bars"), 3600),
        (SourceUnavailable("left alone"), 60),
        (BadPrices("a split undone"), 1800),
        (ZeroDivisionError(), 300),
    ],
    ids=["fetched", "unknown", "away", "refused", "a bug"],
)
def test_how_long_a_ticker_rests_depends_on_what_came(desk, source, clock, raises, rest, caplog):
    source.raises = raises
    desk.ask("AAPL")
    settle(desk)
    clock.now = rest - 1
    assert not desk.ask("AAPL")
    clock.now = rest
    assert desk.ask("AAPL")
    settle(desk)
    assert source.asked == ["AAPL", "AAPL"], "the worker survives whatever is raised"
    errors = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(errors) == (2 if isinstance(raises, ZeroDivisionError) else 0)


def test_one_is_fetched_at_a_time_and_ours_come_first(desk, source):
    source.open.clear()
    desk.ask("X1")
    until(lambda: source.asked)
    for ticker in ("X2", "X3", "MSFT", "AAPL"):
        desk.ask(ticker)
    source.open.set()
    settle(desk)
    assert source.asked == ["X1", "MSFT", "AAPL", "X2", "X3"]
    assert source.most_at_once == 1


def test_so_many_strangers_an_hour_and_no_more(desk, source, clock):
    source.raises = NoData("no bars")
    assert sum(desk.ask(f"X{number}") for number in range(1000)) == STRANGERS
    settle(desk)
    assert len(source.asked) == STRANGERS and not desk.ask("ONEMORE")
    assert desk.ask("AAPL"), "ours are not counted"
    settle(desk)
    assert len(desk._rests) + len(desk._strangers) <= 2 * STRANGERS + 1
    clock.now = 3600
    assert desk.ask("ONEMORE")


def test_closing_does_not_wait_for_a_download_that_hangs(desk, source, monkeypatch):
    monkeypatch.setattr(refresher, "CLOSE_SECONDS", 0.05)
    source.open.clear()
    desk.ask("AAPL")
    until(lambda: source.asked)
    desk.ask("MSFT")
    began = time.monotonic()
    desk.close()
    assert time.monotonic() - began < 1
    source.open.set()
    until(lambda: not desk._worker.is_alive())
    assert source.asked == ["AAPL"] and not desk.ask("MSFT")


def test_an_idle_one_declines_everything():
    idle = Refresher.idle()
    assert not idle.ask("AAPL") and idle._worker is None
