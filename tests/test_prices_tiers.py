"""Every mood of Yahoo over real HTTP: the tier that answers, its label, the log, the cache."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest
import replay_alphavantage
from pydantic import SecretStr
from replay_yahoo import FAILURES, ReplayYahoo, replaying, send_yfinance_to

from config import Settings
from contracts import Prices, SourceUnavailable
from data_pipeline import StockDataPipeline, import_file, main, real_shelf, today
from generate_synthetic_data import generate_synthetic_stock_data
from prices import guard, yahoo
from prices.alphavantage import AlphaVantage
from prices.cache import Label
from prices.overlap import PRICES, SESSIONS
from prices.yahoo import Yahoo

END = date(2025, 12, 31)
BARS = generate_synthetic_stock_data("AAPL", "2023-01-01", END, None, "calm")
CACHED = BARS[BARS["Date"] <= "2025-12-19"].reset_index(drop=True)  # seven sessions short
LABEL = Label(source="yfinance", adjustment="split", fetched_at=datetime(2025, 12, 20, tzinfo=UTC))


@pytest.fixture
def evening(settings) -> Settings:
    """Settings on the evening of the last day of 2025."""
    return settings.model_copy(update={"as_of": END})


@pytest.fixture
def replay(monkeypatch):
    with replaying() as server:
        send_yfinance_to(server, monkeypatch)
        server.serve("AAPL", BARS)
        yield server
        server.leaving.set()
        with yahoo._one_at_a_time:  # a question that was given up ends before its server does
            pass


def cache(settings: Settings, bars: pd.DataFrame = CACHED, **changes: object) -> bytes:
    return real_shelf(settings).put("AAPL", bars, replace(LABEL, **changes)).data


def cached_bytes(settings: Settings) -> bytes | None:
    path = real_shelf(settings).csv_path("AAPL")
    return path.read_bytes() if path.exists() else None


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Warnings and worse, without the logger's name."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def load(settings: Settings, caplog: pytest.LogCaptureFixture) -> Prices:
    with caplog.at_level(logging.INFO):
        return StockDataPipeline("AAPL", settings).load()


def asked_since(replay: ReplayYahoo) -> list[date]:
    """First day of every history asked for, in order."""
    starts = [re.search(r"period1=(-?\d+)", target) for target in replay.asked]
    return [datetime.fromtimestamp(int(found[1]), UTC).date() for found in starts if found]


# Yahoo fails

FAILS = {  # mood -> what the one log line says of it
    "400": "Yahoo has no bars of AAPL: .*Data doesn't exist",
    "401": "Yahoo failed: .*Invalid Crumb",
    "404": "Yahoo has no bars of AAPL: .*may be delisted",
    "429": "Yahoo failed: YFRateLimitError",
    "500": "Yahoo failed: ",
    "changed": "Yahoo failed: ",
    "drop": "Yahoo failed: ",
    "empty": "Yahoo failed: ",
    "garbage": "Yahoo failed: JSONDecodeError",
    "hang": "has not answered within 0.5 s",
    "html": "Yahoo failed: YFDataException: .*CURRENTLY DOWN",
}


def test_every_failure_the_pretend_yahoo_knows_is_in_the_table():
    assert set(FAILS) == {*FAILURES, "empty", "hang", "drop"}


@pytest.fixture
def quick(monkeypatch):
    """Patience for tests."""
    monkeypatch.setattr(guard, "FETCH_SECONDS", 0.5)


@pytest.mark.parametrize("mood", FAILS)
def test_a_failing_yahoo_leaves_the_stale_cache(evening, replay, caplog, quick, mood):
    before = cache(evening)
    Yahoo(evening.data_dir / ".yfinance").fetch("AAPL", END, END)  # its zone is known, as usual
    if mood != "hang":
        guard.FETCH_SECONDS = 20
    replay.mood = mood
    fact = load(evening, caplog).provenance
    assert (fact.source, fact.last_session) == ("yfinance", date(2025, 12, 19))
    assert fact.stale and fact.quarantined is None
    assert cached_bytes(evening) == before
    assert len(told(caplog)) == 1, told(caplog)
    assert re.search(
        rf"^fetch_failed provider=yfinance ticker=AAPL .*{FAILS[mood]}", told(caplog)[0]
    )
    assert len(told(caplog)[0]) < 220 and "http" not in told(caplog)[0].replace("HTTPError", "")


@pytest.mark.parametrize("mood", FAILS)
def test_a_failing_yahoo_without_a_cache_leaves_invented_bars(evening, replay, caplog, quick, mood):
    if mood != "hang":
        guard.FETCH_SECONDS = 20
    replay.mood = mood
    fact = load(evening, caplog).provenance
    assert (fact.source, fact.last_session) == ("synthetic", END)
    assert (evening.data_dir / "synthetic/AAPL_synthetic.csv").exists()
    assert cached_bytes(evening) is None
    assert len(told(caplog)) == 1 and told(caplog)[0].startswith("fetch_failed provider=yfinance")


@pytest.mark.parametrize("mood", sorted(set(FAILS) - {"400", "404", "hang"}))
def test_after_a_failure_nobody_asks_for_a_while(evening, replay, caplog, mood):
    cache(evening)
    replay.mood = mood
    load(evening, caplog)
    replay.mood, asked = "bars", len(replay.hosts)
    caplog.clear()
    assert load(evening, caplog).provenance.stale
    assert StockDataPipeline("MSFT", evening).load().provenance.source == "synthetic"
    assert len(replay.hosts) == asked and told(caplog) == [], "what was not asked has not failed"


# Yahoo answers


@dataclass(frozen=True)
class Answer:
    """What Yahoo has now, and what should come of it with a cache of seven sessions less."""

    change: Callable[[pd.DataFrame], pd.DataFrame]
    last: date = END
    stale: bool = False
    log: str | None = None  # the one warning
    questions: int = 1  # histories asked for
    keeps: bool = True  # the cached rows bit for bit


def split(bars: pd.DataFrame) -> pd.DataFrame:
    bars[[*PRICES, "Adj Close"]] /= 4
    return bars.assign(Volume=bars["Volume"] * 4)


def dividend(bars: pd.DataFrame) -> pd.DataFrame:
    past = bars["Date"] < "2025-12-24"
    bars.loc[past, "Adj Close"] *= 1 - 0.001
    return bars


def correction(bars: pd.DataFrame) -> pd.DataFrame:
    row = len(CACHED) - 3
    bars.loc[row, "High"] *= 1.002
    return bars


def late_volume(bars: pd.DataFrame) -> pd.DataFrame:
    bars.loc[len(CACHED) - 1, "Volume"] += 1234
    return bars


def without_newest(bars: pd.DataFrame) -> pd.DataFrame:
    bars.loc[len(bars) - 1, [*PRICES, "Adj Close", "Volume"]] = None
    return bars


def nothing_newer(bars: pd.DataFrame) -> pd.DataFrame:
    return bars[bars["Date"] <= "2025-12-19"]


ANSWERS = {
    "newer bars": Answer(lambda bars: bars),
    "newest bar empty": Answer(without_newest, last=date(2025, 12, 30), stale=True),
    "nothing newer": Answer(nothing_newer, last=date(2025, 12, 19), stale=True),
    "late volume": Answer(late_volume, keeps=False),
    "split": Answer(split, log="kind=split ratio=0.25 sessions=10", questions=2, keeps=False),
    "dividend": Answer(dividend, log="kind=dividend ratio=0.999", questions=2, keeps=False),
    "correction": Answer(correction, log="kind=correction ratio=1 ", questions=2, keeps=False),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answering_yahoo_brings_the_cache_up_to_date(evening, replay, caplog, name):
    wanted = ANSWERS[name]
    has = wanted.change(BARS.copy().astype({"Volume": float}))
    replay.serve("AAPL", has)
    before = cache(evening)
    prices = load(evening, caplog)
    fact = prices.provenance
    assert (fact.source, fact.last_session, fact.stale) == ("yfinance", wanted.last, wanted.stale)
    kept = has[(has["Date"] <= pd.Timestamp(wanted.last))].astype({"Volume": "int64"})
    pd.testing.assert_frame_equal(prices.bars, kept, check_exact=True)
    after = cached_bytes(evening)
    assert after.startswith(before) is wanted.keeps
    assert len(asked_since(replay)) == wanted.questions
    assert asked_since(replay)[0] == CACHED["Date"].iloc[-SESSIONS].date()
    if wanted.log is None:
        assert told(caplog) == []
    else:
        assert len(told(caplog)) == 1
        assert told(caplog)[0].startswith(f"history_rewritten ticker=AAPL {wanted.log}")


def test_a_bar_still_forming_is_not_cached(settings, replay):
    """Coins trade every day, so that of today's always forms."""
    now = datetime.now(UTC).date()
    bars = generate_synthetic_stock_data("BTC-USD", "2025-01-01", now, None)
    assert bars["Date"].iloc[-1].date() == now
    replay.serve("BTC-USD", bars)
    replay.keeps_to_the_end = False
    fact = StockDataPipeline("BTC-USD", settings).load().provenance
    assert fact.last_session in {today("BTC-USD", settings), now - (END - date(2025, 12, 30))}
    assert fact.last_session < now and fact.source == "yfinance"


def test_a_cache_that_holds_the_last_session_is_not_asked_about(evening, replay, caplog):
    cache(evening, BARS)
    assert not load(evening, caplog).provenance.stale
    assert replay.hosts == []


# Quarantine


def half_adjusted(bars: pd.DataFrame) -> pd.DataFrame:
    """Yahoo on a bad morning: a split applied to a few rows only."""
    bars.loc[len(bars) - 60 : len(bars) - 50, PRICES] /= 4
    bars.loc[len(bars) - 15, PRICES] /= 4
    return bars


def test_a_feed_that_validation_refuses_is_quarantined(
    evening, replay, caplog, capsys, monkeypatch
):
    before = cache(evening)
    replay.serve("AAPL", half_adjusted(BARS.copy()))
    fact = load(evening, caplog).provenance
    assert (fact.source, fact.last_session, fact.stale) == ("yfinance", date(2025, 12, 19), True)
    assert fact.quarantined and cached_bytes(evening) == before
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [e.getMessage().split()[:3] for e in errors] == [
        ["feed_quarantined", "provider=yfinance", "ticker=AAPL"]
    ]
    assert fact.quarantined in errors[0].getMessage()
    monkeypatch.setenv("STOCK_AS_OF", END.isoformat())
    assert main(["show", "AAPL"]) == 0
    assert fact.quarantined in capsys.readouterr().out


def test_a_later_good_answer_ends_the_quarantine(evening, replay, caplog):
    cache(evening)
    replay.serve("AAPL", half_adjusted(BARS.copy()))
    assert load(evening, caplog).provenance.quarantined
    assert StockDataPipeline("AAPL", evening).read().provenance.quarantined, "it is remembered"
    replay.serve("AAPL", BARS)
    fact = load(evening, caplog).provenance
    assert (fact.last_session, fact.quarantined) == (END, None)
    assert not list(real_shelf(evening).folder.glob("*quarantine*"))


def test_an_imported_file_ends_the_quarantine_too(evening, replay, caplog, tmp_path):
    cache(evening)
    replay.serve("AAPL", half_adjusted(BARS.copy()))
    load(evening, caplog)
    BARS.head(600).to_csv(tmp_path / "mine.csv", index=False)
    fact = import_file("AAPL", tmp_path / "mine.csv", evening).provenance
    assert fact.stale and fact.quarantined is None


def test_a_failure_to_fetch_is_no_quarantine_and_keeps_one(evening, replay, caplog):
    cache(evening)
    replay.serve("AAPL", half_adjusted(BARS.copy()))
    why = load(evening, caplog).provenance.quarantined
    replay.mood = "500"
    assert load(evening, caplog).provenance.quarantined == why


# A user's cache


def test_a_stale_imported_file_is_compared_then_replaced(evening, replay, caplog):
    cache(evening, source="file")
    fact = load(evening, caplog).provenance
    assert (fact.source, fact.last_session) == ("yfinance", END)
    assert told(caplog) == ["source_changed ticker=AAPL kind=none ratio=1 sessions=10"]


def test_a_file_adjusted_otherwise_is_neither_compared_nor_replaced(evening, replay, caplog):
    before = cache(evening, source="file", adjustment="split+dividend")
    fact = load(evening, caplog).provenance
    assert (fact.source, fact.stale) == ("file", True) and cached_bytes(evening) == before
    assert replay.hosts == [], "no question whose answer could not be used"
    assert (
        len(told(caplog)) == 1 and "split+dividend-adjusted; the cache is kept" in told(caplog)[0]
    )


def test_what_somebody_imports_meanwhile_stays(evening, replay, caplog, tmp_path):
    cache(evening)
    replay.delay = 0.7
    BARS.to_csv(tmp_path / "mine.csv", index=False)
    loading = threading.Thread(target=load, args=(evening, caplog))
    loading.start()
    until(lambda: replay.asked)
    began = time.monotonic()
    import_file("AAPL", tmp_path / "mine.csv", evening)
    assert time.monotonic() - began < 0.6, "the cache is not locked while Yahoo is waited for"
    assert StockDataPipeline("AAPL", evening).read().provenance.source == "file"
    loading.join()
    assert StockDataPipeline("AAPL", evening).read().provenance.source == "file"
    assert told(caplog) == ["cache_changed_meanwhile ticker=AAPL"]


def until(true: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_two_at_once_ask_once(evening, replay):
    cache(evening)
    replay.delay = 0.2
    both = [threading.Thread(target=StockDataPipeline("AAPL", evening).load) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(asked_since(replay)) == 1
    assert StockDataPipeline("AAPL", evening).read().provenance.last_session == END


# Alpha Vantage is asked where Yahoo fails


@pytest.fixture
def vendor(real_data):
    with replay_alphavantage.replaying() as server:
        folder = real_data / "reference_tables"
        server.tables["AAPL"] = folder / "alphavantage_daily_adjusted_AAPL.csv"
        yield server


@pytest.fixture
def ladder(evening, replay, vendor):
    """Both real clients, on the evening of the last day that Alpha Vantage's table has."""
    then = evening.model_copy(update={"as_of": date(2020, 12, 4)})
    sources = (Yahoo(then.data_dir / ".yfinance"), AlphaVantage(SecretStr("KEY"), vendor.url))
    return StockDataPipeline("AAPL", then, sources)


@pytest.fixture
def apple(real_data) -> pd.DataFrame:
    told = pd.read_csv(real_data / "yahoo" / "AAPL.csv", parse_dates=["Date"])
    return told[list(BARS.columns)]


def test_with_a_key_alpha_vantage_answers_for_a_failing_yahoo(ladder, replay, caplog):
    replay.mood = "429"
    with caplog.at_level(logging.INFO):
        fact = ladder.load().provenance
    assert (fact.source, fact.adjustment, fact.stale) == ("alphavantage", "split", False)
    assert fact.last_session == date(2020, 12, 4)
    assert [line.split()[:2] for line in told(caplog) if not line.startswith("finding")][0] == [
        "fetch_failed",
        "provider=yfinance",
    ]


def test_it_replaces_a_stale_cache_of_yahoos_that_reaches_further_back(ladder, replay, apple):
    real_shelf(ladder.settings).put("AAPL", apple[apple["Date"] <= "2020-11-20"], LABEL)
    replay.mood = "500"
    fact = ladder.load().provenance
    assert (fact.source, fact.first_session) == ("alphavantage", date(1999, 11, 1))


def test_it_does_not_shorten_a_users_file(ladder, replay, apple):
    label = replace(LABEL, source="file")
    real_shelf(ladder.settings).put("AAPL", apple[apple["Date"] <= "2020-11-20"], label)
    replay.mood = "500"
    fact = ladder.load().provenance
    assert (fact.source, fact.stale) == ("file", True)


def test_an_answering_yahoo_leaves_it_unasked(ladder, replay, vendor, apple):
    replay.serve("AAPL", apple)
    assert ladder.load().provenance.source == "yfinance"
    assert vendor.asked == []


def test_yahoos_bars_come_back_whole_when_yahoo_does(ladder, replay, apple, caplog):
    shelf = real_shelf(ladder.settings)
    replay.mood = "drop"
    ladder.load()
    early = shelf.get("AAPL").through(date(2020, 11, 20))
    shelf.put("AAPL", early.bars, early.label)
    for state in (ladder.settings.data_dir / ".sources").glob("*.json"):
        state.unlink()  # the wait is over
    replay.mood = "bars"
    replay.serve("AAPL", apple)
    with caplog.at_level(logging.WARNING):
        fact = ladder.load().provenance
    assert (fact.source, fact.first_session) == ("yfinance", date(1980, 12, 12))
    assert "source_changed ticker=AAPL kind=" in caplog.text


def test_where_both_fail_both_say_why_and_the_cache_serves(ladder, replay, vendor, apple, caplog):
    real_shelf(ladder.settings).put("AAPL", apple[apple["Date"] <= "2020-11-20"], LABEL)
    replay.mood, vendor.status = "500", 503
    with caplog.at_level(logging.WARNING):
        fact = ladder.load().provenance
    assert (fact.source, fact.stale) == ("yfinance", True)
    assert [line.split()[1] for line in told(caplog)] == [
        "provider=yfinance",
        "provider=alphavantage",
    ]
    with pytest.raises(SourceUnavailable, match="yfinance is left alone.*; alphavantage is left"):
        ladder.refresh()


def test_a_key_in_the_environment_adds_the_tier(settings, monkeypatch):
    assert [source.name for source in StockDataPipeline("AAPL")._sources] == ["yfinance"]
    Path(".env").write_text("ALPHAVANTAGE_API_KEY=SECRET123\n")
    pipeline = StockDataPipeline("AAPL")
    assert [source.name for source in pipeline._sources] == ["yfinance", "alphavantage"]
    assert "SECRET123" not in repr(pipeline.settings) + repr(pipeline._sources)


# A cache that cannot be written


def test_a_cache_that_cannot_be_written_says_so_and_still_serves(evening, replay, caplog):
    before = cache(evening)
    shelf = real_shelf(evening)
    shelf.csv_path("AAPL").with_suffix(".lock").unlink(missing_ok=True)
    shelf.csv_path("AAPL").with_suffix(".lock").mkdir()  # takes the lock's name
    fact = load(evening, caplog).provenance
    assert fact.stale and cached_bytes(evening) == before
    assert len(told(caplog)) == 1 and told(caplog)[0].startswith("cache_unusable ticker=AAPL")


def test_the_cache_is_unusable_and_so_the_source_is_not_asked(evening, replay, caplog):
    cache(evening)
    (real_shelf(evening).folder / "AAPL_raw_fetch.lock").mkdir()
    assert load(evening, caplog).provenance.stale
    assert replay.hosts == [] and told(caplog)[0].startswith("cache_unusable ticker=AAPL")
