"""Forecasts as server-sent events: a new one whenever the price or the champion changes.

One look every POLL_SECONDS for all who listen to the same thing, on few threads; a listener only
waits. Ends when the process is asked to end, which a server would otherwise wait for.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from contracts import Forecast, ForecastingError
from schemas import ForecastOut
from web.dependencies import DefaultSteps, Desk, SmoothingQuery, StepsQuery, TickerPath
from web.problems import may_answer, problem_of

logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0
AT_ONCE = 2  # threads that look; however many tickers are listened to
RETRY_MS = 5000  # after which a browser whose connection ended comes back

Asked = tuple[str, int, bool]  # ticker, steps, smoothing


@dataclass(slots=True, eq=False)
class Topic:
    """One thing that some listen to."""

    asked: Asked
    latest: ServerSentEvent | None = None
    listeners: int = 0
    ended: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def publish(self, event: ServerSentEvent) -> None:
        """Let everybody have an event that differs from the one before."""
        if self.latest is None or event.id != self.latest.id:
            self.latest = event
            self._wake()

    def end(self) -> None:
        """Let everybody go."""
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class Streams:
    """Everything that is listened to at one service; used on its event loop only."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._topics: dict[Asked, Topic] = {}
        self._watches: set[asyncio.Task[None]] = set()
        self._threads = anyio.CapacityLimiter(AT_ONCE)
        self._closing = False

    @contextmanager
    def listening(self, asked: Asked) -> Iterator[Topic]:
        """The topic, watched for as long as somebody is here."""
        topic = self._topics.get(asked)
        if topic is None or topic.ended:
            topic = self._topics[asked] = Topic(asked)
            watch = asyncio.get_running_loop().create_task(self._watch(topic))
            self._watches.add(watch)
            watch.add_done_callback(self._watches.discard)
        topic.listeners += 1
        try:
            yield topic
        finally:
            topic.listeners -= 1

    async def look(self, asked: Asked) -> Forecast:
        """The forecast as it is now, made beside the event loop."""
        return await anyio.to_thread.run_sync(
            self._desk.forecast, *asked, limiter=self._threads, abandon_on_cancel=True
        )

    async def events(self, topic: Topic, seen: str | None) -> AsyncIterator[ServerSentEvent]:
        """The newest event unless it has been seen, then every change."""
        while not (topic.ended or self._closing):
            changed, latest = topic.changed, topic.latest
            if latest is not None and latest.id != seen:
                seen = latest.id
                yield latest
            else:
                await changed.wait()

    def close(self) -> None:
        """End every stream."""
        self._closing = True
        for topic in self._topics.values():
            topic.end()
        for watch in self._watches:
            watch.cancel()

    async def _watch(self, topic: Topic) -> None:
        """Look again and again, until nobody listens."""
        try:
            while topic.listeners or topic.latest is None:
                try:
                    topic.publish(_event(await self.look(topic.asked)))
                except ForecastingError as error:
                    topic.publish(_trouble(error))
                await asyncio.sleep(POLL_SECONDS)
        finally:  # of a bug, too: whoever listens comes back and is told
            topic.end()
            if self._topics.get(topic.asked) is topic:
                del self._topics[topic.asked]


def _event(forecast: Forecast) -> ServerSentEvent:
    """A forecast; its id names the model and the prices, so that it changes with either."""
    name = f"{forecast.model.bundle}.{forecast.model.version}.{forecast.provenance.sha256[:16]}"
    body = ForecastOut.of(forecast).model_dump_json()
    return ServerSentEvent(raw_data=body, event="forecast", id=name, retry=RETRY_MS)


def _trouble(error: ForecastingError) -> ServerSentEvent:
    """Why there is no forecast now; the stream goes on and has one again when there is."""
    document = problem_of(error)
    return ServerSentEvent(
        raw_data=document.model_dump_json(), event="problem", id=f"problem.{error.code}"
    )


@contextmanager
def ending_early(end: Callable[[], None]) -> Iterator[None]:
    """Call `end` on the event loop as soon as the process is asked to end, before the server waits.

    A server first waits for every open answer and then stops the application; streams would never
    end. Outside the main thread there are no signals, and nothing happens.
    """
    loop, former = asyncio.get_running_loop(), dict[int, Callable[..., Any]]()

    def handler(number: int, frame: FrameType | None) -> Any:
        loop.call_soon_threadsafe(end)
        return former[number](number, frame)

    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            if callable(present := signal.getsignal(number)):
                former[number] = present
                signal.signal(number, handler)
    except ValueError:  # not the main thread: whoever runs us there ends us otherwise
        former.clear()
    try:
        yield
    finally:
        for ours, present in former.items():
            if signal.getsignal(ours) is handler:
                signal.signal(ours, present)


async def get_streams(request: Request) -> Streams:
    """The streams opened at startup."""
    streams: Streams = request.app.state.streams
    return streams


async def open_topic(
    ticker: TickerPath,
    default_steps: DefaultSteps,
    streams: Annotated[Streams, Depends(get_streams)],
    steps: StepsQuery = None,
    smoothing: SmoothingQuery = True,
) -> AsyncIterator[Topic]:
    """What is asked for, once it has answered a first time: an error then is a problem document."""
    asked = (ticker, steps or default_steps, smoothing)
    await streams.look(asked)
    with streams.listening(asked) as topic:
        yield topic


router = APIRouter(tags=["forecasts"])
LastSeen = Annotated[
    str | None, Header(max_length=200, description="Id of the last event seen; it is not repeated")
]
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `forecast` (data: the answer of `/predict`) and `problem` (data: a "
        "problem document), whenever they change; comments in between keep the connection open",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'event: forecast\ndata: {"ticker": "AAPL"}\nid: AAPL_lstm.3.9f86d081\n',
            }
        },
    }
}


@router.get(
    "/stream/{ticker}",
    summary="A ticker's forecast, whenever it changes",
    response_class=EventSourceResponse,
    responses=_STREAM | may_answer(404, 422, 503),
)
async def stream(
    topic: Annotated[Topic, Depends(open_topic)],
    streams: Annotated[Streams, Depends(get_streams)],
    last_event_id: LastSeen = None,
) -> AsyncIterator[ServerSentEvent]:
    """The forecast now, and again when the champion or the prices change (server-sent events)."""
    async for event in streams.events(topic, last_event_id):
        yield event
