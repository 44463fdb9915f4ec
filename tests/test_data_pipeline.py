"""The door to prices: which tier answers, what its label says, and what training is given."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from replay_yahoo import replaying, send_yfinance_to

from config import Settings, with_flags
from contracts import (
    BAR_COLUMNS,
    BadPrices,
    BadSettings,
    InvalidTicker,
    NotEnoughHistory,
    Prices,
    SourceUnavailable,
    UnknownTicker,
)
from data_pipeline import (
    StockDataPipeline,
    import_file,
    main,
    real_shelf,
    today,
    training_bars,
)
from generate_synthetic_data import generate_synthetic_stock_data
from prices.cache import Label
from prices.formats import sha256_of, to_csv_bytes

BARS = generate_synthetic_stock_data("AAPL", "2023-01-01", "2025-12-31", None, "calm")


@pytest.fixture
def evening(settings) -> Settings:
    """Settings on the evening of the last day of 2025."""
    return settings.model_copy(update={"as_of": date(2025, 12, 31)})


@pytest.fixture
def replay(monkeypatch):
    """A pretend Yahoo with AAPL through 2025-12-31."""
    with replaying() as server:
        send_yfinance_to(server, monkeypatch)
        server.serve("AAPL", BARS)
        yield server


def cached(settings: Settings, bars: pd.DataFrame = BARS, **changes: object) -> bytes:
    """Put bars into the cache of real prices; its bytes."""
    label = Label(source="file", adjustment="split", fetched_at=datetime(2026, 1, 1, tzinfo=UTC))
    return real_shelf(settings).put("AAPL", bars, replace(label, **changes)).data


def through(day: str) -> pd.DataFrame:
    return BARS[BARS["Date"] <= day]


def on_disk(settings: Settings) -> dict[str, bytes]:
    folder = settings.data_dir / "raw"
    return {path.name: path.read_bytes() for path in folder.glob("*.[cj]s*")}


# Which tier answers


def test_a_fresh_cache_answers_without_asking_yahoo(evening, replay):
    cached(evening)
    prices = StockDataPipeline("aapl", evening).load()
    assert prices.ticker == "AAPL" and not replay.asked
    assert (prices.provenance.source, prices.provenance.stale) == ("file", False)


def test_an_empty_cache_is_filled_from_yahoo(evening, replay):
    prices = StockDataPipeline("AAPL", evening).load()
    pd.testing.assert_frame_equal(prices.bars, BARS, check_exact=True)
    fact = prices.provenance
    assert (fact.source, fact.adjustment, fact.stale) == ("yfinance", "split", False)
    assert fact.sha256 == sha256_of((evening.data_dir / "raw/AAPL_raw.csv").read_bytes())
    asked = len(replay.asked)
    assert StockDataPipeline("AAPL", evening).read().provenance == fact
    assert len(replay.asked) == asked


@pytest.mark.parametrize("mood", ["404", "429", "empty"])
def test_without_invented_bars_the_error_says_how_to_go_on(evening, replay, mood):
    replay.mood = mood
    strict = evening.model_copy(update={"allow_synthetic": False})
    with pytest.raises(SourceUnavailable, match=r"python data_pipeline\.py import AAPL FILE\.csv"):
        StockDataPipeline("AAPL", strict).load()
    assert on_disk(evening) == {}


def test_a_symbol_nobody_knows_is_unknown_when_yahoo_says_so(evening, replay):
    with pytest.raises(UnknownTicker):
        StockDataPipeline("NOSUCH", evening).load()
    replay.mood = "500"
    with pytest.raises(SourceUnavailable, match="import NOSUCH FILE"):
        StockDataPipeline("NOSUCH", evening).load()


def test_the_three_configured_tickers_do_not_each_wait_for_a_dead_yahoo(evening, replay):
    replay.mood = "429"
    for ticker in evening.tickers:
        assert StockDataPipeline(ticker, evening).load().provenance.source == "synthetic"
    assert {target.split("?")[0].rpartition("/")[2] for target in replay.asked} == {"AAPL"}


@pytest.mark.parametrize(
    ("bars", "adjustment", "why"),
    [
        (generate_synthetic_stock_data("AAPL", "2022-01-03", "2025-06-30"), "split", "from 2023"),
        (through("2025-06-30"), "split+dividend", r"split\+dividend-adjusted"),
    ],
    ids=["longer at the start", "other adjustment"],
)
def test_a_users_cache_is_not_traded_for_less(evening, replay, caplog, bars, adjustment, why):
    cached(evening, bars, adjustment=adjustment)
    before = on_disk(evening)
    with caplog.at_level(logging.WARNING):
        fact = StockDataPipeline("AAPL", evening).load().provenance
    assert fact.source == "file" and fact.stale and on_disk(evening) == before
    assert pd.Series(caplog.text).str.contains(why)[0]


def test_an_answer_that_ends_before_the_cache_is_not_taken(settings, replay):
    cached(settings)
    replay.serve("AAPL", through("2025-06-30"))
    fact = StockDataPipeline("AAPL", settings).load().provenance
    assert (fact.last_session, fact.stale) == (date(2025, 12, 31), True)


def test_yahoo_is_asked_for_what_an_old_cache_reaches_back_to(evening, replay):
    old = generate_synthetic_stock_data("AAPL", "1970-01-02", "2025-06-30", None)
    cached(evening, old)
    StockDataPipeline("AAPL", evening).load()
    begin = int(replay.asked[-1].partition("period1=")[2].partition("&")[0])
    assert datetime.fromtimestamp(begin, UTC).date() == date(1970, 1, 2)


def test_a_damaged_cache_goes_aside_and_the_next_tier_answers(evening, replay):
    cached(evening)
    path = evening.data_dir / "raw/AAPL_raw.csv"
    path.write_bytes(path.read_bytes()[:1000])
    assert StockDataPipeline("AAPL", evening).load().provenance.source == "yfinance"
    assert path.with_name("AAPL_raw.csv.bad").stat().st_size == 1000


# Serving reads and never waits


def test_reading_never_asks_yahoo_however_stale_the_cache(settings, replay):
    cached(settings)
    assert StockDataPipeline("AAPL", settings).read().provenance.stale
    assert StockDataPipeline("MSFT", settings).read().provenance.source == "synthetic"
    assert not replay.asked


def test_reading_goes_on_while_another_process_writes(evening):
    cached(evening)
    with real_shelf(evening).locked("AAPL"):
        assert StockDataPipeline("AAPL", evening).read().provenance.source == "file"


def test_reading_an_unknown_ticker_fails_at_once(settings):
    with pytest.raises(UnknownTicker, match="NFLX"):
        StockDataPipeline("NFLX", settings).read()
    assert not settings.data_dir.exists()


def test_reading_without_invented_bars_says_how_to_import(settings):
    strict = settings.model_copy(update={"allow_synthetic": False})
    with pytest.raises(SourceUnavailable, match="import AAPL FILE"):
        StockDataPipeline("AAPL", strict).read()


def test_real_bars_win_over_invented_ones(evening):
    assert StockDataPipeline("AAPL", evening).read().provenance.source == "synthetic"
    cached(evening)
    assert StockDataPipeline("AAPL", evening).read().provenance.source == "file"


# As of a day


@pytest.mark.parametrize("day", [date(2025, 6, 6), date(2025, 6, 8)])  # a Friday; its Sunday
def test_bars_after_as_of_lie_on_disk_and_are_never_returned(settings, day):
    cached(settings)
    prices = StockDataPipeline("AAPL", settings.model_copy(update={"as_of": day})).read()
    assert prices.bars["Date"].iloc[-1] == pd.Timestamp("2025-06-06")
    fact = prices.provenance
    assert (fact.last_session, fact.rows, fact.stale) == (date(2025, 6, 6), len(prices.bars), False)
    assert fact.sha256 == sha256_of(to_csv_bytes(prices.bars))


@pytest.mark.parametrize(
    ("as_of", "behind"), [("2026-01-01", 0), ("2026-01-02", 1), ("2026-01-20", 12)]
)
def test_a_stale_cache_says_how_many_sessions_it_is_behind(evening, as_of, behind):
    cached(evening)
    later = with_flags(evening, {"as_of": as_of})  # the 1st and the 19th are holidays
    fact = StockDataPipeline("AAPL", later).read().provenance
    assert (fact.sessions_behind, fact.stale) == (behind, behind > 0)


def test_a_cache_that_ends_before_as_of_is_stale(evening):
    cached(evening, through("2025-12-30"))
    assert StockDataPipeline("AAPL", evening).read().provenance.stale


def test_real_bars_that_all_come_later_are_no_reason_to_invent(settings):
    cached(settings)
    early = settings.model_copy(update={"as_of": date(2022, 12, 30)})
    with pytest.raises(NotEnoughHistory, match="by 2022-12-30"):
        StockDataPipeline("AAPL", early).read()


def test_as_of_is_the_evening_of_that_day_everywhere(settings):
    friday = settings.model_copy(update={"as_of": date(2025, 12, 5)})
    assert [today(ticker, friday) for ticker in ("AAPL", "BTC-USD", "BHP.AX", "ES=F")] == [
        date(2025, 12, 5)
    ] * 4


def test_as_of_a_day_to_come_changes_nothing(settings):
    later = settings.model_copy(update={"as_of": date(2199, 1, 1)})
    assert today("AAPL", later) == today("AAPL", settings)


# What a user brings


@pytest.mark.parametrize(
    ("name", "adjustment"), [("yahoo/AAPL.csv", "split"), ("panel/AAPL.csv.gz", "split+dividend")]
)
def test_a_real_file_comes_in_whole_and_stays_bit_for_bit(evening, real_data, name, adjustment):
    told = pd.read_csv(real_data / name, parse_dates=["Date"])
    fact = import_file("AAPL", real_data / name, evening).provenance
    assert (fact.source, fact.adjustment, fact.stale) == ("file", adjustment, False)
    bars = StockDataPipeline("AAPL", evening).read().bars
    for column in ("Open", "High", "Low", "Close", "Volume"):
        np.testing.assert_array_equal(bars[column], told[column])
    np.testing.assert_array_equal(bars["Adj Close"], told.get("Adj Close", told["Close"]))


def test_a_users_word_on_the_adjustment_counts(evening, tmp_path):
    path = tmp_path / "mine.csv"
    BARS.drop(columns="Adj Close").to_csv(path, index=False)
    assert import_file("AAPL", path, evening, "split").provenance.adjustment == "split"


@pytest.mark.parametrize("text", ["", "Date,Open\n", "<html>", "not a table at all\n"])
def test_a_refused_file_leaves_the_cache_as_it_was(evening, tmp_path, text):
    cached(evening)
    before = on_disk(evening)
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(BadPrices, match=r"bad\.csv"):
        import_file("AAPL", tmp_path / "bad.csv", evening)
    assert on_disk(evening) == before


def test_odd_bars_of_a_file_are_told_in_the_log(evening, tmp_path, caplog):
    BARS.assign(High=BARS["Close"], Low=BARS["Close"], Open=BARS["Close"]).to_csv(
        tmp_path / "flat.csv", index=False
    )
    with caplog.at_level(logging.WARNING):
        import_file("AAPL", tmp_path / "flat.csv", evening)
    assert "price_findings ticker=AAPL no_range=1" in caplog.text


# What training is given


def test_bars_have_the_promised_columns_and_are_kept_as_data(evening):
    cached(evening)
    pipeline = StockDataPipeline("AAPL", evening)
    bars = pipeline.fetch_data()
    assert tuple(bars.columns) == BAR_COLUMNS and pipeline.data is bars
    assert isinstance(bars.index, pd.RangeIndex) and bars["Date"].dtype == "datetime64[ns]"
    assert pipeline.provenance.rows == len(bars)


def test_data_is_there_without_being_fetched_first(evening):
    cached(evening)
    assert len(StockDataPipeline("AAPL", evening).data) == len(BARS)


def test_fetching_again_sees_new_bars(evening):
    cached(evening, through("2025-12-31").iloc[50:])
    pipeline = StockDataPipeline("AAPL", evening)
    before = len(pipeline.data)
    cached(evening)
    assert len(pipeline.data) == before and len(pipeline.fetch_data()) == before + 50


def test_the_mid_price_is_halfway_between_high_and_low(evening):
    cached(evening)
    pipeline = StockDataPipeline("AAPL", evening)
    frame = pipeline.compute_mid_price()
    np.testing.assert_array_equal(frame["Mid"], (BARS["High"] + BARS["Low"]) / 2)
    assert "Mid" not in pipeline.data
    pd.testing.assert_frame_equal(pipeline.compute_mid_price(BARS), frame, check_exact=True)


def test_frames_and_arrays_normalise_alike_each_point_by_its_own_past(evening):
    pipeline = StockDataPipeline("AAPL", evening)
    mid = ((BARS["High"] + BARS["Low"]) / 2).to_numpy()
    scaled = pipeline.windowed_normalize(BARS, window_size=100)
    np.testing.assert_array_equal(scaled, pipeline.windowed_normalize(mid, window_size=100))
    window = mid[301:401]
    assert scaled.shape == mid.shape and 0 <= scaled.min() <= scaled.max() <= 1
    assert scaled[400] == (mid[400] - window.min()) / (window.max() - window.min())


def test_sequences_pair_fifty_values_with_the_next(evening):
    x, y = StockDataPipeline("AAPL", evening).create_sequences(np.arange(60.0))
    assert x.shape == (10, 50, 1) and y.tolist() == list(range(50, 60))
    assert x[3, :, 0].tolist() == list(range(3, 53))


def test_training_sees_bars_from_the_start_date_on_only(evening):
    cached(evening)
    prices = StockDataPipeline("AAPL", evening).read()
    for start in (date(2024, 7, 4), date(2024, 7, 5)):  # a holiday; the session after it
        bars = training_bars(prices, start)
        assert bars["Date"][0] == pd.Timestamp("2024-07-05") and bars.index[0] == 0
    assert training_bars(prices, date(2030, 1, 1)).empty


def test_preprocessing_cuts_the_pairs_once_in_time(evening):
    cached(evening)
    x_train, x_test, y_train, y_test = StockDataPipeline("AAPL", evening).preprocess()
    pairs = len(BARS) - 50
    assert x_train.shape == (int(pairs * 0.8), 50, 1) and len(y_train) == len(x_train)
    assert len(x_train) + len(x_test) == len(y_train) + len(y_test) == pairs


def test_each_pair_is_scaled_by_the_window_that_ends_at_its_last_input(evening):
    cached(evening)
    wish = evening.model_copy(update={"window_size": 120})
    x_train, x_test, y_train, y_test = StockDataPipeline("AAPL", wish).preprocess()
    x, y = np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test])
    mid = ((BARS["High"] + BARS["Low"]) / 2).to_numpy()
    for row in (0, 33, len(x) - 1):  # the obvious way
        end = row + 50
        low, high = mid[max(0, end - 120) : end].min(), mid[max(0, end - 120) : end].max()
        np.testing.assert_array_equal(x[row, :, 0], (mid[row:end] - low) / (high - low))
        assert y[row] == (mid[end] - low) / (high - low)


def test_too_few_bars_are_said_to_be_too_few(evening):
    cached(evening, BARS.tail(52))
    with pytest.raises(NotEnoughHistory):
        StockDataPipeline("AAPL", evening).preprocess()


def pipeline_of(bars: pd.DataFrame, settings: Settings) -> StockDataPipeline:
    pipeline = StockDataPipeline("AAPL", settings)
    fact = replace(pipeline.read().provenance, sha256=sha256_of(to_csv_bytes(bars)))
    pipeline.prices = Prices("AAPL", bars, fact)
    return pipeline


@given(cut=st.integers(60, len(BARS) - 10), seed=st.integers(0, 9))
@hypothesis_settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_later_price_moves_an_earlier_pair_by_one_bit(evening, cut, seed):
    cached(evening)
    tampered = BARS.copy()
    factors = np.random.default_rng(seed).uniform(1e-3, 1e3, (len(BARS) - cut, 1))
    tampered.loc[cut:, ["Open", "High", "Low", "Close", "Adj Close"]] *= factors
    honest, other = (pipeline_of(bars, evening).preprocess() for bars in (BARS, tampered))
    for name, one, two in zip(("x", "x", "y", "y"), honest, other, strict=True):
        assert one.shape == two.shape, name
    x, tampered_x = (np.concatenate(parts[:2]) for parts in (honest, other))
    y, tampered_y = (np.concatenate(parts[2:]) for parts in (honest, other))
    known = cut - 50  # pairs whose target, too, lies before the cut
    np.testing.assert_array_equal(x[:known], tampered_x[:known])
    np.testing.assert_array_equal(y[:known], tampered_y[:known])
    np.testing.assert_array_equal(x[known], tampered_x[known])  # its input ends before the cut
    assert y[known] != tampered_y[known]


# The command


def test_the_commands_import_and_show_the_same_facts(evening, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("STOCK_AS_OF", "2025-12-31")
    BARS.to_csv(tmp_path / "mine.csv", index=False)
    assert main(["import", "aapl", "mine.csv", "--json"]) == 0
    imported = json.loads(capsys.readouterr().out)
    assert main(["show", "AAPL", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == imported
    assert imported["source"] == "file" and imported["rows"] == len(BARS)
    assert main(["show", "AAPL"]) == 0
    table = capsys.readouterr().out
    assert "last session   2025-12-31" in table and imported["sha256"] in table


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["import", "AAPL", "absent.csv"], "absent.csv cannot be read"),
        (["import", "../AAPL", "absent.csv"], "not a ticker"),
        (["show", "NFLX"], "NFLX has neither"),
    ],
)
def test_a_known_error_is_one_clear_line_and_exit_2(settings, capsys, command, said):
    assert main(command) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1 and said in told.err


def test_names_and_settings_are_checked_before_anything_is_read(settings, monkeypatch):
    with pytest.raises(InvalidTicker):
        StockDataPipeline("../../etc/passwd", settings)
    monkeypatch.setenv("STOCK_TIKERS", "AAPL")
    with pytest.raises(BadSettings, match="STOCK_TIKERS"):
        StockDataPipeline("AAPL")
    assert list(Path.cwd().iterdir()) == []
