"""Puts what happened beside what was promised. Settling twice, or day by day, changes nothing.

Outcomes are kept as the prices tell them now. A later download that tells otherwise (a correction,
or a split, which rewrites all history) adds a revision, and the newest counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pandas as pd
import sqlalchemy as sa

from contracts import Prices, Settlement
from features import mid_price
from records.schema import OUTCOMES, PROMISED_STEPS, PROMISES

SAME = 1e-9  # relative: what is closer is the same price, written down twice
INVENTED = PROMISES.c.source == "synthetic"
Bar = tuple[float, float]  # mid and close


@dataclass(frozen=True, slots=True)
class Known:
    """The newest revision of one session's price; no bar where it was withdrawn."""

    revision: int
    bar: Bar | None


@dataclass(frozen=True, slots=True)
class _Day:
    """One session that promises ask for: what was known of it, what these prices say."""

    day: date
    steps: int  # promised for it; 0 where it is an origin only
    before: Known | None
    bar: Bar | None
    within: bool  # the prices reach from before it to after it, so that a gap means no session

    @property
    def revised(self) -> bool:
        if self.before is None or (self.bar is None and not self.within):
            return False
        return not _same(self.before.bar, self.bar)

    @property
    def news(self) -> bool:
        return self.revised or (self.before is None and self.bar is not None)

    @property
    def unknown(self) -> bool:
        return self.bar is None and (self.before is None or self.before.bar is None)


def settle(connection: sa.Connection, prices: Prices, today: date, at: datetime) -> Settlement:
    """Write every outcome the promises of this ticker wait for and these prices tell.

    Args:
        connection: in a transaction that no other settling of this ticker shares.
        prices: of the ticker; its whole history, so that a split revises all of it.
        today: later bars are not looked at.
        at: UTC, written beside new outcomes.
    """
    bars = _bars_by_day(prices, today)
    asked = _asked(connection, prices)
    known = newest(connection, prices.ticker, *_kind(prices))
    first, through = min(bars, default=date.max), max(bars, default=date.min)
    days = [
        _Day(day, steps, known.get(day), bars.get(day), first <= day)
        for day, steps in sorted(asked.items())
        if day <= through
    ]
    rows = [_row(prices, day, at) for day in days if day.news]
    if rows:
        connection.execute(sa.insert(OUTCOMES), rows)
    return Settlement(
        ticker=prices.ticker,
        through=through if bars else None,
        settled=sum(day.steps for day in days if day.before is None and day.bar is not None),
        waiting=sum(asked.values()) - sum(day.steps for day in days),
        revised=sum(day.revised for day in days),
        skipped=sum(day.steps for day in days if day.unknown)
        + _foreign(connection, prices, through),
    )


def newest(
    connection: sa.Connection, ticker: str, synthetic: bool, adjustment: str
) -> dict[date, Known]:
    """The latest revision of every outcome of a ticker, of one kind of prices, by session."""
    rows = connection.execute(
        sa.select(OUTCOMES.c.date, OUTCOMES.c.revision, OUTCOMES.c.mid, OUTCOMES.c.close)
        .where(
            OUTCOMES.c.ticker == ticker,
            OUTCOMES.c.synthetic == synthetic,
            OUTCOMES.c.adjustment == adjustment,
        )
        .order_by(OUTCOMES.c.date, OUTCOMES.c.revision)
    )
    return {
        day: Known(revision, None if mid is None else (mid, close))
        for day, revision, mid, close in rows
    }


def _kind(prices: Prices) -> tuple[bool, str]:
    """What must agree between a promise and an outcome: real or invented, and the adjustment."""
    return prices.provenance.source == "synthetic", prices.provenance.adjustment


def _asked(connection: sa.Connection, prices: Prices) -> dict[date, int]:
    """Sessions that promises of this kind name and how many steps wait on each; origins too."""
    synthetic, adjustment = _kind(prices)
    mine = (
        PROMISES.c.ticker == prices.ticker,
        INVENTED if synthetic else ~INVENTED,
        PROMISES.c.adjustment == adjustment,
    )
    origins = connection.scalars(sa.select(PROMISES.c.origin).where(*mine).distinct())
    asked = dict.fromkeys(origins, 0)
    steps = connection.execute(
        sa.select(PROMISED_STEPS.c.date, sa.func.count())
        .join(PROMISES, PROMISES.c.id == PROMISED_STEPS.c.promise_id)
        .where(*mine)
        .group_by(PROMISED_STEPS.c.date)
    )
    return asked | {row[0]: int(row[1]) for row in steps}


def _foreign(connection: sa.Connection, prices: Prices, through: date) -> int:
    """Steps past due of promises made on another kind of prices, and settled by none."""
    synthetic, adjustment = _kind(prices)
    settled = sa.exists().where(
        OUTCOMES.c.ticker == PROMISES.c.ticker,
        OUTCOMES.c.synthetic == INVENTED,
        OUTCOMES.c.adjustment == PROMISES.c.adjustment,
        OUTCOMES.c.date == PROMISED_STEPS.c.date,
    )
    found = connection.scalar(
        sa.select(sa.func.count())
        .select_from(PROMISED_STEPS.join(PROMISES))
        .where(
            PROMISES.c.ticker == prices.ticker,
            sa.or_(~INVENTED if synthetic else INVENTED, PROMISES.c.adjustment != adjustment),
            PROMISED_STEPS.c.date <= through,
            ~settled,
        )
    )
    return int(found or 0)


def _bars_by_day(prices: Prices, today: date) -> dict[date, Bar]:
    bars = prices.bars[prices.bars["Date"] <= pd.Timestamp(today)]
    mids = mid_price(bars["High"].to_numpy(), bars["Low"].to_numpy()).tolist()
    days = bars["Date"].dt.date.tolist()
    return dict(zip(days, zip(mids, bars["Close"].tolist(), strict=True), strict=True))


def _same(left: Bar | None, right: Bar | None) -> bool:
    if left is None or right is None:
        return left is right
    return all(math.isclose(a, b, rel_tol=SAME) for a, b in zip(left, right, strict=True))


def _row(prices: Prices, day: _Day, at: datetime) -> dict[str, Any]:
    synthetic, adjustment = _kind(prices)
    mid, close = day.bar or (None, None)
    return {
        "ticker": prices.ticker,
        "synthetic": synthetic,
        "adjustment": adjustment,
        "date": day.day,
        "revision": 1 if day.before is None else day.before.revision + 1,
        "mid": mid,
        "close": close,
        "source": prices.provenance.source,
        "data_sha256": prices.provenance.sha256,
        "settled_at": at,
    }
