"""What was promised beside what happened: settled once, whatever the order, on one scale."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import date
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from promised import ORIGIN, SESSIONS, forecast, pooled, prices, serve, walk

from contracts import Performance, Settlement
from forecast_log import ForecastLog

TODAY = date(2026, 12, 31)


def counts(found: Settlement) -> tuple[int, int, int, int]:
    return found.settled, found.waiting, found.revised, found.skipped


@pytest.fixture
def log(tmp_path) -> Iterator[ForecastLog]:
    """On SQLite, where only our own arithmetic is at stake."""
    opened = ForecastLog(f"sqlite:///{tmp_path / 'forecasts.db'}")
    yield opened
    opened.close()


def test_a_promise_comes_back_as_it_was_served(forecast_log):
    served = forecast()
    serve(forecast_log, served)
    (promise,) = forecast_log.promises("AAPL")
    assert (promise.origin, promise.version, promise.request_id) == (ORIGIN, "3", "request-0")
    assert (promise.dates, promise.points) == (served.dates, served.prices)
    assert promise.bands == served.bands
    assert (promise.last_mid, promise.last_close) == (100.0, 100.5)


def test_the_same_forecast_twice_is_one_promise_by_its_first_request(forecast_log):
    serve(forecast_log, forecast(), forecast())
    serve(forecast_log, forecast())
    (promise,) = forecast_log.promises("AAPL")
    assert promise.request_id == "request-0"
    assert promise.served_at > promise.made_at


@pytest.mark.parametrize(
    "change",
    [
        {"version": "4"},
        {"bundle": "another"},
        {"mode": "recursive"},
        {"sha256": "1" * 64},
        {"source": "yfinance"},
        {"adjustment": "split+dividend"},
        {"origin": SESSIONS[1]},
        {"ticker": "MSFT"},
    ],
)
def test_what_differs_in_its_origin_model_or_prices_is_another_promise(log, change):
    serve(log, forecast(), forecast(**change))
    assert len(log.promises("AAPL") + log.promises("MSFT")) == 2


def test_a_forecast_of_more_steps_lengthens_the_promise(forecast_log):
    serve(forecast_log, forecast(points=(101.0,)))
    serve(forecast_log, forecast(points=(101.0, 102.0, 103.0)), forecast(points=(101.0, 102.0)))
    (promise,) = forecast_log.promises("AAPL")
    assert promise.points == (101.0, 102.0, 103.0)


def test_promises_are_found_by_origin(log):
    serve(log, *(forecast(origin=day) for day in SESSIONS[:5]))
    found = log.promises("AAPL", first=SESSIONS[1], last=SESSIONS[3])
    assert [promise.origin for promise in found] == list(SESSIONS[1:4])


def test_a_step_is_settled_when_its_session_is_known(forecast_log):
    serve(forecast_log, forecast())
    assert counts(forecast_log.settle(prices(walk(100)), TODAY)) == (0, 2, 0, 0)
    assert counts(forecast_log.settle(prices(walk(100, 103)), TODAY)) == (1, 1, 0, 0)
    assert counts(forecast_log.settle(prices(walk(100, 103, 104)), TODAY)) == (1, 0, 0, 0)
    assert counts(forecast_log.settle(prices(walk(100, 103, 104)), TODAY)) == (0, 0, 0, 0)


def test_bars_later_than_today_are_not_looked_at(log):
    serve(log, forecast())
    found = log.settle(prices(walk(100, 103, 104)), SESSIONS[1])
    assert (found.through, counts(found)) == (SESSIONS[1], (1, 1, 0, 0))
    assert log.performance("AAPL").through == SESSIONS[1]


def test_without_a_promise_there_is_nothing_to_settle(forecast_log):
    assert counts(forecast_log.settle(prices(walk(100, 103)), TODAY)) == (0, 0, 0, 0)
    assert forecast_log.performance("AAPL").rows == ()


def test_scores_are_those_of_the_settled_steps(forecast_log):
    serve(forecast_log, forecast(points=(101.0, 102.0)))
    forecast_log.settle(prices(walk(100, 104, 101)), TODAY)
    row = pooled(forecast_log)
    assert (row.n, row.model.direction) == (2, 1.0)
    assert row.model.mae == pytest.approx(2.0)
    assert row.model.rmse == pytest.approx(5**0.5)
    assert row.last_close.mae == pytest.approx(2.0)
    assert (row.model.coverage_80, row.model.coverage_95) == (0.5, 1.0)
    assert row.last_close.coverage_80 is None


def test_a_split_after_the_promise_changes_no_score(forecast_log):
    serve(forecast_log, forecast())
    forecast_log.settle(prices(walk(100, 103, 101)), TODAY)
    before = pooled(forecast_log)
    found = forecast_log.settle(prices(walk(50, 51.5, 50.5)), TODAY)
    after = pooled(forecast_log)
    assert counts(found) == (0, 0, 3, 0)
    assert after.model.rmse == pytest.approx(before.model.rmse / 2)
    assert after.rmse_ratio == pytest.approx(before.rmse_ratio)
    assert after.model.coverage_80 == before.model.coverage_80


def test_a_split_between_promise_and_outcome_changes_no_score(log):
    serve(log, forecast())
    log.settle(prices(walk(100 / 7, 103 / 7, 101 / 7)), TODAY)
    assert pooled(log).model.mae == pytest.approx(1.5 / 7)


def test_promises_made_on_either_side_of_a_split_are_pooled_on_one_scale(log):
    serve(log, forecast(points=(110.0,)))
    later = forecast(origin=SESSIONS[1], points=(55.0,), last_mid=50.0, last_close=50.25)
    serve(log, later)
    log.settle(prices(walk(50, 50, 50)), TODAY)
    assert pooled(log).model.mae == pytest.approx(5.0)


def test_a_dividend_rescales_prices_that_are_adjusted_for_it(log):
    serve(log, forecast(adjustment="split+dividend"))
    paid = prices(walk(99, 0.99 * 103, 0.99 * 101), adjustment="split+dividend")
    log.settle(paid, TODAY)
    assert pooled(log).model.mae == pytest.approx(0.99 * 1.5)


def test_a_corrected_outcome_counts_as_it_is_known_now(forecast_log):
    serve(forecast_log, forecast())
    forecast_log.settle(prices(walk(100, 103, 104)), TODAY)
    assert counts(forecast_log.settle(prices(walk(100, 101, 104)), TODAY)) == (0, 0, 1, 0)
    assert pooled(forecast_log).model.mae == pytest.approx(1.0)
    assert forecast_log.performance("AAPL").revised == 1


def test_a_corrected_high_of_the_origin_is_not_another_scale(log):
    serve(log, forecast())
    history = prices(walk(100, 103, 101))
    history.bars.loc[0, "High"] *= 1.05  # its close stays
    log.settle(history, TODAY)
    assert pooled(log).model.mae == pytest.approx(1.5)


def test_an_origin_that_cannot_be_told_apart_from_another_is_not_scored(log):
    serve(log, forecast())
    history = prices(walk(100, 103, 101))
    history.bars.loc[0, ["High", "Low"]] *= 3
    log.settle(history, TODAY)
    found = log.performance("AAPL")
    assert (found.settled, found.unscaled, found.rows) == (2, 2, ())


def test_a_day_that_turned_out_to_be_no_session_is_skipped(log):
    serve(log, forecast(points=(101.0, 102.0, 103.0)))
    days = walk(100, 101, 102, 103)
    del days[SESSIONS[2]]  # closed at short notice, or halted all day
    assert counts(log.settle(prices(days), TODAY)) == (2, 0, 0, 1)
    assert log.performance("AAPL").waiting == 1


def test_a_session_that_comes_late_is_settled_then(log):
    serve(log, forecast(points=(101.0, 102.0, 103.0)))
    days = walk(100, 101, 102, 103)
    late = {day: mid for day, mid in days.items() if day != SESSIONS[2]}
    log.settle(prices(late), TODAY)
    assert counts(log.settle(prices(days), TODAY)) == (1, 0, 0, 0)


def test_a_session_that_was_withdrawn_is_no_longer_scored(log):
    serve(log, forecast())
    days = walk(100, 103, 104)
    log.settle(prices(days), TODAY)
    del days[SESSIONS[1]]
    assert counts(log.settle(prices(days), TODAY)) == (0, 0, 1, 0)
    assert pooled(log).n == 1
    assert counts(log.settle(prices(days), TODAY)) == (0, 0, 0, 1)
    assert counts(log.settle(prices(walk(100, 103, 104)), TODAY)) == (0, 0, 1, 0)
    assert pooled(log).n == 2


def test_a_history_that_begins_later_withdraws_nothing(log):
    serve(log, forecast())
    log.settle(prices(walk(100, 103, 104)), TODAY)
    days = {SESSIONS[2]: 104.0}
    assert counts(log.settle(prices(days), TODAY)) == (0, 0, 0, 0)
    assert pooled(log).n == 2


def test_promises_on_a_calendar_of_its_own_fall_due_on_its_days(log):
    saturday = date(2025, 6, 7)
    coin = forecast(origin=date(2025, 6, 6), ticker="BTC-USD", points=(101.0,))
    assert coin.dates == (saturday,)
    serve(log, coin)
    known = {date(2025, 6, 6): 100.0, saturday: 103.0}
    assert counts(log.settle(prices(known, "BTC-USD"), TODAY)) == (1, 0, 0, 0)


@pytest.mark.parametrize("kind", [{"adjustment": "split+dividend"}, {"source": "synthetic"}])
def test_prices_of_another_kind_settle_nothing(forecast_log, kind):
    serve(forecast_log, forecast())
    found = forecast_log.settle(prices(walk(100, 103, 104), **kind), TODAY)
    assert counts(found) == (0, 0, 0, 2)
    assert forecast_log.performance("AAPL").rows == ()


def test_another_real_source_of_the_same_adjustment_settles(log):
    serve(log, forecast(source="yfinance"))
    assert log.settle(prices(walk(100, 103, 104), source="alphavantage"), TODAY).settled == 2


def test_synthetic_figures_stand_apart(log):
    serve(log, forecast(), forecast(source="synthetic", points=(150.0, 150.0)))
    log.settle(prices(walk(100, 103, 104)), TODAY)
    log.settle(prices(walk(100, 160, 160), source="synthetic"), TODAY)
    rows = {row.synthetic: row for row in log.performance("AAPL").rows if row.step is None}
    assert rows[False].model.mae == pytest.approx(2.0)
    assert rows[True].model.mae == pytest.approx(10.0)
    assert "live_mae_pooled" in log.performance("AAPL").as_metrics("3")
    assert log.performance("AAPL").as_metrics("3")["live_mae_pooled"] == pytest.approx(2.0)


def test_of_two_promises_from_one_origin_the_first_stands(log):
    serve(log, forecast(points=(103.0, 103.0)))
    serve(log, forecast(points=(110.0, 110.0, 110.0), sha256="1" * 64))
    log.settle(prices(walk(100, 103, 103, 103)), TODAY)
    row = pooled(log)
    assert (row.n, row.model.mae) == (3, pytest.approx(7 / 3))


def test_versions_and_modes_have_rows_of_their_own(log):
    serve(log, forecast(), forecast(version="4"), forecast(mode="recursive"))
    log.settle(prices(walk(100, 103, 104)), TODAY)
    rows = log.performance("AAPL").rows
    assert {(row.version, row.mode) for row in rows} == {
        ("3", "direct"),
        ("3", "recursive"),
        ("4", "direct"),
    }
    assert [row.step for row in rows] == [1, None] * 3


def test_a_forecast_without_bands_has_point_scores(log):
    serve(log, forecast(bands={}))
    log.settle(prices(walk(100, 103, 101)), TODAY)
    row = pooled(log)
    assert row.model.mae == pytest.approx(1.5)
    assert (row.model.coverage_80, row.model.crps, row.crps_ratio) == (None, None, None)
    assert row.last_close.crps == pytest.approx(row.last_close.mae)


NUMBERS = count()


def facts(performance: Performance) -> dict[str, object]:
    """Everything but the names and the time of writing."""
    plain = dataclasses.asdict(performance)
    return {k: v for k, v in plain.items() if k not in ("ticker", "settled_at")}


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[ForecastLog]:
    """One database for many examples, each of a ticker of its own."""
    opened = ForecastLog(f"sqlite:///{tmp_path_factory.mktemp('shared') / 'forecasts.db'}")
    yield opened
    opened.close()


@given(
    mids=st.lists(st.floats(50, 200), min_size=3, max_size=9),
    horizons=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    evenings=st.lists(st.integers(1, 9), max_size=6),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_settling_day_by_day_in_any_order_equals_settling_at_once(shared, mids, horizons, evenings):
    days, found = walk(*mids), []
    for plan in ([], evenings):
        ticker = f"T{next(NUMBERS)}"
        origins = [
            forecast(
                origin=SESSIONS[i],
                ticker=ticker,
                points=[mids[i % len(mids)] * 1.01] * steps,
                last_mid=mids[i % len(mids)],
                last_close=mids[i % len(mids)] * 1.005,
            )
            for i, steps in enumerate(horizons)
        ]
        serve(shared, *origins)
        for evening in [*plan, len(mids), len(mids)]:
            known = dict(list(days.items())[:evening])
            shared.settle(prices(known, ticker), TODAY)
        found.append(facts(shared.performance(ticker)))
    assert found[0] == found[1]
    assert found[0]["revised"] == 0
