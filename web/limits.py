"""How often one may ask: a sliding window per key and per address. Off unless configured.

The windows are kept in this process, or in Redis where several workers share them.
"""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from limits import RateLimitItem, parse
from limits.aio.storage import SlidingWindowCounterSupport, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.storage.base import TimestampedSlidingWindow

from config import Settings
from contracts import BadSettings
from web.guard import Refusal
from web.headers import Pairs, encode

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool

logger = logging.getLogger(__name__)

MOST_CLIENTS = 50_000  # counters in memory; the longest unused go first
PATIENCE = 0.25  # seconds Redis gets for an answer
SULK = 5.0  # seconds it is not asked again after it failed


class BoundedMemory(TimestampedSlidingWindow, SlidingWindowCounterSupport, Storage):
    """Counters in this process, a fixed number of them.

    The library's own memory walks through every counter at every hit, and keeps as many as
    clients care to open.
    """

    STORAGE_SCHEME = None

    def __init__(self, most: int = MOST_CLIENTS) -> None:
        super().__init__()
        self._most = most
        self._counters: OrderedDict[str, tuple[int, float]] = OrderedDict()

    @property
    def base_exceptions(self) -> type[Exception]:
        return OSError

    async def get(self, key: str) -> int:
        """Hits counted under a key that has not expired."""
        count, until = self._counters.get(key, (0, 0.0))
        return count if until > time.time() else 0

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count; what has been unused longest makes room."""
        count = await self.get(key) + amount
        self._counters[key] = (count, time.time() + expiry)
        self._counters.move_to_end(key)
        if len(self._counters) > self._most:
            self._counters.popitem(last=False)
        return count

    async def get_expiry(self, key: str) -> float:
        """Seconds since the epoch."""
        return self._counters.get(key, (0, time.time()))[1]

    async def check(self) -> bool:
        """Memory always answers."""
        return True

    async def reset(self) -> int | None:
        """Forget every client."""
        count = len(self._counters)
        self._counters.clear()
        return count

    async def clear(self, key: str) -> None:
        """Forget one counter."""
        self._counters.pop(key, None)

    async def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        """Count a hit if the window still has room. Nothing here waits, so nobody comes between."""
        before, left, now, _ = await self.get_sliding_window(key, expiry)
        if math.floor(before * left / expiry + now) + amount > limit:
            return False
        await self.incr(self.sliding_window_keys(key, expiry, time.time())[1], 2 * expiry, amount)
        return True

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Hits of the window before and seconds it still counts; the same of the present one."""
        now = time.time()
        before, present = self.sliding_window_keys(key, expiry, now)
        left = (1 - (now / expiry) % 1) * expiry
        return await self.get(before), left, await self.get(present), left + expiry

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget one client."""
        for name in self.sliding_window_keys(key, expiry, time.time()):
            await self.clear(name)


class RateLimits:
    """Counts requests per key, or per address where no key came along."""

    def __init__(self, settings: Settings) -> None:
        """Raises BadSettings where Redis' address cannot be understood."""
        self._per_key = _item(settings.rate_limit_per_key, "key")
        self._per_address = _item(settings.rate_limit_per_address, "address")
        self._own = SlidingWindowCounterRateLimiter(BoundedMemory())
        store = settings.rate_limit_store
        url = store.get_secret_value() if store else ""
        self._pool = _pool(url) if url else None
        self._shared = _shared(url, self._pool) if self._pool else None
        self._ask_again = 0.0

    def __bool__(self) -> bool:
        return bool(self._per_key or self._per_address)

    async def count(self, caller: str | None, address: str) -> tuple[Refusal | None, Pairs]:
        """A refusal if this is one request too many, and the headers that say what is left."""
        item = self._per_key if caller else self._per_address
        if item is None:
            return None, []
        allowed, left, seconds = await self._hit(item, caller or address)
        told = {
            "RateLimit-Limit": str(item.amount),
            "RateLimit-Remaining": str(left),
            "RateLimit-Reset": str(seconds),
        }
        if allowed:
            return None, encode(told)
        detail = f"{item.amount} requests per {item.get_expiry()} s are allowed; try again later."
        again = {**told, "Retry-After": str(seconds)}
        return Refusal(429, "too_many_requests", detail, again), []

    async def close(self) -> None:
        """Leave Redis."""
        if self._pool:
            await self._pool.aclose()

    async def _hit(self, item: RateLimitItem, who: str) -> tuple[bool, int, int]:
        """Whether it is allowed, how many more are, and seconds until more will be.

        While Redis is away every worker counts for itself: looser, and nobody is turned away.
        """
        if self._shared and time.monotonic() >= self._ask_again:
            try:
                return await _hit(self._shared, item, who)
            except Exception as error:  # whatever a client library raises; it must not cost a 500
                self._ask_again = time.monotonic() + SULK
                kind = type(error).__name__
                logger.warning("rate_limit_store=away error=%s counting=per_worker", kind)
        return await _hit(self._own, item, who)


async def _hit(
    limiter: SlidingWindowCounterRateLimiter, item: RateLimitItem, who: str
) -> tuple[bool, int, int]:
    allowed = await limiter.hit(item, who)
    stats = await limiter.get_window_stats(item, who)
    return allowed, stats.remaining, max(1, math.ceil(stats.reset_time - time.time()))


def _item(text: str, kind: str) -> RateLimitItem | None:
    if not text:
        return None
    item = parse(text)
    item.namespace = f"stock/{kind}"
    return item


def _pool(url: str) -> ConnectionPool:
    from redis.asyncio import ConnectionPool  # late: most services have no Redis, all must start

    try:
        return ConnectionPool.from_url(
            url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE
        )
    except Exception as error:  # the library names no common error; the address may hold a password
        raise BadSettings(
            "STOCK_RATE_LIMIT_STORE cannot be used; give redis://HOST:PORT/DB"
        ) from error


def _shared(url: str, pool: ConnectionPool) -> SlidingWindowCounterRateLimiter:
    from limits.aio.storage import RedisStorage

    options: dict[str, Any] = {"connection_pool": pool}
    return SlidingWindowCounterRateLimiter(
        RedisStorage(f"async+{url}", implementation="redispy", **options)
    )
