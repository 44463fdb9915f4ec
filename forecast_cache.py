"""Answers kept as the bytes that are sent, bounded in number and size; and one maker per answer.

Knows keys and bytes; not what a forecast is made of, no clock and no HTTP.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

from contracts import Answer

Made = TypeVar("Made")


class ForecastCache:
    """The answers asked for last. Safe to share by threads.

    Args:
        most: answers.
        most_bytes: of them together, by their own `size`.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._answers: OrderedDict[Hashable, Answer] = OrderedDict()
        self._bytes = self._hits = self._misses = 0
        self._changing = threading.Lock()

    def get(self, key: Hashable) -> Answer | None:
        """The answer under exactly this key; counts as a hit or a miss."""
        with self._changing:
            if (answer := self._answers.get(key)) is None:
                self._misses += 1
                return None
            self._answers.move_to_end(key)
            self._hits += 1
            return answer

    def put(self, key: Hashable, answer: Answer) -> None:
        """Keep an answer; those asked for longest ago make room, one too large is not kept."""
        if answer.size > self._most_bytes:
            return
        with self._changing:
            if (old := self._answers.pop(key, None)) is not None:
                self._bytes -= old.size
            self._answers[key] = answer
            self._bytes += answer.size
            while len(self._answers) > self._most or self._bytes > self._most_bytes:
                _, gone = self._answers.popitem(last=False)
                self._bytes -= gone.size

    def counts(self) -> tuple[int, int]:
        """(hits, misses) so far."""
        return self._hits, self._misses

    def __contains__(self, key: Hashable) -> bool:
        """Whether `get` would find it; counts as nothing."""
        return key in self._answers

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def size(self) -> int:
        """Bytes of all answers, as `put` bounds them."""
        return self._bytes


class SingleFlight(Generic[Made]):
    """One making at a time for each key; whoever asks meanwhile gets the same, errors too."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, Future[Made]] = {}
        self._changing = threading.Lock()

    def join(self, key: Hashable) -> tuple[Future[Made], bool]:
        """What will hold the result, and whether the caller is the one to `land` it."""
        with self._changing:
            if (flight := self._flights.get(key)) is not None:
                return flight, False
            flight = self._flights[key] = Future()
            return flight, True

    def land(self, key: Hashable, make: Callable[[], Made]) -> None:
        """Make what was joined first; an error goes to everybody who waits and is not kept."""
        flight = self._flights[key]
        try:
            made = make()
        except BaseException as error:
            self._leave(key)
            flight.set_exception(error)
        else:
            self._leave(key)
            flight.set_result(made)

    def cancel(self, key: Hashable, error: Exception) -> None:
        """Tell those who wait that it will not be made."""
        flight = self._flights[key]
        self._leave(key)
        flight.set_exception(error)

    def do(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Make it here, or wait for whoever does."""
        flight, first = self.join(key)
        if first:
            self.land(key, make)
        return flight.result()

    def _leave(self, key: Hashable) -> None:
        with self._changing:
            del self._flights[key]
