"""Many tickers brought up to date by the genuine yfinance client against a pretend Yahoo."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest
from replay_yahoo import ReplayYahoo, replaying, send_yfinance_to

from config import Settings
from contracts import SourceUnavailable
from data_pipeline import main, real_shelf, refresh_many
from generate_synthetic_data import generate_synthetic_stock_data
from prices import breaker, guard, yahoo
from prices.cache import Label
from prices.many import Caches, Refreshed, refresh_each

END = date(2025, 12, 31)
BARS = generate_synthetic_stock_data("AAPL", "2025-01-01", END, None, "calm")
SHORT = BARS[BARS["Date"] <= "2025-12-19"].reset_index(drop=True)  # seven sessions behind
LABEL = Label(source="yfinance", adjustment="split", fetched_at=datetime(2025, 12, 20, tzinfo=UTC))
STALE = tuple(f"T{number}" for number in range(6))
FRESH = ("F0", "F1")


@pytest.fixture
def evening(settings, monkeypatch) -> Settings:
    """Eight caches on the evening of the last day of 2025: six are behind, two are not."""
    monkeypatch.setenv("STOCK_AS_OF", str(END))
    shelf = real_shelf(settings)
    for ticker in (*STALE, *FRESH):
        shelf.put(ticker, SHORT if ticker in STALE else BARS, LABEL)
    return settings.model_copy(update={"as_of": END})


@pytest.fixture
def replay(monkeypatch):
    monkeypatch.setattr(breaker, "FIRST_WAIT", 0.4)
    with replaying() as server:
        send_yfinance_to(server, monkeypatch)
        for ticker in (*STALE, *FRESH):
            server.serve(ticker, BARS)
        yield server
        server.leaving.set()
        with yahoo._one_at_a_time:  # a question that was given up ends before its server does
            pass


def in_a_mood(replay: ReplayYahoo, mood: str, questions: range) -> None:
    """Some of the chart requests, counted from 0, are answered so, all others well."""
    usual = replay.answer

    def answer(host: str, target: str, cookie: str | None):
        replay.mood = mood if len(replay.asked) in questions else "bars"
        return usual(host, target, cookie)

    replay.answer = answer


def refreshed(settings: Settings, *tickers: str, patience: float = 0.0) -> dict[str, Refreshed]:
    return {one.ticker: one for one in refresh_many(tickers, settings, patience)}


def states(found: dict[str, Refreshed]) -> Counter[str]:
    return Counter(one.state for one in found.values())


def symbols(replay: ReplayYahoo) -> set[str]:
    return {re.search(r"chart/([^?]+)", target)[1] for target in replay.asked}


def test_only_stale_caches_are_asked_for_and_only_what_they_lack(evening, replay):
    found = refreshed(evening, *STALE, *FRESH)
    assert states(found) == {"refreshed": 6, "fresh": 2}
    assert symbols(replay) == set(STALE)
    spans = [re.search(r"period1=(\d+)", target) for target in replay.asked]
    starts = {datetime.fromtimestamp(int(span[1]), UTC).date() for span in spans if span}
    assert starts == {SHORT["Date"].iloc[-10].date()}, "ten sessions that are cached already"
    assert len(real_shelf(evening).get("T3").bars) == len(BARS)


def test_one_cookie_and_one_crumb_serve_all_of_them(evening, replay):
    refreshed(evening, *STALE)
    assert sum(host == "fc.yahoo.com/" for host in replay.hosts) == 1
    assert sum(host.endswith("getcrumb") for host in replay.hosts) == 1


def test_a_429_in_the_middle_is_waited_for_and_then_everybody_is_served(evening, replay):
    in_a_mood(replay, "429", range(4, 6))
    found = refreshed(evening, *STALE, patience=20)
    assert states(found) == {"refreshed": 6}
    asked = Counter(re.search(r"chart/([^?]+)", target)[1] for target in replay.asked)
    assert sum(asked.values()) <= 6 * 2 + 4, asked


def test_without_patience_the_rest_keep_what_they_have_and_nobody_else_is_asked(evening, replay):
    in_a_mood(replay, "429", range(4, 1000))
    found = refreshed(evening, *STALE)
    assert states(found) == {"refreshed": 2, "stale": 4}
    assert "left alone" in found["T5"].reason and "YFRateLimitError" in found["T5"].reason
    assert found["T5"].through == date(2025, 12, 19)
    assert symbols(replay) == {"T0", "T1", "T2"}


def test_the_next_time_only_those_are_asked_for_that_still_lack(evening, replay):
    in_a_mood(replay, "500", range(4, 1000))
    refreshed(evening, *STALE)
    before = set(replay.asked)
    del replay.answer
    replay.mood = "bars"
    threading.Event().wait(0.5)
    assert states(refreshed(evening, *STALE)) == {"fresh": 2, "refreshed": 4}
    later = [target for target in replay.asked if target not in before]
    assert not any("/T0?" in target or "/T1?" in target for target in later)


def test_a_server_that_hangs_costs_its_time_limit_once(evening, replay, monkeypatch):
    refreshed(evening, "T0", "T1")
    monkeypatch.setattr(guard, "FETCH_SECONDS", 0.5)
    monkeypatch.setattr(breaker, "FIRST_WAIT", 60)
    replay.mood = "hang"
    found = refreshed(evening, *STALE)
    assert states(found) == {"fresh": 2, "stale": 4}
    assert "has not answered within 0.5 s" in found["T2"].reason
    assert symbols(replay) == {"T0", "T1", "T2"}


def test_one_that_always_fails_does_not_stop_the_others(evening, replay):
    usual = replay.answer

    def answer(host: str, target: str, cookie: str | None):
        replay.mood = "garbage" if "/T0?" in target else "bars"
        return usual(host, target, cookie)

    replay.answer = answer
    found = refreshed(evening, "T0", "T1", "NOPE", patience=20)
    assert found["T1"].state == "refreshed"
    assert (found["T0"].state, found["NOPE"].state) == ("stale", "failed")
    assert "Yahoo has no bars of NOPE" in found["NOPE"].reason


def test_a_source_without_newer_bars_is_no_failure(evening, replay):
    replay.serve("T0", SHORT)
    outcome = refreshed(evening, "T0")["T0"]
    assert (outcome.state, outcome.went_wrong) == ("unchanged", False)
    assert outcome.reason == "nothing after 2025-12-19; 2025-12-31 has ended"


def test_the_command_counts_and_names_what_is_not_fresh(evening, replay, tmp_path, capsys):
    (tmp_path / "list.txt").write_text("T1 T2 # two\nF0\nNOPE\n")
    assert main(["refresh", "T0", "--tickers-file", "list.txt", "--patience", "0"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("5 tickers: 1 fresh (")
    assert "; 3 refreshed (" in said and "; 1 failed (" in said
    assert said.splitlines()[1].startswith("NOPE: failed: Yahoo has no bars of NOPE")
    assert main(["refresh", "T0", "F0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fresh"] == 2


def test_a_list_that_cannot_be_read_is_said_in_one_line(evening, capsys):
    assert main(["refresh", "--tickers-file", "nowhere.txt"]) == 2
    assert "--tickers-file nowhere.txt" in capsys.readouterr().err


def test_a_bug_in_one_tickers_bars_is_told_and_costs_nobody_else():
    def refresh(ticker: str) -> date:
        return END if ticker == "B" else 1 / 0

    caches = Caches(lambda _: None, lambda _: END, refresh, rest=lambda: 0.0)
    found = list(refresh_each(["A", "B"], caches, patience=0))
    assert [one.state for one in found] == ["failed", "refreshed"]
    assert found[0].reason == "ZeroDivisionError"


def test_waiting_ends_with_the_patience_that_all_of_them_share():
    slept: list[float] = []

    def refresh(_: str) -> date:
        raise SourceUnavailable("away")

    caches = Caches(lambda _: END - timedelta(days=9), lambda _: END, refresh, rest=lambda: 1.0)
    found = list(refresh_each(["A", "B", "C"], caches, patience=5, sleep=slept.append))
    assert [one.state for one in found] == ["stale"] * 3
    assert sum(slept) <= 5
