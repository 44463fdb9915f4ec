"""What a model answers from the last price on: forecasts, probabilities, and cold starts."""

import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from builders import card, provenance

import inference
from base_training import Panel, train_base
from bases import CARD_FORM, read_base, write_base
from contracts import (
    ModelFromTheFuture,
    NoChampion,
    NotEnoughHistory,
    Prices,
    UnknownTicker,
)
from data_pipeline import StockDataPipeline, import_file
from desk import ForecastDesk
from features import denormalise, scaled_sequences
from generate_synthetic_data import generate_synthetic_stock_data
from inference import Network, TrainedModel, one_step_table
from model import LSTMStockModel
from model_store import CARD, NETWORK, TEMPLATES, WEIGHTS, ModelStore, card_json
from panel import WARM_UP, inputs_of_levels
from parallel import SharedThreads
from recipes import RECIPES, find_recipe
from served import Served, view
from serving import AT_ONCE, forecast_from, forecasts_from, make_forecast, make_probability

TINY = {"lstm_units_1": 4, "lstm_units_2": 4, "dense_units": 4}
RECIPE = replace(find_recipe("panel", TINY), base_epochs=1, base_least_updates=2)
SEEN = date(2023, 6, 30)  # the last session of the base
BARS = generate_synthetic_stock_data("AAPL", "2020-01-01", "2023-12-29", 500)
LAST_MID = float(BARS["High"].iloc[-1] + BARS["Low"].iloc[-1]) / 2


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    bars = {t: generate_synthetic_stock_data(t, "2018-01-01", SEEN, 560) for t in ("AAA", "BBB")}
    folder = tmp_path_factory.mktemp("pretrained") / str(SEEN)
    return train_base(Panel(bars, SEEN, "0" * 64), RECIPE, 3, folder, shipped=True)


@pytest.fixture(scope="module")
def served(base) -> Served:
    return Served.of_base(base)


def prices(bars: pd.DataFrame = BARS, ticker: str = "AAPL") -> Prices:
    first, last = (bars["Date"].iloc[row].date() for row in (0, -1))
    about = provenance(first_session=first, last_session=last, rows=len(bars))
    return Prices(ticker, bars, about)


def dearer(bars: pd.DataFrame, factor: float) -> pd.DataFrame:
    columns = ["Open", "High", "Low", "Close", "Adj Close"]
    return bars.assign(**{name: bars[name] * factor for name in columns})


# Many tickers at once


def test_networks_of_every_kind_side_by_side_say_what_each_says_alone(models, served):
    own = [replace(served, model=models[mode]) for mode in ("recursive", "direct", "recursive")]
    asked = [
        (model, view(model, prices(BARS.iloc[: 400 + row].reset_index(drop=True))))
        for row in range(AT_ONCE + 2)
        for model in (served, own[row % 3])
    ]
    alone = [forecast_from(*row, 30, 10) for row in asked]
    threads = SharedThreads(4)
    assert forecasts_from(asked, 30, 10, threads.map) == alone
    threads.close()


# A model and the bars it is fed


@pytest.fixture(scope="module")
def models(base, tmp_path_factory) -> dict[str, TrainedModel]:
    recipe = find_recipe("mlops_64_64_32", {**TINY, "unrollings": 10, "window_size": 300})
    network, path = LSTMStockModel(recipe, seed=2), tmp_path_factory.mktemp("net") / "model.onnx"
    network.export_onnx(path)
    return {"direct": base.model(), "recursive": TrainedModel(Network(path), recipe.as_dict())}


@pytest.mark.parametrize("mode", ["direct", "recursive"])
def test_no_bar_after_an_origin_touches_its_outlook(models, mode):
    model, origins = models[mode], np.array([200, 201, 350])
    honest = model.outlook(BARS, origins, 5)
    for row, origin in enumerate(origins):
        later = np.arange(len(BARS)) > origin
        tampered = BARS.assign(
            **{name: np.where(later, 7.0, BARS[name]) for name in ("Open", "High", "Low", "Close")},
            Volume=np.where(later, 1, BARS["Volume"]),
        )
        altered = model.outlook(tampered, origins, 5)
        np.testing.assert_array_equal(altered.point[row], honest.point[row])
        np.testing.assert_array_equal(altered.scale[row], honest.scale[row])
    assert len(np.unique(honest.point[:, 0])) == 3


@pytest.mark.parametrize(("mode", "first"), [("direct", 49 + WARM_UP), ("recursive", 9)])
def test_an_origin_needs_as_many_sessions_as_its_model_says(models, mode, first):
    model = models[mode]
    assert model.first_origin == first
    assert model.outlook(BARS, np.array([first]), 2).point.shape == (1, 2)
    with pytest.raises(NotEnoughHistory, match=f"only {first} sessions where {first + 1}"):
        model.outlook(BARS, np.array([first - 1]), 2)


def test_a_direct_outlook_is_the_last_close_corrected_in_units(models):
    from panel import panel_inputs, scale_at

    model, last = models["direct"], np.array([200, 499])
    inputs = panel_inputs(BARS)
    said = model.network.run(inputs.windows(last, 50))
    outlook = model.outlook(BARS, last, 90)
    corrected = inputs.closes[last] * np.exp(said[:, 0] * inputs.unit[last])
    np.testing.assert_allclose(outlook.point, np.repeat(corrected[:, None], 90, axis=1))
    expected = scale_at(said[:, 1:], RECIPE.horizons, 90) * inputs.unit[last][:, None]
    np.testing.assert_allclose(outlook.scale, expected)
    assert (outlook.point[:, 0] != inputs.closes[last]).all()


def test_a_recursive_outlook_is_its_recursion_in_prices(models):
    model = models["recursive"]
    mids = (BARS["High"].to_numpy() + BARS["Low"].to_numpy()) / 2
    rows = scaled_sequences(mids, 10, 300)
    row = int(np.flatnonzero(rows.last == 400)[0])
    path = model.network.recurse(rows.x[row : row + 1], 6)[0]
    outlook = model.outlook(BARS, np.array([400]), 6)
    np.testing.assert_allclose(outlook.point[0], denormalise(path, rows.lo[row], rows.hi[row]))
    np.testing.assert_array_equal(outlook.scale, np.ones((1, 6)))


def test_a_long_history_is_run_in_parts_that_say_the_same(models, monkeypatch):
    origins = np.arange(115, 499)
    whole = models["direct"].outlook(BARS, origins, 3)
    monkeypatch.setattr(inference, "BATCH", 100)
    parts = models["direct"].outlook(BARS, origins, 3)
    np.testing.assert_allclose(parts.point, whole.point, rtol=1e-6)
    np.testing.assert_allclose(parts.scale, whole.scale, rtol=1e-5)


@pytest.mark.parametrize("mode", ["direct", "recursive"])
def test_the_one_step_table_stands_what_was_said_beside_what_came(models, mode):
    model = models[mode]
    table = one_step_table(model, BARS)
    assert len(table) == len(BARS) - 1 - model.first_origin
    row, at = table.iloc[-1], len(BARS) - 1
    bar, before = BARS.iloc[at], BARS.iloc[at - 1]
    mid, last_mid = ((day["High"] + day["Low"]) / 2 for day in (bar, before))
    said = model.outlook(BARS, np.array([at - 1]), 1).point[0, 0]
    assert row["date"] == bar["Date"]
    expected = [np.log(mid / last_mid), np.log(bar["High"] / bar["Low"])]
    expected += [last_mid, before["Close"], said, mid]
    found = row[["return", "range", "last_mid", "last_close", "prediction", "actual"]]
    np.testing.assert_allclose(found.to_numpy(dtype=float), expected, rtol=1e-6)


@pytest.mark.parametrize("mode", ["direct", "recursive"])
def test_a_table_needs_one_session_to_forecast(models, mode):
    need = models[mode].first_origin + 2
    assert len(one_step_table(models[mode], BARS.head(need))) == 1
    with pytest.raises(NotEnoughHistory, match=f"only {need - 1} sessions where {need}"):
        one_step_table(models[mode], BARS.head(need - 1))


def test_levels_alone_are_continued_on_their_own_scale(models):
    levels = np.random.default_rng(1).normal(0, 1, 60).cumsum()
    path = models["direct"].continue_levels(levels, 7)
    x, unit = inputs_of_levels(levels)
    expected = levels[-1] + models["direct"].network.one_step(x[None])[0] * unit
    np.testing.assert_allclose(path, np.full(7, expected))
    further = models["direct"].continue_levels(levels * 10 - 4, 7)
    np.testing.assert_allclose(further, path * 10 - 4, rtol=1e-5)
    fed_back = models["recursive"].network.recurse(levels[:10].reshape(1, 10, 1), 7)[0]
    np.testing.assert_array_equal(models["recursive"].continue_levels(levels[:10], 7), fed_back)


# Forecasts


def test_a_direct_model_says_one_price_for_every_day_with_wider_bands(served):
    said = make_forecast(served, prices(), 90, ema_span=10)
    assert set(said.prices) == {said.prices[0]}
    for band in said.bands.values():
        widths = np.log(np.array(band.upper) / np.array(band.lower))[[0, 2, 9, 29, 89]]
        assert (np.diff(widths) > 0).all()
    assert set(said.bands) == {"80", "95"}
    np.testing.assert_allclose(said.smoothed_prices, said.prices)


def test_a_forecast_says_where_it_starts_and_who_made_it(served):
    said = make_forecast(served, prices(), 5, ema_span=None)
    assert (said.as_of, said.dates[0]) == (date(2023, 12, 29), date(2024, 1, 2))
    assert said.last_mid == pytest.approx(LAST_MID)
    assert said.last_close == BARS["Close"].iloc[-1]
    assert (said.model.version, said.model.mode) == ("base 2023-06-30", "direct")
    assert said.model.cold_start and said.model.trained_through == SEEN
    assert said.smoothed_prices is None


def test_prices_ten_times_as_high_make_a_forecast_ten_times_as_high(served):
    plain, dear = (make_forecast(served, prices(dearer(BARS, f)), 30, None) for f in (1, 10))
    np.testing.assert_allclose(dear.prices, np.array(plain.prices) * 10, rtol=1e-5)
    lower = np.array(plain.bands["95"].lower) * 10
    np.testing.assert_allclose(dear.bands["95"].lower, lower, rtol=1e-5)


def test_a_model_does_not_speak_of_days_it_has_seen(served):
    early = BARS[BARS["Date"] < pd.Timestamp(SEEN)]
    with pytest.raises(ModelFromTheFuture, match="seen prices through 2023-06-30"):
        make_forecast(served, prices(early), 5, None)


def test_bars_before_the_start_date_take_no_part(base):
    start = BARS["Date"].iloc[200].date()
    late = replace(Served.of_base(base), start_date=start)
    cut = prices(BARS.iloc[200:].reset_index(drop=True))
    assert make_forecast(late, prices(), 5, None).prices == make_forecast(late, cut, 5, None).prices
    with pytest.raises(NotEnoughHistory, match="only 0 sessions where 116"):
        make_forecast(replace(late, start_date=date(2024, 1, 1)), prices(), 5, None)


# Probabilities


def asked(served, event, level, steps=10) -> float:
    return make_probability(served, prices(), steps, (event, level)).probability


LEVELS = [LAST_MID * factor for factor in (0.5, 0.8, 0.95, 0.99, 1.0, 1.01, 1.05, 1.2, 2.0)]


def test_a_higher_level_is_less_likely_to_be_passed(served):
    above = [asked(served, "above", level) for level in LEVELS]
    assert above == sorted(above, reverse=True)
    assert above[0] > 0.9 and above[-1] < 0.1 and len(set(above)) > 4


@pytest.mark.parametrize("level", LEVELS)
def test_above_and_below_leave_nothing_out_and_touching_is_easier(served, level):
    above, below, touch = (asked(served, event, level) for event in ("above", "below", "touch"))
    assert above + below == pytest.approx(1)
    assert touch >= (above if level >= LAST_MID else below)


def test_a_level_is_easier_to_touch_the_longer_one_waits(served):
    for level in (LAST_MID * 0.95, LAST_MID * 1.05):
        touch = [asked(served, "touch", level, steps) for steps in (1, 5, 20, 90)]
        assert touch == sorted(touch) and touch[0] < touch[-1]


def test_a_probability_is_the_share_of_sample_paths(served):
    said = make_probability(served, prices(), 10, ("touch", LAST_MID * 1.03))
    outlook = served.model.outlook(BARS, np.array([len(BARS) - 1]), 10)
    point, scale, met = outlook.point[0], outlook.scale[0], 0
    for errors in served.templates():
        path = [point[i] * np.exp(scale[i] * errors[i]) for i in range(10)]
        met += any(mid >= LAST_MID * 1.03 for mid in path)
    assert said.paths == len(served.templates()) == 400
    assert said.probability == pytest.approx((met + 0.5) / 401)
    assert (said.date, said.event, said.steps) == (date(2024, 1, 16), "touch", 10)
    assert said.last_mid == pytest.approx(LAST_MID)


@pytest.mark.parametrize("event", ["above", "below", "touch"])
@pytest.mark.parametrize("level", [5e-324, 1e-9, 1e300, float("1.8e308")])
def test_no_level_is_certain(served, event, level):
    said = asked(served, event, level)
    assert 0 < said < 1
    sure = (event == "above") == (level < 1) and event != "touch"
    assert said == pytest.approx(400.5 / 401 if sure else 0.5 / 401)


def test_a_model_without_joint_errors_says_so(base, tmp_path):
    bare = replace(Served.of_base(base), folder=tmp_path)
    with pytest.raises(NotEnoughHistory, match="past forecasts with every outcome known"):
        make_probability(bare, prices(), 5, ("above", LAST_MID))


# Cold starts: the desk, a base in the settings, prices, and no model


@pytest.fixture(scope="module")
def shipped(base, tmp_path_factory):
    """A folder with the base as one of the panel recipe's own size, which cold starts need."""
    network = LSTMStockModel(RECIPES["panel"], seed=3)
    folder = tmp_path_factory.mktemp("shipped")
    network.save(folder / WEIGHTS)
    network.export_onnx(folder / NETWORK)
    about = replace(base.card, recipe=RECIPES["panel"].as_dict())
    files = {CARD: CARD_FORM.dump_json(about), TEMPLATES: base.path / TEMPLATES}
    files |= {name: folder / name for name in (NETWORK, WEIGHTS)}
    return write_base(folder / "pretrained" / str(SEEN), files, shipped=True).path.parent


@pytest.fixture
def open_desk(settings, shipped):
    """Opens desks on the settings' folder and closes them again."""
    desks = []

    def opened(**changes: object) -> ForecastDesk:
        plain = {"pretrained_dir": shipped, "refresh": False, "tickers": ("AAPL", "MSFT")}
        desks.append(ForecastDesk(settings.model_copy(update={**plain, **changes})))
        return desks[-1]

    yield opened
    for desk in desks:
        desk.close()


@pytest.fixture
def imported(settings):
    BARS.to_csv("prices.csv", index=False)
    return import_file("AAPL", "prices.csv", settings)


def test_a_ticker_with_real_prices_and_no_model_is_answered_by_a_base(open_desk, imported):
    said = open_desk().forecast("aapl", 30, smoothing=True)
    assert (said.model.version, said.model.bundle) == ("base 2023-06-30", "pretrained/2023-06-30")
    assert said.model.cold_start and said.model.recipe == "panel"
    assert said.prices == (said.last_close,) * 30  # nobody has trained this one
    assert set(said.bands) == {"80", "95"}
    assert said.provenance.source == "file"


def test_a_base_answers_for_a_ticker_that_is_not_configured(open_desk, imported):
    desk = open_desk(tickers=("MSFT",))
    assert desk.forecast("AAPL", 5, smoothing=False).model.cold_start
    with pytest.raises(UnknownTicker):
        desk.forecast("NIX", 5, smoothing=False)


def test_a_base_tells_probabilities_too(open_desk, imported):
    said = open_desk().probability("AAPL", 5, "above", 0.01)
    assert said.probability > 0.99 and said.model.cold_start


def test_a_cold_start_does_not_make_a_ticker_ready(open_desk, imported):
    problems = open_desk().readiness()
    assert [type(problem) for problem in problems.values()] == [NoChampion, NoChampion]
    with pytest.raises(NoChampion):
        open_desk().champion("AAPL")


def test_invented_prices_get_no_cold_start(open_desk, imported):
    desk = open_desk()
    assert StockDataPipeline("MSFT", desk.settings).read().provenance.source == "synthetic"
    with pytest.raises(NoChampion, match="MSFT has no trained model yet"):
        desk.forecast("MSFT", 5, smoothing=False)


def test_a_model_of_invented_prices_gives_way_to_a_base(open_desk, imported, shipped):
    desk = open_desk()
    files = {CARD: card_json(card(data=provenance(source="synthetic")))}
    files[NETWORK] = shipped / str(SEEN) / NETWORK
    store = ModelStore(desk.settings.models_dir)
    store.publish("AAPL", store.write("AAPL", datetime(2026, 1, 1, tzinfo=UTC), files), "1")
    assert desk.champion("AAPL").version == "1"
    assert desk.forecast("AAPL", 5, smoothing=False).model.cold_start
    assert isinstance(desk.readiness()["AAPL"], NoChampion)


@pytest.mark.parametrize(("day", "answered"), [(SEEN, True), (SEEN - timedelta(days=1), False)])
def test_nobody_earlier_gets_the_base(open_desk, imported, day, answered):
    desk = open_desk(as_of=day)
    if answered:
        assert desk.forecast("AAPL", 5, smoothing=False).as_of == SEEN
        return
    with pytest.raises(NoChampion):
        desk.forecast("AAPL", 5, smoothing=False)


def test_each_ticker_gets_the_newest_base_it_may_have(open_desk, imported, shipped, tmp_path):
    late, folder = date(2023, 11, 30), tmp_path / "bases"
    original = shutil.copytree(shipped / str(SEEN), folder / "a")
    about = replace(read_base(original, shipped=True).card, trained_through=late, name=str(late))
    files = {name: original / name for name in (NETWORK, WEIGHTS, TEMPLATES)}
    write_base(folder / "b", {CARD: CARD_FORM.dump_json(about), **files}, shipped=True)
    BARS[BARS["Date"] < pd.Timestamp(late)].to_csv("prices.csv", index=False)
    import_file("NFLX", "prices.csv", open_desk().settings)
    desk = open_desk(pretrained_dir=folder)
    said = [desk.forecast(t, 5, smoothing=False).model for t in ("AAPL", "NFLX", "AAPL")]
    assert [model.trained_through for model in said] == [late, SEEN, late]


def test_without_a_base_there_is_no_cold_start(open_desk, imported, tmp_path):
    with pytest.raises(NoChampion):
        open_desk(pretrained_dir=tmp_path / "none").forecast("AAPL", 5, smoothing=False)


def test_too_few_bars_for_a_base_are_said(open_desk, settings):
    BARS.tail(115).to_csv("prices.csv", index=False)
    import_file("AAPL", "prices.csv", settings)
    with pytest.raises(NotEnoughHistory, match="only 115 sessions where 116 are needed"):
        open_desk().forecast("AAPL", 5, smoothing=False)
