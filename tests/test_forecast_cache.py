"""Answers kept as bytes, within bounds; one maker for each."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from invented_forecasts import make_forecast

from contracts import Answer, DeadlineExceeded, NoChampion, Overloaded
from forecast_cache import ForecastCache, SingleFlight
from work_queue import WorkQueue


def answer(length: int = 100) -> Answer:
    return Answer.of(make_forecast(), b"x" * length)


def test_an_answer_is_found_under_its_own_key_only():
    cache, kept = ForecastCache(10, 10_000), answer()
    cache.put(("AAPL", 30), kept)
    assert cache.get(("AAPL", 30)) is kept
    assert cache.get(("AAPL", 29)) is None
    assert cache.counts() == (1, 1)


def test_the_number_of_answers_is_bounded_and_the_oldest_goes():
    cache = ForecastCache(3, 10**9)
    for key in range(3):
        cache.put(key, answer())
    cache.get(0)
    cache.put(3, answer())
    assert [cache.get(key) is not None for key in range(4)] == [True, False, True, True]
    assert len(cache) == 3


def test_the_bytes_of_answers_are_bounded():
    one = answer().size
    cache = ForecastCache(1000, 5 * one)
    for key in range(50):
        cache.put(key, answer())
        assert cache.size <= 5 * one
    assert (len(cache), cache.size) == (5, 5 * one)
    cache.put("huge", answer(100_000))
    assert cache.get("huge") is None and len(cache) == 5


def test_putting_a_key_again_counts_it_once():
    cache = ForecastCache(10, 10_000)
    for _ in range(5):
        cache.put("key", answer())
    assert (len(cache), cache.size) == (1, answer().size)


def test_the_tag_is_of_the_bytes():
    assert answer().etag == answer().etag != answer(101).etag
    assert answer().etag.startswith('"') and answer().etag.endswith('"')


class Counted:
    """Makes something once it may, and counts how often it was asked to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.times, self.may, self.error = 0, threading.Event(), error

    def __call__(self) -> str:
        self.times += 1
        assert self.may.wait(20)
        if self.error:
            raise self.error
        return "made"


def test_many_at_once_have_it_made_once():
    flights: SingleFlight[str] = SingleFlight()
    make = Counted()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(flights.do, "key", make) for _ in range(8)]
        make.may.set()
        assert {future.result(20) for future in waiting} == {"made"}
    assert make.times <= 2  # a thread may have come after the first had landed
    assert flights.do("key", make) == "made"


def test_everybody_gets_the_error_and_nobody_keeps_it():
    flights: SingleFlight[str] = SingleFlight()
    with pytest.raises(NoChampion):
        make = Counted(NoChampion("AAPL"))
        make.may.set()
        flights.do("key", make)
    assert flights.do("key", lambda: "made") == "made"


@pytest.fixture
def work():
    queues = []

    def opened(threads: int = 1, waiting: int = 1, seconds: float = 20) -> WorkQueue:
        queues.append(WorkQueue(threads, waiting, seconds))
        return queues[-1]

    yield opened
    for queue in queues:
        queue.close()


def test_the_same_question_asked_at_once_is_worked_on_once(work):
    queue, make = work(), Counted()

    async def ask_many() -> list[str]:
        asked = [asyncio.create_task(queue.run("key", make)) for _ in range(50)]
        await asyncio.sleep(0)
        make.may.set()
        return await asyncio.gather(*asked)

    assert asyncio.run(ask_many()) == ["made"] * 50
    assert make.times == 1


def test_beyond_what_may_wait_is_turned_away_at_once_and_the_rest_is_done(work):
    queue, make = work(threads=1, waiting=2), Counted()

    async def ask(count: int) -> list[object]:
        asked = [asyncio.create_task(queue.run(key, make)) for key in range(count)]
        await asyncio.sleep(0)
        make.may.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(ask(5))
    assert found[:3] == ["made"] * 3
    assert [type(error) for error in found[3:]] == [Overloaded, Overloaded]
    assert asyncio.run(ask(1)) == ["made"], "there is room again"


def test_an_error_reaches_whoever_asked(work):
    async def ask() -> None:
        await work().run("key", lambda: (_ for _ in ()).throw(NoChampion("AAPL")))

    with pytest.raises(NoChampion):
        asyncio.run(ask())


def test_whoever_waits_too_long_is_sent_away(work):
    queue, make = work(seconds=0.05), Counted()

    async def ask() -> None:
        try:
            await queue.run("key", make)
        finally:
            make.may.set()

    with pytest.raises(DeadlineExceeded):
        asyncio.run(ask())
