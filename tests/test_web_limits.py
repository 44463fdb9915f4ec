"""How often one may ask: per key, per address, in one process and shared through a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import parse
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from test_web_keys import BOTH, OPERATOR, READER, bearer

from config import Settings
from contracts import BadSettings
from web.addresses import ClientAddresses
from web.limits import BoundedMemory, RateLimits


def statuses(client, times: int, path: str = "/tickers", **headers: str) -> list[int]:
    return [client.get(path, headers=headers).status_code for _ in range(times)]


def test_nothing_is_limited_unless_configured(service):
    client = service()
    assert set(statuses(client, 30)) == {200}
    assert "ratelimit-limit" not in client.get("/tickers").headers


def test_one_address_may_ask_so_often(service):
    client = service(rate_limit_per_address="3/day")
    assert statuses(client, 5) == [200, 200, 200, 429, 429]
    answer = client.get("/tickers")
    assert answer.json()["type"] == "/problems/too_many_requests"
    assert 1 <= int(answer.headers["retry-after"]) <= 86400
    assert answer.headers["ratelimit-remaining"] == "0"


def test_an_answer_says_how_often_one_may_ask_still(service):
    client = service(rate_limit_per_address="3/day")
    left = [client.get("/tickers").headers["ratelimit-remaining"] for _ in range(3)]
    assert left == ["2", "1", "0"]
    assert client.get("/tickers").headers["ratelimit-limit"] == "3"


def test_health_is_never_limited(service):
    client = service(rate_limit_per_address="1/day")
    assert set(statuses(client, 5, "/health") + statuses(client, 5, "/metrics")) == {200}


def test_each_key_has_its_own_count(service):
    client = service(api_keys=BOTH, rate_limit_per_key="2/day")
    assert statuses(client, 3, **bearer(READER)) == [200, 200, 429]
    assert statuses(client, 3, **bearer(OPERATOR)) == [200, 200, 429]


def test_who_guesses_keys_is_slowed_down(service):
    client = service(api_keys=BOTH, rate_limit_per_address="2/day")
    assert statuses(client, 4, **bearer("guess")) == [401, 401, 429, 429]
    assert statuses(client, 2, **bearer(READER)) == [200, 200]


def test_an_address_cannot_be_invented(service):
    client = service(client="10.0.0.7", rate_limit_per_address="2/day")
    answers = [client.get("/tickers", headers={"X-Forwarded-For": f"1.1.1.{n}"}) for n in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]


def test_behind_a_trusted_proxy_each_client_counts_for_itself(service):
    wish = {"rate_limit_per_address": "1/day", "trusted_proxies": "10.0.0.0/8"}
    client = service(client="10.0.0.7", **wish)
    for address in ("1.1.1.1", "1.1.1.2", "2001:db8:0:7::1"):
        assert statuses(client, 2, **{"X-Forwarded-For": address}) == [200, 429]
    assert statuses(client, 1, **{"X-Forwarded-For": "2001:db8:0:7::2"}) == [429]  # one /64


@pytest.mark.parametrize("text", ["10/fortnight", "many", "-1/minute", "0/minute", "5 per second"])
def test_a_limit_that_is_none_stops_the_start(service, text):
    with pytest.raises(BadSettings, match="STOCK_RATE_LIMIT_PER_KEY"):
        service(rate_limit_per_key=text)


@pytest.mark.parametrize("text", ["everyone", "10.0.0.0/64"])
def test_a_proxy_that_is_no_address_stops_the_start(service, text):
    with pytest.raises(BadSettings, match="STOCK_TRUSTED_PROXIES"):
        service(trusted_proxies=text)


@pytest.mark.parametrize("text", ["not-a-url", "http://:secret@127.0.0.1"])
def test_a_store_that_is_none_stops_the_start_and_its_password_stays_inside(service, text):
    with pytest.raises(BadSettings, match="STOCK_RATE_LIMIT_STORE") as told:
        service(rate_limit_store=text)
    assert "secret" not in str(told.value)


# Whose address


def address(peer: str, forwarded: str, proxies: tuple[str, ...] = ("10.0.0.0/8",)) -> str:
    scope: dict[str, Any] = {"client": (peer, 1)}
    return ClientAddresses(proxies).of(scope, {b"x-forwarded-for": forwarded.encode()})


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", "1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", "6.6.6.6, 1.1.1.1", "1.1.1.1"),  # whatever the client itself wrote
        ("10.0.0.1", "1.1.1.1, 10.0.0.2, 10.0.0.3", "1.1.1.1"),
        ("10.0.0.1", "1.1.1.1, nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.9", "10.0.0.9"),
        ("8.8.8.8", "1.1.1.1", "8.8.8.8"),
        ("::ffff:8.8.8.8", "", "8.8.8.8"),
        ("2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::/64"),
        ("testclient", "", "unknown"),
    ],
)
def test_the_last_hop_that_is_no_proxy_is_the_client(peer, forwarded, client):
    assert address(peer, forwarded) == client


@given(st.text(max_size=200))
def test_no_forwarded_text_breaks_the_look(forwarded):
    assert address("10.0.0.1", forwarded.encode("ascii", "ignore").decode())


# The store in this process


def test_the_window_slides():
    async def hits() -> list[bool]:
        limiter, item = SlidingWindowCounterRateLimiter(BoundedMemory()), parse("5/hour")
        return [await limiter.hit(item, "a") for _ in range(7)]

    assert asyncio.run(hits()) == [True] * 5 + [False] * 2


def test_what_was_asked_a_window_ago_counts_in_part(monkeypatch):
    now = [3600.0 * 1000]
    monkeypatch.setattr("web.limits.time.time", lambda: now[0])

    async def hits() -> tuple[int, int]:
        limiter, item = SlidingWindowCounterRateLimiter(BoundedMemory()), parse("100/hour")
        first = sum([await limiter.hit(item, "a") for _ in range(150)])
        now[0] += 3600 * 1.25  # a quarter into the next window: three quarters still count
        return first, sum([await limiter.hit(item, "a") for _ in range(150)])

    assert asyncio.run(hits()) == (100, 25)


def test_clients_beyond_the_bound_are_forgotten_oldest_first():
    async def fill() -> tuple[int, int, int]:
        store = BoundedMemory(most=100)
        for n in range(1000):
            await store.incr(f"k{n}", 60)
        return len(store._counters), await store.get("k0"), await store.get("k999")

    assert asyncio.run(fill()) == (100, 0, 1)


# The store that workers share


def limits(url: str) -> RateLimits:
    return RateLimits(
        Settings.model_validate({"rate_limit_per_address": "4/day", "rate_limit_store": url})
    )


def ask(
    url: str, who: str, *workers: int, between: Callable[[], None] = lambda: None
) -> list[bool]:
    """Whether each request was allowed, by the worker it came to."""

    async def run() -> list[bool]:
        shops = {n: limits(url) for n in set(workers)}
        seen = []
        for place, worker in enumerate(workers):
            if place == len(workers) // 2:
                between()
            refusal, _ = await shops[worker].count(None, who)
            seen.append(refusal is None)
        for shop in shops.values():
            await shop.close()
        return seen

    return asyncio.run(run())


@pytest.mark.redis
def test_two_workers_count_together(redis_server):
    assert ask(redis_server.url, "1.1.1.1", 1, 2, 1, 2, 1, 2) == [True] * 4 + [False] * 2


@pytest.mark.redis
def test_while_redis_is_away_each_worker_counts_for_itself(redis_server, caplog):
    seen = ask(redis_server.url, "1.1.1.2", *[1] * 12, between=redis_server.stop)
    redis_server.start()
    assert seen == [True] * 4 + [False] * 2 + [True] * 4 + [False] * 2
    assert "rate_limit_store=away" in caplog.text and "127.0.0.1" not in caplog.text


@pytest.mark.redis
def test_the_service_asks_redis(service, redis_server):
    wish = {"rate_limit_per_address": "2/day", "rate_limit_store": redis_server.url}
    assert statuses(service(client="9.9.9.9", **wish), 3) == [200, 200, 429]
    assert statuses(service(client="9.9.9.9", **wish), 1) == [429]  # another process would be too
