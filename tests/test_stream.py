"""Forecasts as server-sent events, from a real server whose champion and prices really change."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from fake_desk import FakeDesk
from project import Project, free_port

from contracts import NoChampion, UnknownTicker
from model_store import ModelStore
from web import stream
from web.stream import Streams, Topic

ASKED = ("AAPL", 3, False)


@dataclass
class Moving:
    """A desk whose model and prices change by hand."""

    version: str = "1"
    sha256: str = "ab" * 32
    failure: Exception | None = None
    looks: int = 0

    def forecast(self, ticker: str, steps: int, smoothing: bool):
        self.looks += 1
        if self.failure:
            raise self.failure
        made = FakeDesk().forecast(ticker, steps, smoothing)
        return replace(
            made,
            model=replace(made.model, version=self.version),
            provenance=replace(made.provenance, sha256=self.sha256),
        )


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once."""
    monkeypatch.setattr(stream, "POLL_SECONDS", 0.01)


async def next_event(events: AsyncIterator):
    return await asyncio.wait_for(anext(events), 20)


async def following(streams: Streams, topic: Topic, seen: str | None = None, count: int = 1):
    """The next `count` events of a topic."""
    async with aclosing(streams.events(topic, seen)) as events:
        return [await next_event(events) for _ in range(count)]


def test_a_forecast_comes_at_once_and_again_with_a_new_model_or_new_prices(quick):
    async def story() -> list[str]:
        desk = Moving()
        streams = Streams(desk)
        with streams.listening(ASKED) as topic:
            async with aclosing(streams.events(topic, None)) as events:
                seen = [(await next_event(events)).id]
                desk.version = "2"
                seen.append((await next_event(events)).id)
                desk.sha256 = "cd" * 32
                seen.append((await next_event(events)).id)
        return seen

    first, promoted, newer = asyncio.run(story())
    assert len({first, promoted, newer}) == 3
    assert (".1." in first, ".2." in promoted, newer.endswith("cd" * 8)) == (True, True, True)


def test_what_was_seen_before_is_not_sent_again(quick):
    async def story() -> tuple[str, str]:
        desk = Moving()
        streams = Streams(desk)
        with streams.listening(ASKED) as topic:
            (first,) = await following(streams, topic)
            waiting = asyncio.ensure_future(following(streams, topic, first.id))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            desk.version = "2"
            ((second,),) = (await waiting,)
        return first.id, second.id

    first, second = asyncio.run(story())
    assert first != second


def test_a_failure_is_told_once_and_the_stream_goes_on(quick):
    async def story() -> list:
        desk = Moving(failure=NoChampion("AAPL"))
        streams = Streams(desk)
        with streams.listening(ASKED) as topic:
            async with aclosing(streams.events(topic, None)) as events:
                told = [await next_event(events)]
                looks = desk.looks
                while desk.looks < looks + 3:
                    await asyncio.sleep(0.01)
                desk.failure = None
                told.append(await next_event(events))
        return told

    problem, forecast = asyncio.run(story())
    assert (problem.event, forecast.event) == ("problem", "forecast")
    assert json.loads(problem.raw_data)["type"] == "/problems/no_champion"


def test_many_listeners_are_one_look_and_none_are_no_look(quick):
    async def story() -> tuple[int, int]:
        desk = Moving()
        streams = Streams(desk)
        with streams.listening(ASKED) as one, streams.listening(ASKED) as other:
            assert one is other
            await asyncio.gather(*(following(streams, one) for _ in range(50)))
            together = desk.looks
        while not one.ended:
            await asyncio.sleep(0.01)
        left = desk.looks
        await asyncio.sleep(0.1)
        assert desk.looks == left
        return together, left

    together, _ = asyncio.run(story())
    assert together <= 3


def test_a_bug_ends_the_stream_instead_of_leaving_it_silent(quick):
    async def story() -> bool:
        streams = Streams(Moving(failure=RuntimeError("a bug")))
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)  # it would print the traceback
        with streams.listening(ASKED) as topic:
            return [event async for event in streams.events(topic, None)] == []

    assert asyncio.run(story())


# A real server


@dataclass
class Event:
    """One event as it came over the wire."""

    id: str
    kind: str
    data: dict


def events_of(lines: Iterator[str]) -> Iterator[Event]:
    """Parse the wire as a browser does; comments are passed over."""
    fields: dict[str, str] = {}
    for line in lines:
        if not line and "data" in fields:
            yield Event(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
        if not line:
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")


@pytest.fixture(scope="module")
def copy(trained_project, tmp_path_factory) -> Project:
    """A project whose champion may be changed."""
    folder: Path = tmp_path_factory.mktemp("streaming")
    shutil.copytree(trained_project.folder, folder, dirs_exist_ok=True)
    return Project(folder, trained_project.settings)


@pytest.fixture(scope="module")
def api(copy) -> Iterator[str]:
    """A real uvicorn over it."""
    with copy.api() as url:
        yield url


def listen(url: str, **headers: str):
    return httpx.stream("GET", f"{url}/stream/AAPL?steps=3", headers=headers, timeout=30)


def test_a_promotion_arrives_as_a_new_forecast(api, copy):
    store = ModelStore(copy.folder / "models")
    with listen(api) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = events_of(answer.iter_lines())
        first = next(events)
        assert first.data == httpx.get(f"{api}/predict?ticker=AAPL&steps=3").json()
        store.publish("AAPL", store.champion("AAPL").path, "17")
        second = next(events)
    assert (first.kind, second.kind) == ("forecast", "forecast")
    assert second.data["model"]["version"] == "17" != first.data["model"]["version"]
    assert second.data["prices"] == first.data["prices"]  # the same network under another name


def test_new_prices_arrive_as_a_new_forecast(api, copy, real_data, tmp_path):
    rows = (real_data / "yahoo" / "AAPL.csv").read_text().splitlines()
    with listen(api) as answer:
        events = events_of(answer.iter_lines())
        first = next(events)
        (tmp_path / "AAPL.csv").write_text("\n".join([rows[0], *rows[200:]]) + "\n")
        run = copy.command("data_pipeline.py", "import", "AAPL", str(tmp_path / "AAPL.csv"))
        assert run.returncode == 0, run.stderr
        second = next(events)
    assert second.kind == "forecast"
    assert second.data["data"]["sha256"] != first.data["data"]["sha256"]
    assert second.data["model"] == first.data["model"]


def test_an_unknown_ticker_is_a_problem_before_anything_is_streamed(api):
    answer = httpx.get(f"{api}/stream/ZZZZ", timeout=30)
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/unknown_ticker")


def test_many_listeners_hold_no_thread_that_a_forecast_needs(api):
    with httpx.Client(timeout=30, limits=httpx.Limits(max_connections=None)) as client:
        held = []
        for _ in range(60):  # more than the threads a server has
            request = client.build_request("GET", f"{api}/stream/AAPL?steps=3")
            held.append(client.send(request, stream=True))
        assert {answer.status_code for answer in held} == {200}
        assert client.get(f"{api}/prices/AAPL?last=1").status_code == 200
        for answer in held:
            answer.close()


def test_a_server_that_is_asked_to_stop_ends_its_streams(copy):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    arguments = ("uvicorn", "app:app", "--app-dir", str(Path(stream.__file__).parent.parent))
    with copy.serving(*arguments, "--port", str(port), until=f"{url}/health") as process:
        with listen(url) as answer:
            lines = answer.iter_lines()
            assert next(events_of(lines)).kind == "forecast"
            process.send_signal(signal.SIGTERM)
            assert list(events_of(lines)) == []  # a whole answer: ended, not torn off
        assert process.wait(timeout=30) in (0, -signal.SIGTERM)


def test_a_stream_that_was_seen_whole_waits_for_the_next_change(api, copy):
    store = ModelStore(copy.folder / "models")
    with listen(api) as answer:
        seen = next(events_of(answer.iter_lines())).id
    with listen(api, **{"Last-Event-ID": seen}) as answer:
        store.publish("AAPL", store.champion("AAPL").path, "18")
        following = next(events_of(answer.iter_lines()))
    assert following.id != seen
    assert following.data["model"]["version"] == "18"


def test_there_are_only_so_many_places_to_listen(copy):
    with copy.api(STOCK_MAX_STREAMS="1") as url, listen(url) as held:
        events = events_of(held.iter_lines())  # kept: an iterator that is let go ends the stream
        assert next(events).kind == "forecast"
        late = httpx.get(f"{url}/stream/AAPL", timeout=30)
        assert (late.status_code, late.json()["type"]) == (503, "/problems/overloaded")
        assert "retry-after" in late.headers
        assert httpx.get(f"{url}/prices/AAPL?last=1", timeout=30).status_code == 200


def test_nobody_listens_to_a_ticker_that_nobody_has():
    with pytest.raises(UnknownTicker):
        asyncio.run(Streams(FakeDesk(known=())).look(ASKED))
