"""Many tickers' networks as one graph: each comes out as if it had been fitted by itself."""

from dataclasses import replace
from datetime import date
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest

from bases import Base
from batched_fitting import Learner, fit_many, padded
from contracts import NoBase, NotEnoughHistory
from features import scaled_sequences
from fitting import Lesson, Parts, fit
from generate_synthetic_data import generate_synthetic_stock_data
from model import LSTMStockModel, correction_and_scale
from networks.stacked import Stack, kept, lstm, table, tables
from panel import INPUTS, Windows
from recipes import find_recipe

TINY = {"lstm_units_1": 3, "lstm_units_2": 2, "dense_units": 3, "unrollings": 6, "batch_size": 2}
RECIPE = find_recipe("panel", {**TINY, "dropout_rate": 0.0, "epochs": 4, "learning_rate": 0.01})
H = len(RECIPE.horizons)


def layers(recipe=RECIPE):
    return tuple((kind, recipe.size(size)) for kind, size, *_ in recipe.layers)


def shaken(seed: int) -> LSTMStockModel:
    network, rng = LSTMStockModel(RECIPE, seed=seed), np.random.default_rng(seed)
    network.model.set_weights([rng.normal(0, 0.4, v.shape) for v in network.model.get_weights()])
    return network


def windows(seed: int, rows: int = 3, block: int = 5) -> Windows:
    rng = np.random.default_rng(seed)
    y = rng.normal(0, 1, (rows, block, H))
    y[rng.random(y.shape) < 0.2] = np.nan
    x = rng.normal(0, 1, (rows, 6 + block, len(INPUTS)))
    return Windows(x.astype("float32"), y.astype("float32"))


@pytest.fixture(scope="module")
def networks():
    return [shaken(seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def stack():
    return Stack(layers(), RECIPE.horizons, RECIPE.unrollings, "float64")


PARTS = [windows(4), windows(5, rows=1), windows(6, block=3)]  # fewer rows; a shorter block


def weights_of(networks):
    return [network.model.get_weights() for network in networks]


def updated(stack, networks, parts, times: int = 3):
    """Weights after some updates at rates of their own, and the last losses."""
    state, rows = tables(weights_of(networks), "float64"), stack.cast(padded(parts))
    for number in range(times):
        state, losses = stack.update(state, np.array([0.1, 0.2, 0.3]), rows, np.array([1, number]))
    return [table(state, place) for place in range(len(networks))], losses.numpy()


def test_the_losses_are_what_keras_calculates_of_each_network(stack, networks):
    found = stack.losses(tables(weights_of(networks), "float64")[0], *stack.cast(padded(PARTS)))
    expected = [
        float(correction_and_scale(RECIPE.horizons)(part.y, network.model(part.x)))
        for network, part in zip(networks, PARTS, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_updates_without_dropout_are_those_of_keras(stack, networks):
    found, _ = updated(stack, networks, PARTS)
    network, part = shaken(2).model, PARTS[1]
    network.optimizer.learning_rate = 0.2
    for _ in range(3):
        network.train_on_batch(part.x, part.y)
    for ours, theirs in zip(found[1], network.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_the_gradient_of_the_lstm_is_its_slope():
    import tensorflow as tf

    rng = np.random.default_rng(8)
    shapes = [(2, 3, 2, 2), (2, 2, 8), (2, 2, 8), (2, 8)]  # two tickers, of two units
    given = [tf.constant(rng.normal(0, 1, shape)) for shape in shapes]
    written, measured = tf.test.compute_gradient(lstm, given)
    for ours, slope in zip(written, measured, strict=True):
        np.testing.assert_allclose(ours, slope, atol=1e-5)
        assert np.abs(ours).max() > 0.1


def test_one_tickers_prices_change_no_bit_of_anothers(stack, networks):
    honest, losses = updated(stack, networks, PARTS)
    tampered, others = updated(stack, networks, [PARTS[0], windows(50, rows=1), PARTS[2]])
    for place in (0, 2):
        assert losses[place] == others[place]
        for found, wanted in zip(tampered[place], honest[place], strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert losses[1] != others[1]


def test_a_ticker_without_rows_stays_as_it_is(stack, networks):
    nothing = Windows(PARTS[1].x[:0], PARTS[1].y[:0])
    found, losses = updated(stack, networks, [PARTS[0], nothing, PARTS[2]])
    assert losses[1] == 0
    for ours, before in zip(found[1], networks[1].model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, before.astype("float64"))


def test_those_that_are_kept_are_themselves(networks):
    state = kept(tables(weights_of(networks), "float64"), np.array([2, 0]))
    for ours, theirs in zip(table(state, 0), networks[2].model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs.astype("float64"))


def test_dropout_is_the_same_for_every_ticker_and_another_at_every_step(networks):
    stack = Stack(layers(replace(RECIPE, dropout_rate=0.4)), RECIPE.horizons, 6)
    weights = tables([networks[0].model.get_weights()] * 2, "float32")[0]
    rows = stack.cast(padded([PARTS[0], PARTS[0]]))
    first, again, other = (
        stack.losses(weights, *rows, seed=np.array([1, step], "int32")) for step in (5, 5, 6)
    )
    assert first[0] == first[1] == again[0]
    assert first[0] != other[0] and first[0] != stack.losses(weights, *rows)[0]


# Schedules, held against Keras' own callbacks


def by_callbacks(losses, recipe):
    """The rates of each epoch, the epoch whose weights stay, and how many were gone through."""
    network, rates = LSTMStockModel(recipe, seed=1), []
    stop, schedule = network.get_callbacks()
    model = SimpleNamespace(
        optimizer=SimpleNamespace(learning_rate=keras.Variable(recipe.learning_rate)),
        stop_training=False,
        get_weights=lambda: len(rates),
        set_weights=lambda _: None,
    )
    for callback in (stop, schedule):
        callback.set_model(model)
        callback.on_train_begin()
    for epoch, loss in enumerate(losses):
        schedule.on_epoch_begin(epoch)
        rates.append(float(model.optimizer.learning_rate))
        for callback in (stop, schedule):
            callback.on_epoch_end(epoch, {"val_loss": loss})
        if model.stop_training:
            break
    return rates, stop.best_epoch, len(rates)


@pytest.mark.parametrize(
    "changed",
    [
        {"patience": 2},
        {"patience": 0},
        {"patience": 9, "lr_patience": 2, "lr_factor": 0.5, "lr_floor": 0.004},
        {"patience": 9, "lr_patience": 0},
        {"patience": 9, "lr_schedule": "step", "lr_step_epochs": 2},
    ],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_epoch_is_weighed_as_keras_callbacks_weigh_it(changed, seed):
    recipe = replace(RECIPE, **changed)
    losses = np.random.default_rng(seed).normal(1, 0.01, 12).tolist()
    learner = Learner(None, None, None, recipe.learning_rate, [], [])
    for epoch, loss in enumerate(losses):
        if not learner.took((0.0, loss), [epoch], recipe):
            break
    rates, best, epochs = by_callbacks(losses, recipe)
    assert len(learner.history["loss"]) == epochs
    assert learner.best == [best]
    np.testing.assert_allclose(learner.history["learning_rate"], rates, rtol=1e-6)


# Whole fits, held against `fitting.fit`

DAYS = 420
FIT = replace(RECIPE, batch_size=16, learning_rate=0.003)  # all rows in one batch: no order


def bars(seed: int, count: int = DAYS) -> pd.DataFrame:
    return generate_synthetic_stock_data(f"A{seed}", "2020-01-01", "2023-12-29", count)


def lesson(seed: int, base: Base | None, count: int = DAYS) -> Lesson:
    own = bars(seed, count)
    mids = (own["High"].to_numpy() + own["Low"].to_numpy()) / 2
    return Lesson(
        own,
        scaled_sequences(mids, 6, 2500),
        Parts(range(6, count - 80), range(count - 80, count - 20)),
        base,
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Base:
    folder = tmp_path_factory.mktemp("base")
    own = SimpleNamespace(trained_through=date(2020, 3, 1), shrinkage=0.4)
    found = Base(folder, own, shipped=True)
    shaken(5).save(found.weights)
    return found


def test_each_ticker_ends_as_if_it_had_been_fitted_by_itself(base):
    lessons = [lesson(1, base), lesson(2, base), lesson(3, base, count=300)]
    together = fit_many(lessons, FIT, seed=3)
    for one, ours in zip(lessons, together, strict=True):
        alone = fit(one, FIT, seed=3)
        for name, values in alone.history.items():
            np.testing.assert_allclose(ours.history[name], values, rtol=1e-4)
        assert ours.shrinkage == pytest.approx(alone.shrinkage, abs=1e-3)
        for a, b in zip(*weights_of([ours.network, alone.network]), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-3)
        assert ours.base is base


def test_a_ticker_that_is_done_leaves_the_others_as_they_were(base):
    recipe = replace(FIT, patience=1, learning_rate=0.05, epochs=5)
    pair = [lesson(1, base), lesson(2, base)]
    both, other = fit_many(pair, recipe, seed=3), fit_many([pair[0], lesson(9, base)], recipe, 3)
    assert both[0].history == other[0].history
    assert both[1].history != other[1].history
    assert len({len(one.history["loss"]) for one in [*both, *other]}) > 1


def test_what_helped_nothing_is_given_back_for_the_bases_weights(base):
    (fitted,) = fit_many([lesson(1, base)], replace(FIT, learning_rate=1e3), seed=3)
    expected = shaken(5)
    expected.shrink(fitted.shrinkage)
    for ours, theirs in zip(
        fitted.network.model.get_weights(), expected.model.get_weights(), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_a_failed_ticker_costs_only_itself(base):
    early = replace(lesson(2, base), parts=Parts(range(6, 20), range(20, 40)))
    found = fit_many([early, lesson(1, None), lesson(1, base)], replace(FIT, epochs=1), seed=3)
    assert [type(one) for one in found[:2]] == [NotEnoughHistory, NoBase]
    assert len(found[2].history["loss"]) == 1


def test_a_recipe_without_a_base_is_fitted_one_by_one():
    recipe = find_recipe("mlops_64_64_32", {**TINY, "epochs": 1})
    (fitted,) = fit_many([lesson(1, None)], recipe, seed=3)
    alone = fit(lesson(1, None), recipe, seed=3)
    assert fitted.history == alone.history
