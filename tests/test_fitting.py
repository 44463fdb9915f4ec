"""A ticker's network: its loss, its start from a base, and how far its correction is trusted."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest

from bases import Base
from contracts import BaseCard, Calibration, NoBase, NotEnoughHistory, Skill
from features import scaled_sequences
from fitting import LEAST_HELD, PRIOR_SPREAD, Lesson, Parts, earned_weight, fit, shrinkage
from generate_synthetic_data import generate_synthetic_stock_data
from inference import Network, TrainedModel
from model import DEGREES, HEADS, LSTMStockModel, correction_and_scale
from panel import INPUTS, panel_inputs, targets, training_windows
from recipes import FIXED, RECIPES, find_recipe

TINY = {"lstm_units_1": 4, "lstm_units_2": 4, "dense_units": 4, "unrollings": 10, "epochs": 2}
RECIPE = find_recipe("panel", TINY)
HORIZONS = RECIPE.horizons
BARS = generate_synthetic_stock_data("AAPL", "2020-01-01", "2023-12-29", 500)
INPUT = panel_inputs(BARS)
PARTS = Parts(range(9, 380), range(380, 440))
DAYS = BARS["Date"].dt.date.tolist()


def talking(seed: int = 1, recipe=RECIPE) -> LSTMStockModel:
    """A network whose heads are not zero any more."""
    network, rng = LSTMStockModel(recipe, seed=seed), np.random.default_rng(seed)
    for name in HEADS:
        layer = network.model.get_layer(name)
        layer.set_weights([rng.normal(0, 0.1, value.shape) for value in layer.get_weights()])
    return network


def weights(network: LSTMStockModel) -> list[np.ndarray]:
    return network.model.get_weights()


def card(through: date, weight: float) -> BaseCard:
    levels = (0.1, 0.5, 0.9)
    return BaseCard(
        name=str(through),
        recipe=RECIPE.as_dict(),
        seed=1,
        trained_at=datetime(2026, 1, 1, tzinfo=UTC),
        trained_through=through,
        first_session=date(2000, 1, 3),
        tickers=("AAA", "BBB"),
        held_out=(),
        shrinkage=weight,
        calibration=Calibration(origins=50, levels=levels, quantiles=((-1.0, 0.0, 1.0),) * 90),
        skill=Skill(
            baseline="last_close",
            rmse_ratio=0.99,
            direction_accuracy=0.5,
            p_value=0.5,
            verdict="no better than the last price",
        ),
        parity=0.0,
        data_sha256="0" * 64,
        versions={},
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Base:
    """A base whose weights nobody has trained, seen through the training part."""
    folder = tmp_path_factory.mktemp("base")
    base = Base(folder, card(DAYS[379], 0.5), shipped=True)
    talking().save(base.weights)
    return base


def lesson(base: Base | None, bars=BARS) -> Lesson:
    mids = (bars["High"].to_numpy() + bars["Low"].to_numpy()) / 2
    return Lesson(bars, scaled_sequences(mids, 10, 2500), PARTS, base)


# The network


def test_a_fresh_network_says_the_last_close_as_uncertain_as_lately():
    said = LSTMStockModel(RECIPE, seed=3).outputs(INPUT.windows(np.arange(80, 120), 10))
    assert said.shape == (40, 1 + len(HORIZONS))
    assert not said.any()


def test_a_fresh_model_repeats_the_last_close_with_a_scale_of_one_unit(tmp_path):
    LSTMStockModel(RECIPE, seed=3).export_onnx(tmp_path / "model.onnx")
    model = TrainedModel(Network(tmp_path / "model.onnx"), RECIPE.as_dict())
    last = np.arange(80, 120)
    outlook = model.outlook(BARS, last, 90)
    closes = BARS["Close"].to_numpy()[last]
    np.testing.assert_array_equal(outlook.point, np.repeat(closes[:, None], 90, axis=1))
    np.testing.assert_allclose(outlook.scale, np.outer(INPUT.unit[last], np.arange(1, 91) ** 0.5))


def test_many_rows_are_gone_through_in_parts_that_say_the_same(monkeypatch):
    network, x = talking(), INPUT.windows(np.arange(80, 120), 10)
    whole = network.outputs(x)
    monkeypatch.setattr("model.AT_ONCE", 7)
    np.testing.assert_allclose(network.outputs(x), whole, atol=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_shrinking_multiplies_the_correction_and_nothing_else(weight):
    network, x = talking(), INPUT.windows(np.arange(80, 120), 10)
    before = network.outputs(x)
    network.shrink(weight)
    after = network.outputs(x)
    np.testing.assert_allclose(after[:, 0], weight * before[:, 0], atol=1e-6)
    np.testing.assert_array_equal(after[:, 1:], before[:, 1:])
    assert np.abs(before[:, 0]).max() > 0.1


def test_saved_weights_make_another_network_say_the_same(tmp_path):
    network, other = talking(seed=1), talking(seed=2)
    x = INPUT.windows(np.arange(80, 120), 10)
    assert np.abs(network.outputs(x) - other.outputs(x)).max() > 0.1
    network.save(tmp_path / "a.weights.h5")
    other.load(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(other.outputs(x), network.outputs(x))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    network = talking(seed=4)
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    network.export_onnx(path)
    return network, Network(path)


@pytest.mark.parametrize(("length", "batch"), [(10, 3), (50, 1), (50, 64), (120, 7)])
def test_onnx_answers_as_keras_does_at_any_length(exported, length, batch):
    network, onnx = exported
    x = INPUT.windows(np.arange(200, 200 + batch), length)
    said = onnx.run(x)
    assert said.shape == (batch, 1 + len(HORIZONS))
    np.testing.assert_allclose(said, network.outputs(x), atol=1e-5)


def test_a_position_says_nothing_of_what_comes_after_it():
    network, x = talking(), INPUT.windows(np.array([200]), 60)
    tampered = x.copy()
    tampered[:, 40:] = 5.0
    honest, altered = (network.model.predict(side, verbose=0) for side in (x, tampered))
    np.testing.assert_array_equal(altered[:, :40], honest[:, :40])
    assert (altered[:, 40:] != honest[:, 40:]).any()


# Its loss


def obvious_loss(y_true, y_pred):
    """Both parts of every target, one at a time; unknown ones lose nothing but are counted."""
    said = y_pred[:, -y_true.shape[1] :]
    squares, surprises = [], []
    for place in np.ndindex(y_true.shape[:2]):
        for column, step in enumerate(HORIZONS):
            came, move = y_true[place][column], said[place][0]
            log_scale = np.clip(said[place][1 + column], -3, 3)
            known = np.isfinite(came)
            if column == 0:
                squares.append((came - move) ** 2 if known else 0.0)
            error = (came - move / step**0.5) / np.exp(log_scale)
            surprise = log_scale + (DEGREES + 1) / 2 * np.log(1 + error**2 / DEGREES)
            surprises.append(surprise if known else 0.0)
    return np.mean(squares) + 0.5 * np.mean(surprises)


def spoken(rows: int = 3, block: int = 5, burn_in: int = 2):
    """Targets, some unknown, and what a network might say of them."""
    rng = np.random.default_rng(5)
    y_true = rng.normal(0, 1, (rows, block, len(HORIZONS))).astype("float32")
    y_true[rng.random(y_true.shape) < 0.3] = np.nan
    y_true[0] = np.nan
    y_pred = rng.normal(0, 2, (rows, burn_in + block, 1 + len(HORIZONS))).astype("float32")
    return y_true, y_pred


@pytest.mark.parametrize("burn_in", [0, 2])
def test_the_loss_matches_its_naive_twin(burn_in):
    y_true, y_pred = spoken(burn_in=burn_in)
    assert np.abs(y_pred).max() > 3  # the scale is clipped somewhere
    found = float(correction_and_scale(HORIZONS)(y_true, y_pred))
    assert found == pytest.approx(obvious_loss(y_true, y_pred), rel=1e-5)


def gradient(y_true, y_pred) -> np.ndarray:
    import tensorflow as tf

    said = tf.Variable(y_pred)
    with tf.GradientTape() as tape:
        loss = correction_and_scale(HORIZONS)(tf.constant(y_true), said)
    return tape.gradient(loss, said).numpy()


def test_the_likelihood_does_not_move_the_correction():
    y_true, y_pred = spoken()
    found = gradient(y_true, y_pred)
    came, move = y_true[..., 0], y_pred[:, 2:, 0]
    squares_alone = np.where(np.isfinite(came), 2 * (move - came) / came.size, 0.0)
    np.testing.assert_allclose(found[:, 2:, 0], squares_alone, rtol=1e-5, atol=1e-8)
    assert np.abs(found[:, 2:, 1:]).max() > 0


def test_neither_burn_in_nor_an_unknown_outcome_moves_anything():
    y_true, y_pred = spoken()
    found = gradient(y_true, y_pred)
    assert np.isfinite(found).all()
    assert not found[:, :2].any()
    assert not found[:, 2:, 1:][np.isnan(y_true)].any()


# Fitting to one ticker


@pytest.fixture(scope="module")
def learnt(base):
    """Fitted at a rate at which two epochs help."""
    return fit(lesson(base), replace(RECIPE, learning_rate=0.01), seed=3)


def held_loss(network: LSTMStockModel) -> float:
    target = targets(INPUT, HORIZONS, PARTS.validation.stop + 1)
    held = training_windows(INPUT, target, PARTS.validation, 10)
    return float(network.model.evaluate(held.x, held.y, verbose=0))


def test_training_that_helps_stays(learnt):
    best = min(learnt.history["val_loss"])
    assert len(learnt.history["loss"]) == 2
    assert best < held_loss(talking())
    network = talking()
    network.model.set_weights(weights(learnt.network))
    network.shrink(1 / learnt.shrinkage)  # as it was when the epoch ended
    assert held_loss(network) == pytest.approx(best, rel=1e-4)


def test_training_that_helps_nothing_leaves_the_bases_weights(base):
    known = replace(base.card, trained_through=DAYS[-1])  # so that its own shrinkage stands
    fitted = fit(
        lesson(Base(base.path, known, shipped=True)), replace(RECIPE, learning_rate=1e3), seed=3
    )
    assert not min(fitted.history["val_loss"]) < held_loss(talking())
    expected = talking()
    expected.shrink(0.5)
    assert fitted.shrinkage == 0.5
    for found, wanted in zip(weights(fitted.network), weights(expected), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_no_bar_after_the_validation_parts_last_outcome_touches_a_weight(learnt, base):
    later = np.arange(len(BARS)) > PARTS.validation.stop
    prices = {name: np.where(later, 7.0, BARS[name]) for name in ("Open", "High", "Low", "Close")}
    tampered = BARS.assign(**prices, Volume=np.where(later, 1, BARS["Volume"]))
    again = fit(lesson(base, tampered), replace(RECIPE, learning_rate=0.01), seed=3)
    for found, honest in zip(weights(again.network), weights(learnt.network), strict=True):
        np.testing.assert_array_equal(found, honest)
    assert (again.shrinkage, again.history) == (learnt.shrinkage, learnt.history)


def test_a_fitted_network_is_shrunk_by_what_it_says(learnt, base):
    assert 0 <= learnt.shrinkage <= 1
    assert learnt.base is base
    assert learnt.pool.weight == RECIPE.pool_weight == 0.75
    np.testing.assert_array_equal(learnt.pool.quantiles, base.card.calibration.quantiles)


def test_a_recipe_that_needs_a_base_says_so():
    with pytest.raises(NoBase, match="recipe panel starts from a base"):
        fit(lesson(None), RECIPE, seed=3)


def test_a_part_that_lies_in_the_warm_up_is_refused(base):
    early = replace_parts(lesson(base), Parts(range(9, 40), range(40, 60)))
    with pytest.raises(NotEnoughHistory):
        fit(early, RECIPE, seed=3)


def replace_parts(one: Lesson, parts: Parts) -> Lesson:
    return Lesson(one.bars, one.rows, parts, one.base)


def test_a_recursive_recipe_starts_from_nothing_and_is_trusted_whole(base, tmp_path):
    small = find_recipe("mlops_64_64_32", {**TINY, "epochs": 1})
    heard = []
    fitted = fit(
        lesson(base),
        small,
        seed=3,
        on_epoch_end=lambda epoch, logs: heard.append((epoch, logs["val_loss"])),
        checkpoint=tmp_path / "best",
    )
    assert (fitted.base, fitted.pool, fitted.shrinkage) == (None, None, 1.0)
    assert heard == list(enumerate(fitted.history["val_loss"]))
    assert [file.name for file in tmp_path.iterdir()] == ["best.weights.h5"]
    held = lesson(None).rows.rows(slice(380 - 9, 440 - 9))  # origins 380 to 439
    assert fitted.network.evaluate(held.x, held.y)["loss"] == pytest.approx(heard[0][1], rel=1e-4)


# How much of a correction is used


def test_under_a_vague_prior_the_weight_is_the_least_squares_slope(monkeypatch):
    monkeypatch.setattr("fitting.PRIOR_SPREAD", 1e6)
    said, noise = np.random.default_rng(6).normal(0, 0.1, (2, 5000))
    came = 0.6 * said + noise
    (slope,), *_ = np.linalg.lstsq(said[:, None], came, rcond=None)
    assert shrinkage(said, came, 0.1) == pytest.approx(slope, abs=1e-6)


def test_the_weight_is_the_ridge_regressions():
    said, surprise = np.random.default_rng(7).normal(0, 0.1, (2, 200))
    came = 0.8 * said + 10 * surprise
    noise, prior = np.sqrt(np.mean(came**2)), 0.4
    rows = np.append(said / noise, 1 / PRIOR_SPREAD)  # the prior as one row more
    outcomes = np.append(came / noise, prior / PRIOR_SPREAD)
    (slope,), *_ = np.linalg.lstsq(rows[:, None], outcomes, rcond=None)
    assert shrinkage(said, came, prior) == pytest.approx(np.clip(slope, 0, 1))
    assert 0 < slope < 1


def test_one_row_leaves_the_prior_about_where_it_was():
    assert shrinkage(np.array([0.01]), np.array([1.0]), 0.4) == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize("prior", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("rows", [1, 50])
def test_a_price_that_never_moves_leaves_the_prior(prior, rows):
    assert shrinkage(np.ones(rows), np.zeros(rows), prior) == prior


@pytest.mark.parametrize(("truth", "weight"), [(-3.0, 0.0), (7.0, 1.0)])
def test_a_weight_stays_between_nothing_and_all(truth, weight):
    said = np.random.default_rng(8).normal(0, 1, 500)
    assert shrinkage(said, truth * said, 0.4) == weight


def test_a_weight_is_earned_on_the_origins_asked_alone():
    network, origins = talking(), range(380, 440)
    said = network.outputs(INPUT.windows(np.arange(380, 440), 10))[:, 0]
    came = targets(INPUT, (1,), len(BARS))[380:440, 0]
    found = earned_weight(network, INPUT, origins, 0.4)
    assert found == pytest.approx(shrinkage(said, came, 0.4))
    assert found not in (0.0, 0.4, 1.0)


def test_too_few_unseen_origins_leave_the_bases_weight():
    network = talking()
    assert earned_weight(network, INPUT, range(380, 380 + LEAST_HELD - 1), 0.4) == 0.4
    assert earned_weight(network, INPUT, range(440, 440), 0.4) == 0.4
    assert earned_weight(network, INPUT, range(380, 380 + LEAST_HELD), 0.4) != 0.4


def test_origins_that_the_base_has_seen_earn_nothing(base):
    from fitting import _unseen

    for through, expected in [
        (DAYS[300], range(380, 440)),
        (DAYS[379], range(380, 440)),
        (DAYS[399], range(400, 440)),
        (DAYS[470], range(471, 440)),
    ]:
        seen = Base(base.path, replace(base.card, trained_through=through), shipped=True)
        assert list(_unseen(lesson(seen), seen)) == list(expected)


# The recipe


def test_the_panel_recipe_is_that_recipe_whatever_a_setting_says():
    changed = {
        "mode": "recursive",
        "inputs": "minmax",
        "horizons": (1,),
        "loss": "mse",
        "epochs": 3,
    }
    found, plain = find_recipe("panel", changed), RECIPES["panel"]
    assert all(getattr(found, name) == getattr(plain, name) for name in FIXED)
    assert found.epochs == 3
    assert found.has_base and not find_recipe("mlops_64_64_32").has_base


def test_recipes_have_one_shape_where_weights_of_one_fit_the_other():
    longer = find_recipe("panel", {**TINY, "unrollings": 30, "learning_rate": 0.5, "epochs": 9})
    assert longer.shape == RECIPE.shape
    assert find_recipe("panel", {**TINY, "dense_units": 5}).shape != RECIPE.shape
    assert find_recipe("mlops_64_64_32", TINY).shape != RECIPE.shape
    for ours, theirs in zip(weights(talking()), weights(talking(recipe=longer)), strict=True):
        assert ours.shape == theirs.shape
    assert len(INPUTS) == talking().model.input_shape[-1]
