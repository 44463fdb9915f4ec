"""Pieces of work side by side: their order, their failures, and how many threads there are."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from parallel import SharedThreads, processors


@pytest.fixture
def three():
    threads = SharedThreads(3)
    yield threads
    threads.close()


def test_what_is_made_comes_in_the_order_of_the_items(three):
    assert three.map(lambda item: item * item, range(1000)) == [n * n for n in range(1000)]
    assert three.map(str, []) == []


def test_pieces_are_at_work_at_the_same_time(three):
    together = threading.Barrier(3, timeout=20)  # breaks unless three wait at once
    assert sorted(three.map(lambda _: together.wait(), range(3))) == [0, 1, 2]


def test_one_thread_is_the_callers_own():
    alone = SharedThreads(1)
    assert set(alone.map(lambda _: threading.current_thread(), range(5))) == {
        threading.current_thread()
    }


def test_whoever_finds_no_thread_free_works_alone(three):
    busy, done = threading.Barrier(4, timeout=20), threading.Event()

    def hold(_: int) -> bool:
        busy.wait()
        return done.wait(20)

    with ThreadPoolExecutor(1) as other:
        held = other.submit(three.map, hold, range(3))
        busy.wait()
        assert three.map(str, range(4)) == ["0", "1", "2", "3"]
        done.set()
        assert held.result() == [True, True, True]


def test_an_error_reaches_the_caller_when_nobody_works_any_more(three):
    left = []

    def make(item: int) -> None:
        if item == 7:
            raise ValueError("the seventh")
        left.append(item)

    with pytest.raises(ValueError, match="the seventh"):
        three.map(make, range(20))
    assert sorted(left) == [n for n in range(20) if n != 7]


def test_closing_waits_for_what_is_being_made_and_the_caller_does_the_rest():
    threads, begun, go_on = SharedThreads(2), threading.Barrier(3, timeout=20), threading.Event()

    def make(item: int) -> int:
        if item < 2:
            begun.wait()
            go_on.wait(20)
        return item

    with ThreadPoolExecutor(2) as others:
        made = others.submit(threads.map, make, range(9))
        begun.wait()
        closed = others.submit(threads.close)
        with pytest.raises(TimeoutError):
            closed.result(timeout=0.1)
        go_on.set()
        assert made.result() == list(range(9))
        closed.result()
    assert threads.map(str, range(3)) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("written", "most"),
    [
        ({"cpu.max": "max 100000\n"}, 1024),
        ({"cpu.max": "150000 100000\n"}, 1),
        ({"cpu.max": "20000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1024),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu.max": "nonsense"}, 1024),
        ({}, 1024),
    ],
)
def test_no_more_processors_than_affinity_and_the_containers_share_allow(tmp_path, written, most):
    for name, text in written.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert processors(tmp_path) == min(len(os.sched_getaffinity(0)), most)
