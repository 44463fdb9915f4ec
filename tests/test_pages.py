"""What a page shows beside forecasts: bars, several tickers, correlations, scores, settings."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest
from fake_desk import FakeDesk
from fake_pages import FakePages
from invented_forecasts import make_drift, make_forecast, make_prices
from starlette.testclient import TestClient

from app import create_app
from config import Settings
from contracts import LogUnavailable, NoChampion, NotEnoughHistory, SourceUnavailable, UnknownTicker
from data_pipeline import StockDataPipeline
from exhibits import Pages
from exhibits import inventory as inventory_module
from exhibits.history import correlations, last_bars, side_by_side
from exhibits.inventory import Inventory
from exhibits.jobs import MONITOR, TRAINER, Jobs
from exhibits.state import FRESH_SECONDS, ServiceStates
from forecast_log import ForecastLog
from model_store import ModelStore
from schemas import JobOut
from training_queue import LEASE as TRAINERS_LEASE
from watch import LEASE

Serve = Callable[..., TestClient]


@pytest.fixture
def serve(settings: Settings) -> Iterator[Serve]:
    """Start the service on fake pages; stopped when the test ends."""
    running: list[TestClient] = []

    def start(pages: FakePages | None = None, desk: FakeDesk | None = None) -> TestClient:
        app = create_app(lambda _: desk or FakeDesk(), lambda _: pages or FakePages())
        client = TestClient(app, "http://test")
        running.append(client.__enter__())
        return client

    yield start
    for client in running:
        client.__exit__()


def prices_of(closes: list[float], ticker: str = "AAPL", first: str = "2025-01-01"):
    """Bars on every day from `first` on, mids equal to closes."""
    values = np.array(closes, dtype=float)
    bars = dict.fromkeys(("Open", "High", "Low", "Close", "Adj Close"), values)
    days = pd.date_range(first, periods=len(values))
    return replace_bars(make_prices(ticker), pd.DataFrame({"Date": days, **bars, "Volume": 1.0}))


def replace_bars(prices, bars):
    last = bars["Date"].iloc[-1].date()
    return replace(prices, bars=bars, provenance=replace(prices.provenance, last_session=last))


# Bars


def test_the_last_bars_are_the_newest_ones_as_stored():
    prices = make_prices()
    shown, kept = last_bars(prices, 5, None), prices.bars.iloc[-5:]
    assert shown.dates == [stamp.date() for stamp in kept["Date"]]
    assert shown.close == pytest.approx(list(kept["Close"]))
    assert shown.volume == list(kept["Volume"])
    assert (shown.unit, shown.index, shown.as_of) == ("USD", None, date(2025, 12, 31))


def test_the_mid_is_halfway_between_high_and_low():
    shown = last_bars(make_prices(), 3, None)
    halfway = [(high + low) / 2 for high, low in zip(shown.high, shown.low, strict=True)]
    assert shown.mid == pytest.approx(halfway)


def test_fewer_bars_than_asked_for_are_all_of_them():
    assert len(last_bars(make_prices(count=7), 250, None).dates) == 7


def test_an_index_starts_at_its_level_and_keeps_every_ratio():
    plain, indexed = (last_bars(make_prices(), 20, index) for index in (None, 100.0))
    assert indexed.mid[0] == 100.0
    for name in ("open", "high", "low", "close", "mid"):
        ratio = np.array(getattr(indexed, name)) / np.array(getattr(plain, name))
        assert ratio == pytest.approx(100.0 / plain.mid[0])
    assert indexed.unit == "index"
    assert (indexed.index.date, indexed.index.price) == (plain.dates[0], plain.mid[0])
    assert indexed.volume == plain.volume


# Several tickers


def test_tickers_side_by_side_start_at_100_on_the_same_session():
    pairs = {
        "AAPL": (make_prices("AAPL"), make_forecast("AAPL", 3)),
        "MSFT": (make_prices("MSFT", count=10), make_forecast("MSFT", 3)),
    }
    shown = side_by_side(pairs, 30, 100.0).series
    assert {one.index.date for one in shown.values()} == {
        make_prices(count=10).bars["Date"][0].date()
    }
    assert [one.history[0] for one in shown.values()] == [100.0, 100.0]
    assert all(len(one.history) == len(one.history_dates) == 10 for one in shown.values())


def test_a_forecast_is_rebased_by_the_same_factor_as_its_past():
    made = make_forecast("AAPL", 4)
    shown = side_by_side({"AAPL": (make_prices(), made)}, 30, 100.0).series["AAPL"]
    factor = 100.0 / shown.index.price
    assert shown.prices == pytest.approx([price * factor for price in made.prices])
    assert shown.intervals["95"].upper == pytest.approx(
        [v * factor for v in made.bands["95"].upper]
    )
    assert shown.last_close == pytest.approx(made.last_close * factor)
    assert shown.history[-1] == pytest.approx(made.last_mid * factor)


def test_without_an_index_prices_stay_in_their_currency():
    shown = side_by_side({"AAPL": (make_prices(), make_forecast("AAPL", 4))}, 30, None)
    assert shown.series["AAPL"].unit == "USD"
    assert shown.series["AAPL"].prices == pytest.approx(make_forecast("AAPL", 4).prices)


def test_bars_newer_than_the_forecast_are_not_shown_as_its_past():
    made = replace(make_forecast("AAPL", 2), as_of=date(2025, 12, 29))
    shown = side_by_side({"AAPL": (make_prices(), made)}, 30, None).series["AAPL"]
    assert shown.history_dates[-1] == date(2025, 12, 29)


def test_a_ticker_whose_prices_ended_long_ago_is_shown_all_the_same():
    old = prices_of([10.0, 11.0], "OLD", "2001-01-01")
    made = replace(make_forecast("OLD", 2), as_of=date(2001, 1, 2))
    pairs = {"OLD": (old, made), "AAPL": (make_prices(), make_forecast("AAPL", 2))}
    assert side_by_side(pairs, 30, 100.0).series["OLD"].history == [100.0, 110.0]


def test_tickers_are_ranked_by_crps_and_then_by_rmse():
    skills = {"A": (None, 0.5), "B": (0.99, 1.2), "C": (0.99, 1.1), "D": (0.9, 3.0)}
    pairs = {}
    for ticker, (crps, rmse) in skills.items():
        made = make_forecast(ticker, 1)
        skill = replace(made.skill, crps_ratio=crps, rmse_ratio=rmse)
        pairs[ticker] = (make_prices(ticker), replace(made, skill=skill))
    ranking = side_by_side(pairs, 5, None).ranking
    assert [(row.rank, row.ticker) for row in ranking] == [(1, "D"), (2, "C"), (3, "B"), (4, "A")]


# Correlations


def test_correlations_match_the_obvious_sum():
    rng = np.random.default_rng(2)
    known = {t: prices_of(list(100 * np.exp(rng.normal(0, 0.01, 60).cumsum())), t) for t in "AB"}
    found = correlations(known, 40)
    returns = [np.diff(np.log(p.bars["Close"].to_numpy()[-41:])) for p in known.values()]
    a, b = (side - side.mean() for side in returns)
    wanted = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    assert found.matrix == [[1.0, pytest.approx(wanted)], [pytest.approx(wanted), 1.0]]
    assert found.returns == 40


def test_only_sessions_that_all_share_are_counted():
    closes = [100.0 + day % 7 for day in range(60)]
    known = {"A": prices_of(closes), "B": prices_of(closes[10:], "B", "2025-01-11")}
    found = correlations(known, 250)
    assert (found.returns, found.first_session) == (49, date(2025, 1, 11))
    assert found.matrix[0][1] == pytest.approx(1.0)


def test_a_price_that_never_moved_has_no_correlation():
    known = {"A": prices_of([5.0] * 40), "B": prices_of([float(n + 1) for n in range(40)], "B")}
    assert correlations(known, 30).matrix[0][1] is None


def test_too_few_common_sessions_are_refused():
    known = {"A": prices_of([5.0, 6.0] * 15), "B": prices_of([1.0, 2.0] * 15, "B", "2020-01-01")}
    with pytest.raises(NotEnoughHistory, match="common sessions"):
        correlations(known, 30)


# Routes


def test_bars_reach_the_page_with_where_they_came_from(serve):
    answer = serve().get("/prices/AAPL?last=2").json()
    assert answer["data"]["source"] == "file"
    assert answer["dates"] == ["2025-12-30", "2025-12-31"]
    assert answer["currency"] == "USD"


@pytest.mark.parametrize("query", ["last=0", "last=5001", "last=x", "index=0", "index=nan"])
def test_what_makes_no_sense_is_refused_before_any_price_is_read(serve, query):
    answer = serve().get(f"/prices/AAPL?{query}")
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid_request")


def test_a_failed_ticker_does_not_stop_the_others(serve):
    desk = FakeDesk(failures={"MSFT": NoChampion("MSFT")})
    answer = serve(desk=desk).get("/compare?tickers=AAPL,MSFT,ZZZZ&steps=2").json()
    assert list(answer["series"]) == ["AAPL"]
    assert {t: p["type"] for t, p in answer["errors"].items()} == {
        "MSFT": "/problems/no_champion",
        "ZZZZ": "/problems/unknown_ticker",
    }


def test_nobody_left_to_compare_is_still_an_answer(serve):
    answer = serve().get("/compare?tickers=ZZZZ&index=100").json()
    assert (answer["series"], answer["ranking"], list(answer["errors"])) == ({}, [], ["ZZZZ"])


@pytest.mark.parametrize(
    "asked", ["AAPL,MSFT", "aapl, msft", "AAPL&tickers=MSFT", "AAPL,AAPL,MSFT"]
)
def test_symbols_are_given_with_commas_or_one_by_one(serve, asked):
    answer = serve().get(f"/correlations?tickers={asked}")
    assert answer.json()["tickers"] == ["AAPL", "MSFT"]


@pytest.mark.parametrize("path", ["/compare", "/correlations"])
@pytest.mark.parametrize("asked", ["", ",", "AAPL,", "AAPL;MSFT", ",".join(["AAPL"] * 21)])
def test_what_is_no_list_of_symbols_is_refused(serve, path, asked):
    assert serve().get(path, params={"tickers": asked}).status_code == 422


def test_scores_say_where_the_model_loses(serve):
    answer = serve().get("/scores/AAPL").json()
    own = {row["step"]: row["verdict"] for row in answer["scores"] if row["model"] == "lstm"}
    assert own == {1: "no better than the last price", 30: "worse than the last price"}
    assert (answer["first_origin"], answer["origins"]) == ("2024-10-16", 272)


def test_a_model_without_a_table_is_404_and_says_what_to_do(serve):
    answer = serve(FakePages(scored=False)).get("/scores/AAPL")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/no_scores")
    assert "python train.py AAPL" in answer.json()["detail"]


def test_stopping_closes_the_pages(settings):
    pages = FakePages()
    with TestClient(create_app(lambda _: FakeDesk(), lambda _: pages)):
        assert not pages.closed
    assert pages.closed


# The real ones


@pytest.fixture(scope="session")
def real_pages(trained_project) -> Iterator[Pages]:
    """Over real AAPL prices and a champion fitted for two epochs."""
    folder = trained_project.folder
    settings = Settings(
        tickers=("AAPL", "MSFT"),
        as_of=date(2025, 12, 31),
        data_dir=folder / "data",
        models_dir=folder / "models",
        database_url=f"sqlite:///{folder / 'forecasts.db'}",
        allow_synthetic=False,
    )
    pages = Pages(settings)
    yield pages
    pages.close()


def test_real_bars_are_those_of_the_file(real_pages, real_data):
    shown = real_pages.prices("aapl", 250)
    rows = pd.read_csv(real_data / "yahoo" / "AAPL.csv", parse_dates=["Date"])
    rows = rows[rows["Date"] <= "2025-12-31"].tail(250)
    assert shown.close == pytest.approx(list(rows["Close"]))
    assert shown.dates == [stamp.date() for stamp in rows["Date"]]


def test_training_leaves_a_table_that_judges_what_the_card_judges(real_pages, trained_project):
    scores = real_pages.scores("AAPL")
    rows = {(row.model, row.step): row for row in scores.scores}
    assert set(scores.steps) == {1, 5, 10, 20, 30}
    assert {model for model, _ in rows} == {"lstm", "last_close", "last_mid", "arima"}
    # two epochs on normalised prices alone: worse than repeating the last close, and it says so
    assert rows["lstm", 1].rmse_ratio > 1.2
    assert rows["lstm", 1].verdict == "worse than the last price"
    assert rows["last_close", 1].rmse < rows["last_mid", 1].rmse
    assert 0.7 < rows["last_close", 1].coverage_80 < 0.9


def test_a_ticker_without_a_model_has_no_scores(real_pages):
    with pytest.raises(NoChampion):
        real_pages.scores("MSFT")
    with pytest.raises(UnknownTicker):
        real_pages.scores("ZZZZ")


def test_configured_without_prices_is_said(real_pages):
    with pytest.raises(SourceUnavailable, match="MSFT has no prices"):
        real_pages.prices("MSFT", 5)


def test_what_is_in_use_names_no_place_and_no_secret(real_pages, trained_project):
    answer = real_pages.info("name", "1", "disclaimer", limit=100, offset=0)
    text = answer.model_dump_json()
    assert str(trained_project.folder) not in text
    assert not {"data_dir", "database_url", "alphavantage_api_key"} & set(answer.settings)
    assert (answer.settings["prediction_steps"], answer.settings["as_of"]) == (30, "2025-12-31")


def test_what_there_is_by_ticker(real_pages):
    apple, microsoft = real_pages.info("name", "1", "disclaimer", limit=100, offset=0).tickers
    assert (apple.ticker, apple.version, apple.recipe) == ("AAPL", "1", "mlops_64_64_32")
    assert (apple.last_session, apple.source) == (date(2025, 12, 31), "file")
    assert (microsoft.last_session, microsoft.version, microsoft.sessions) == (None, None, 0)


def test_what_there_is_is_told_again_until_a_file_changes(settings, trained_project, monkeypatch):
    shutil.copytree(trained_project.folder / "data", settings.data_dir)
    shutil.copytree(trained_project.folder / "models", settings.models_dir)
    store = ModelStore(settings.models_dir)
    inventory, reads = Inventory(settings, store), []
    whole = inventory_module.described
    monkeypatch.setattr(
        inventory_module, "described", lambda *asked: reads.append(1) or whole(*asked)
    )
    monkeypatch.setattr(StockDataPipeline, "read", None)  # nor are the bars
    assert inventory.of("AAPL") is inventory.of("AAPL")
    assert len(reads) == 1
    store.publish("AAPL", store.champion("AAPL").path, "99")
    assert inventory.of("AAPL").version == "99"


# What answers


def test_each_service_is_asked_once_for_a_while():
    asked, now = [], [0.0]

    def check() -> str:
        asked.append(now[0])
        return "answers"

    states = ServiceStates({"database": check}, lambda: now[0])
    for now[0] in (0.0, FRESH_SECONDS - 0.1, FRESH_SECONDS):
        assert states.now()["database"].status == "up"
    assert asked == [0.0, FRESH_SECONDS]


def test_a_service_that_is_away_is_down_without_its_address():
    def check() -> str:
        raise LogUnavailable("postgresql://user@db/x does not answer")

    found = ServiceStates({"database": check}).now()["database"]
    assert (found.status, found.detail) == ("down", "log unavailable")


def test_a_database_and_the_sources_of_prices_are_looked_at(real_pages):
    found = real_pages.info("name", "1", "disclaimer", limit=100, offset=0).services
    assert {name: one.status for name, one in found.items() if name != "mlflow"} == {
        "database": "up",
        "monitor": "down",
        "trainer": "down",
        "yfinance": "up",
    }


def test_a_monitor_at_work_is_seen_by_its_lease(settings):
    log = ForecastLog(settings.database_url)
    pages = Pages(settings)
    with log.lease(MONITOR, "host-1", 60):
        found = pages.info("n", "1", "d", limit=1, offset=0).services["monitor"]
    assert (found.status, found.detail) == ("up", "at work")
    assert MONITOR == LEASE
    pages.close()
    log.close()


@pytest.mark.parametrize(
    ("now", "next_round"),
    [
        (datetime(2026, 1, 16, 20, 0, tzinfo=UTC), datetime(2026, 1, 16, 21, 30, tzinfo=UTC)),
        (datetime(2026, 1, 16, 21, 29, tzinfo=UTC), datetime(2026, 1, 16, 21, 30, tzinfo=UTC)),
        # over a weekend and the holiday after it
        (datetime(2026, 1, 16, 21, 31, tzinfo=UTC), datetime(2026, 1, 20, 21, 30, tzinfo=UTC)),
    ],
)
def test_a_monitor_at_work_has_a_next_round_after_the_next_close(settings, now, next_round):
    log = ForecastLog(settings.database_url)
    verdict = make_drift()
    log.record_verdict(verdict)
    log.ask_check("MSFT")
    with log.lease(MONITOR, "host-1", 60):
        jobs = Jobs(settings.model_copy(update={"watch_delay_minutes": 30}), log).now(now)
    log.close()
    assert jobs["monitor"] == JobOut(
        at_work=True,
        last_done=verdict.checked_at,
        last_deed=f"drift check of {verdict.ticker}",
        waiting=1,
        next_round=next_round,
    )
    assert jobs["trainer"] == JobOut(
        at_work=False, last_done=None, last_deed=None, waiting=0, next_round=None
    )
    assert TRAINER == TRAINERS_LEASE


def test_nothing_is_known_of_jobs_while_the_database_is_away(settings, tmp_path):
    (tmp_path / "no.db").write_bytes(b"no database" * 100)
    log = ForecastLog(f"sqlite:///{tmp_path}/no.db")
    assert Jobs(settings, log).now() == {}
    log.close()


def test_a_source_that_failed_is_left_alone_and_said_so(tmp_path, settings):
    breaker = settings.data_dir / ".sources" / "yfinance.json"
    breaker.parent.mkdir(parents=True)
    state = {"failures": 2, "until": time.time() + 600, "reason": "429 at /srv/x"}
    breaker.write_text(json.dumps(state))
    pages = Pages(settings)
    found = pages.info("n", "1", "d", limit=100, offset=0).services["yfinance"]
    pages.close()
    assert (found.status, found.detail) == ("down", "source unavailable")
