"""The desk: one computation per answer, keys that change with what they stand for, warnings."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import product

import numpy as np
import orjson
import pytest
from builders import provenance
from invented_forecasts import OWN, make_drift, make_forecast
from staged import AS_OF, AT, bars, bases, publish, put_bars, put_prices, truncate

import desk as desk_module
import standings
from answers import forecast_answer
from cautions import Limits, cautions
from contracts import BadBundle
from data_pipeline import real_shelf
from desk import ForecastDesk
from forecast_log import ForecastLog
from model_store import NETWORK, ModelStore
from novelty import distance
from prices.cache import Label
from schemas import ForecastOut
from serving import forecasts_from


@pytest.fixture
def open_desk(settings, monkeypatch):
    """Desks that look at files at every request, on a folder with prices of AAPL."""
    monkeypatch.setattr(standings, "LOOK_SECONDS", -1.0)
    put_prices(settings)
    desks = []

    def opened(**changes: object) -> ForecastDesk:
        plain = {"refresh": False, "tickers": ("AAPL",), "as_of": AS_OF}
        desks.append(ForecastDesk(settings.model_copy(update={**plain, **changes})))
        return desks[-1]

    yield opened
    for one in desks:
        one.close()


@pytest.fixture
def computed(monkeypatch):
    """The forecasts that were really computed."""
    made, honest = [], desk_module.forecast_from

    def counted(*arguments):
        made.append(honest(*arguments))
        return made[-1]

    monkeypatch.setattr(desk_module, "forecast_from", counted)
    return made


# Forecasts that cannot be


@pytest.mark.parametrize("place", [0, 17, 29])
@pytest.mark.parametrize(
    ("side", "wrong"),
    [*product(("lower", "upper"), (float("nan"), 0.0, -1.0, None)), ("lower", 400.0)],
)
def test_no_band_leaves_out_its_own_forecast(side, wrong, place):
    good = make_forecast()
    band = good.bands["95"]
    edge = list(getattr(band, side))
    edge[place : place + 1] = [] if wrong is None else [wrong]
    with pytest.raises(ValueError, match="AAPL: 95 % band must"):
        replace(good, bands={**good.bands, "95": replace(band, **{side: tuple(edge)})})


@pytest.mark.parametrize("days", [(1, 0), (0, 0), (-400, 1)])
def test_no_session_comes_twice_or_too_early(days):
    good = make_forecast(steps=2)
    dates = tuple(good.dates[0] + timedelta(days=n) for n in days)
    with pytest.raises(ValueError, match="dates must ascend"):
        replace(good, dates=dates)


# Answers


@pytest.mark.parametrize("smoothing", [True, False])
def test_the_bytes_are_what_the_schema_gives(settings, open_desk, smoothing):
    publish(settings, "1")
    answer = open_desk().answer("AAPL", 30, smoothing)
    said = ForecastOut.of(answer.forecast)
    assert json.loads(answer.body) == json.loads(said.model_dump_json())
    assert list(json.loads(answer.body)) == list(ForecastOut.model_fields)
    assert answer.body == orjson.dumps(forecast_answer(answer.forecast))
    assert ForecastOut.model_validate_json(answer.body) == said


def test_the_same_question_is_computed_once(settings, open_desk, computed):
    publish(settings, "1")
    desk = open_desk()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: desk.answer("aapl", 30, True), range(40)))
    assert len({id(answer) for answer in answers}) == 1
    assert len(computed) == 1
    assert desk.cache_counts()[0] >= 32


@pytest.mark.parametrize("other", [(29, True), (30, False)])
def test_another_question_is_another_answer(settings, open_desk, computed, other):
    publish(settings, "1")
    desk = open_desk()
    assert desk.answer("AAPL", 30, True) is not desk.answer("AAPL", *other)
    assert len(computed) == 2


def test_a_promotion_and_new_prices_are_seen_and_a_rollback_finds_the_old_answer(
    settings, open_desk, computed
):
    publish(settings, "1")
    put_prices(settings, rows=len(bars()) - 1)
    desk = open_desk()
    first = desk.answer("AAPL", 30, True)
    publish(settings, "2", which=1)
    second = desk.answer("AAPL", 30, True)
    ModelStore(settings.models_dir).rollback("AAPL")
    assert desk.answer("AAPL", 30, True) is first
    put_prices(settings)
    third = desk.answer("AAPL", 30, True)
    assert [a.forecast.model.version for a in (first, second, third)] == ["1", "2", "1"]
    assert third.forecast.as_of == AS_OF > first.forecast.as_of
    assert len({first.etag, second.etag, third.etag}) == len(computed) == 3


def test_the_same_bars_fetched_again_are_another_answer_that_says_when(settings, open_desk):
    publish(settings, "1")
    desk = open_desk()
    first = desk.answer("AAPL", 30, True)
    later = AT + timedelta(hours=5)
    label = Label(source="yfinance", adjustment="split", fetched_at=later)
    real_shelf(settings).put("AAPL", bars(), label)
    second = desk.answer("AAPL", 30, True)
    told = [json.loads(answer.body)["data"] for answer in (first, second)]
    assert [data["fetched_at"] for data in told] == ["2026-01-31T06:00:00Z", "2026-01-31T11:00:00Z"]
    assert [data["state"] for data in told] == ["cached", "live"]
    assert first.etag != second.etag
    assert first.forecast.prices == second.forecast.prices


def test_what_is_at_hand_needs_no_file(settings, open_desk, monkeypatch):
    publish(settings, "1")
    desk = open_desk()
    assert desk.at_hand("AAPL", 30, True) is None
    answer = desk.answer("AAPL", 30, True)
    monkeypatch.setattr(standings, "LOOK_SECONDS", 1e9)
    monkeypatch.setattr(standings, "PATIENCE_SECONDS", 1e9)
    monkeypatch.setattr(standings, "mark_of", None)
    assert desk.at_hand("AAPL", 30, True) is answer
    monkeypatch.setattr(standings, "PATIENCE_SECONDS", -1.0)
    assert desk.at_hand("AAPL", 30, True) is None, "one would have to look first"


def test_every_forecast_that_was_computed_is_promised(settings, open_desk):
    publish(settings, "1")
    desk = open_desk()
    for _ in range(3):
        desk.answer("AAPL", 5, True, "a-request")
    desk.close()
    log = ForecastLog(settings.database_url)
    assert [promise.ticker for promise in log.promises("AAPL")] == ["AAPL"]
    log.close()


# A version that is refused


def test_a_bad_version_is_said_while_the_old_one_answers(settings, open_desk):
    publish(settings, "1")
    desk = open_desk()
    desk.forecast("AAPL", 5, False)
    truncate(publish(settings, "2", which=1) / NETWORK)
    assert desk.forecast("AAPL", 5, False).model.version == "1"
    assert desk.readiness() == {"AAPL": None}
    assert "was altered" in str(desk.refused()["AAPL"])


def test_a_desk_with_nothing_that_verifies_is_not_ready(settings, open_desk):
    truncate(publish(settings, "1") / NETWORK)
    assert isinstance(open_desk().readiness()["AAPL"], BadBundle)


def test_readiness_reads_neither_networks_nor_bars(settings, open_desk, monkeypatch):
    publish(settings, "1")
    for name in ("StockDataPipeline", "view"):
        monkeypatch.setattr(standings, name, None)
    monkeypatch.setattr("champions.Network", None)
    assert open_desk().readiness() == {"AAPL": None}
    assert open_desk(tickers=("MSFT",), allow_synthetic=False).readiness()["MSFT"]


def test_the_gauges_tell_ages(settings, open_desk):
    publish(settings, "1")
    desk = open_desk()
    assert desk.gauges() == {}
    desk.forecast("AAPL", 5, False)
    row = desk.gauges()["AAPL"]
    assert row.model_age_days == (AS_OF - bases()[0].card.trained_through).days
    assert (row.data_age_sessions, row.drift_alarm) == (0, None)


def test_the_gauges_hear_of_an_alarm_without_waiting_for_it(settings, open_desk):
    publish(settings, "1")
    log = ForecastLog(settings.database_url)
    log.record_verdict(make_drift("AAPL"))
    log.close()
    desk = open_desk()
    desk.forecast("AAPL", 5, False)
    assert desk.gauges()["AAPL"].drift_alarm is None
    deadline = time.monotonic() + 20
    while desk.gauges()["AAPL"].drift_alarm is None:
        assert time.monotonic() < deadline
    assert desk.gauges()["AAPL"].drift_alarm is True


# Batches


@pytest.mark.parametrize("threads", [1, 3])
def test_a_batch_says_what_each_ticker_alone_would(settings, open_desk, threads):
    for place, ticker in enumerate(("AAPL", "MSFT", "NVDA", "NFLX")):
        put_prices(settings, ticker, rows=len(bars()) - 7 * place)
        if ticker != "NFLX":
            publish(settings, "1", which=place % 2, ticker=ticker)
    tickers = ("AAPL", "MSFT", "NVDA", "NFLX", "NIX")
    together = open_desk(batch_threads=threads).answers(tickers, 30, True)
    alone = open_desk()
    for ticker in tickers[:4]:
        assert together[ticker].body == alone.answer(ticker, 30, True).body
    assert type(together["NIX"]).code == "unknown_ticker"


def test_tickers_of_one_network_are_one_run_of_it(settings, open_desk, monkeypatch):
    for ticker in ("AAPL", "MSFT", "NVDA"):
        put_prices(settings, ticker)
    desk = open_desk()
    asked = [desk._asked(ticker) for ticker in ("AAPL", "MSFT", "NVDA")]
    network, runs = asked[0].served.model.network, []
    honest = network.run
    monkeypatch.setattr(network, "run", lambda x: runs.append(len(x)) or honest(x))
    forecasts_from([(one.served, one.seen) for one in asked], 30, None)
    assert runs == [3]


def test_a_network_that_fails_costs_its_own_ticker_alone(settings, open_desk):
    publish(settings, "1", which=1)
    for ticker in ("MSFT", "NVDA"):  # answered by one base
        put_prices(settings, ticker)
    desk = open_desk()
    own, first, second = (desk._asked(ticker) for ticker in ("AAPL", "MSFT", "NVDA"))
    narrow = replace(own.seen, feed=replace(own.seen.feed, x=own.seen.feed.x[:, :3]))
    blind = replace(second.seen, feed=replace(second.seen.feed, x=second.seen.feed.x * np.nan))
    asked = [(own.served, narrow), (first.served, first.seen), (second.served, blind)]
    fails, well, fails_too = forecasts_from(asked, 30, 10)
    assert well == desk.forecast("MSFT", 30, True)
    assert type(fails).code == type(fails_too).code == "bad_bundle"
    assert own.served.identity.bundle in str(fails)


# Warnings

LIMITS = Limits(model_days=365, sessions_behind=5)


def said(desk: ForecastDesk) -> list[str]:
    return [warning.code for warning in desk.forecast("AAPL", 5, False).warnings]


def test_a_fresh_answer_carries_no_warning(settings, open_desk):
    publish(settings, "1", which=1)
    assert said(open_desk()) == []


def test_an_old_model_is_said(settings, open_desk):
    publish(settings, "1", which=0)  # has seen nothing since 2023
    assert said(open_desk()) == ["model_too_old"]
    assert said(open_desk(max_model_age_days=2000)) == []


def test_stale_prices_are_said(settings, open_desk):
    publish(settings, "1", which=1)
    put_prices(settings, rows=len(bars()) - 6)
    assert said(open_desk()) == ["prices_stale"]
    assert said(open_desk(max_sessions_behind=6)) == []


def test_an_input_unlike_those_in_training_is_said_with_its_distance(settings, open_desk):
    publish(settings, "1", which=1)
    wild = bars().copy()
    wild.loc[wild.index[-1], ["High", "Open"]] *= 1.25
    wild.loc[wild.index[-1], "Volume"] *= 50
    put_bars(settings, "AAPL", wild)
    (warning,) = open_desk().forecast("AAPL", 5, False).warnings
    assert warning.code == "outside_training" and "Mahalanobis" in warning.detail


def test_invented_prices_are_said():
    data = provenance(source="synthetic")
    assert [w.code for w in cautions(OWN, data, AS_OF, None, LIMITS)] == ["synthetic_prices"]


def test_the_distance_is_the_textbooks():
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(4000, 3)) * [1.0, 2.0, 0.5]
    found = distance(seen, np.array([3.0, 0.0, 0.0]), 0.99)
    assert found.value == pytest.approx(3.0, rel=0.1) and not found.outside
    expected = np.sqrt(np.quantile((rng.normal(size=(100_000, 3)) ** 2).sum(axis=1), 0.99))
    assert found.threshold == pytest.approx(expected, rel=0.05)
    assert distance(seen, np.array([9.0, 0.0, 0.0]), 0.99).outside
    assert distance(seen[:50], seen[0], 0.99) is None


def test_an_input_that_never_moved_has_a_finite_distance():
    seen = np.column_stack([np.random.default_rng(0).normal(size=500), np.zeros(500)])
    assert np.isfinite(distance(seen, np.array([0.0, 1.0]), 0.999).value)
