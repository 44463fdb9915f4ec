"""Bars of a source into the cache, where they are worth it; one process at a time per ticker.

Knows the cache and what a source is; knows no setting and not what a reader makes of a failure.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import pandas as pd

from contracts import BadPrices, SourceUnavailable
from prices.cache import Label, Shelf, Stored
from prices.findings import log_findings
from prices.guard import Guarded
from prices.overlap import SESSIONS, Rewrite, compare, is_continued
from prices.providers import FIRST_DAY
from prices.quarantine import quarantine, release
from prices.sessions import Market, market_at
from prices.validation import Checked, check_bars

log = logging.getLogger(__name__)

LOST_AT_THE_START = timedelta(days=7)  # how much of a cache's oldest bars a new answer may lack


Newest = tuple[Checked, Label] | None  # for the cache; None where there is nothing newer


class UntrustedFeed(BadPrices):
    """Validation refuses what a source answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Which sessions a cache must hold."""

    through: date  # a cache that reaches it is left as it is, without asking
    since: date  # earlier bars of a source (not of a user) may be given up for newer ones


def refreshed(shelf: Shelf, ticker: str, need: Need, ladder: Sequence[Guarded]) -> Stored:
    """The cache once it reaches `need.through`, or brought up to date by the first that can.

    The ticker's bars are locked only while they are written, not while a source is asked.

    Args:
        shelf: the cache.
        ticker: Yahoo's symbol.
        need: which sessions.
        ladder: sources in the order they are asked; at least one.

    Raises:
        prices.providers.NoData: the first source has no bars of it, and none of the others can
            answer.
        SourceUnavailable: no source can be asked, or the cache cannot be written.
        BadPrices: the bars cannot be trusted or would shorten the cache. Where validation refused
            them, the cache is marked as quarantined.
    """
    try:
        with replace(shelf, kind=f"{shelf.kind}_fetch").locked(ticker):  # one asks, others wait
            stored = shelf.get(ticker)
            if stored is not None and stored.last >= need.through:
                return stored  # another process was quicker
            newest, failures = _first_answer(stored, ticker, need, ladder)
            if len(failures) < len(ladder):
                return _keep(shelf, ticker, stored, newest)
            refused = [str(error) for error in failures if isinstance(error, UntrustedFeed)]
            if stored is not None and refused:
                with shelf.locked(ticker):
                    quarantine(shelf, ticker, stored, refused[0], datetime.now(UTC))
    except SourceUnavailable as error:  # of the cache; those of the sources are in `failures`
        log.warning("cache_unusable ticker=%s reason=%r", ticker, str(error))
        raise
    raise type(failures[0])("; ".join(map(str, failures))) from failures[0]


def _first_answer(
    stored: Stored | None, ticker: str, need: Need, ladder: Sequence[Guarded]
) -> tuple[Newest, list[SourceUnavailable | BadPrices]]:
    """What the first source that can answer has, and why those before it could not."""
    failures: list[SourceUnavailable | BadPrices] = []
    for source in ladder:
        try:
            return _newest(stored, ticker, need, source), failures
        except (SourceUnavailable, BadPrices) as error:
            _tell(ticker, source, error)
            failures.append(error)
    return None, failures


def _tell(ticker: str, source: Guarded, error: SourceUnavailable | BadPrices) -> None:
    """One line for what was answered and not taken; who failed to answer has told it himself."""
    if isinstance(error, BadPrices):
        untrusted = isinstance(error, UntrustedFeed)
        level, event = (logging.ERROR, "quarantined") if untrusted else (logging.WARNING, "refused")
        name = source.provider.name
        log.log(level, "feed_%s provider=%s ticker=%s reason=%r", event, name, ticker, str(error))


def _newest(stored: Stored | None, ticker: str, need: Need, source: Guarded) -> Newest:
    """What the cache should hold now; None where the source has nothing newer."""
    provider, market = source.provider, market_at(ticker, datetime.now(UTC))
    last = market.ended
    label = Label(
        source=provider.name, adjustment=provider.adjustment, fetched_at=datetime.now(UTC)
    )
    if stored is None:
        return _judged(source.fetch(ticker, FIRST_DAY, last), provider.name, market), label
    if stored.label.adjustment != provider.adjustment:
        raise BadPrices(
            f"bars of {provider.name} are {provider.adjustment}-adjusted, the cache is "
            f"{stored.label.adjustment}-adjusted; the cache is kept"
        )
    if provider.in_parts and stored.label.source == provider.name:
        tail = source.fetch(ticker, _day(stored.bars, -min(SESSIONS, len(stored.bars))), last)
        if (longer := _longer(stored, market, tail)) is not None:
            return (longer, label) if len(longer.bars) > len(stored.bars) else None
    first = min(FIRST_DAY, stored.first)
    checked = _judged(source.fetch(ticker, first, last), provider.name, market)
    _refuse_loss(stored, checked.bars, need, provider.name)
    rewrite = compare(stored.bars, checked.bars)
    if stored.label.source != provider.name:
        _tell_change("source_changed", ticker, rewrite)
    elif not provider.in_parts and not is_continued(rewrite):
        _tell_change("history_rewritten", ticker, rewrite)
    return checked, label


def _longer(stored: Stored, market: Market, tail: pd.DataFrame) -> Checked | None:
    """The cached bars carried on by the tail, or None where the past was rewritten."""
    try:
        fresh = check_bars(tail, stored.label.source).bars
        rewrite = compare(stored.bars, fresh)
        if is_continued(rewrite):
            kept = len(stored.bars) - (rewrite.change == "late_volume")
            old = stored.bars.iloc[:kept]
            added = fresh[fresh["Date"] > old["Date"].iloc[-1]]
            bars = pd.concat([old, added], ignore_index=True)
            found = stored.label.report.lasting
            return check_bars(bars, stored.label.source, market, found)
    except BadPrices as error:  # the whole history decides whether the feed can be trusted
        log.warning("tail_refused ticker=%s reason=%r", market.ticker, str(error))
        return None
    _tell_change("history_rewritten", market.ticker, rewrite)
    return None


def _tell_change(event: str, ticker: str, rewrite: Rewrite) -> None:
    """Why the whole history replaces the cache."""
    log.warning(
        "%s ticker=%s kind=%s ratio=%.6g sessions=%d",
        event,
        ticker,
        rewrite.change,
        rewrite.ratio,
        rewrite.sessions,
    )


def _judged(table: pd.DataFrame, name: str, market: Market) -> Checked:
    try:
        return check_bars(table, name, market)
    except BadPrices as error:
        raise UntrustedFeed(str(error)) from error


def _keep(shelf: Shelf, ticker: str, stored: Stored | None, newest: Newest) -> Stored:
    """Write what is newer; what somebody else has written meanwhile stays."""
    with shelf.locked(ticker):
        present = shelf.get(ticker)
        if present is not None and (stored is None or present.data != stored.data):
            log.warning("cache_changed_meanwhile ticker=%s", ticker)
            return present
        release(shelf, ticker)
        if newest is None:
            assert stored is not None
            return stored
        checked, label = newest
        log_findings(ticker, checked.report)
        return shelf.put(ticker, checked.bars, replace(label, report=checked.report))


def _refuse_loss(stored: Stored, fresh: pd.DataFrame, need: Need, name: str) -> None:
    """Never trade a user's longer cache for a source's answer, nor any for one that ends earlier
    or lacks what training needs."""
    first, last = _day(fresh, 0), _day(fresh, -1)
    reach = stored.first if stored.label.source == "file" else max(stored.first, need.since)
    if last < stored.last or first > reach + LOST_AT_THE_START:
        raise BadPrices(
            f"bars of {name} run from {first} to {last}, the cache from {stored.first} to "
            f"{stored.last}; the cache is kept"
        )


def _day(bars: pd.DataFrame, row: int) -> date:
    day: date = bars["Date"].iloc[row].date()
    return day
