"""What is traced and converted once: another ticker's network comes out of it to the bit."""

from dataclasses import replace

import keras
import numpy as np
import onnx
import pytest

import model
from inference import Network
from model import LSTMStockModel
from networks.templates import FIRST, converted, template_of
from recipes import RECIPES, find_recipe

SMALL = {"lstm_units_1": 6, "lstm_units_2": 4, "dense_units": 4, "units": 4, "unrollings": 8}
RECIPE = find_recipe("mlops_64_64_32", {**SMALL, "epochs": 3, "patience": 1, "lr_patience": 1})


def rows(seed: int, count: int = 40):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (count, 8, 1)), rng.normal(0, 1, count)


def learn(network: LSTMStockModel, seed: int) -> dict[str, list[float]]:
    return network.train(*rows(seed), *rows(seed + 1, 9), epochs=3, batch_size=16).history


def by_keras(times: int) -> tuple[LSTMStockModel, list[dict[str, list[float]]]]:
    """Fitted by its own compiled model, as Keras does it, `times` times over."""
    network, histories = LSTMStockModel(RECIPE, seed=3), []
    for _ in range(times):
        keras.utils.set_random_seed(3)
        fitted = network.model.fit(
            *(side.astype("float32") for side in rows(7)),
            validation_data=tuple(side.astype("float32") for side in rows(8, 9)),
            epochs=3,
            batch_size=16,
            callbacks=network.get_callbacks(),
            verbose=0,
        )
        histories.append(fitted.history)
    return network, histories


def same(ours: LSTMStockModel, theirs: LSTMStockModel) -> bool:
    pairs = zip(ours.model.get_weights(), theirs.model.get_weights(), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


@pytest.fixture(scope="module")
def twice():
    return by_keras(2)


def test_training_after_another_tickers_ends_where_keras_ends_to_the_bit(twice):
    learn(LSTMStockModel(replace(RECIPE, learning_rate=0.5), seed=1), seed=11)
    network = LSTMStockModel(RECIPE, seed=3)
    first, again = learn(network, seed=7), learn(network, seed=7)  # the second goes on
    assert [first, again] == twice[1]
    assert same(network, twice[0])


def test_a_network_keeps_what_it_learnt_while_another_learns():
    network, other = LSTMStockModel(RECIPE, seed=3), LSTMStockModel(RECIPE, seed=4)
    learn(network, seed=7)
    before, said = network.model.get_weights(), network.outputs(rows(9)[0])
    learn(other, seed=20)
    assert not same(network, other)
    np.testing.assert_array_equal(network.outputs(rows(9)[0]), said)
    for kept, value in zip(network.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(kept, value)


def test_a_listener_sees_the_weights_of_its_epoch():
    network, seen = LSTMStockModel(RECIPE, seed=3), []
    network.train(
        *rows(7), epochs=3, on_epoch_end=lambda *_: seen.append(network.model.get_weights()[0])
    )
    assert all((a != b).any() for a, b in zip(seen, seen[1:], strict=False))
    assert any(np.array_equal(network.model.get_weights()[0], weights) for weights in seen)


def test_a_training_that_breaks_off_leaves_the_weights_and_the_next_one_as_they_were(twice):
    def refuse(*_: object) -> None:
        raise KeyboardInterrupt

    network = LSTMStockModel(RECIPE, seed=3)
    with pytest.raises(KeyboardInterrupt):
        network.train(*rows(30), on_epoch_end=refuse)
    assert same(network, LSTMStockModel(RECIPE, seed=3))
    assert learn(network, seed=7) == twice[1][0]


def test_what_it_says_and_loses_is_what_keras_says_of_the_same_weights():
    network, (x, y) = LSTMStockModel(RECIPE, seed=5), rows(5)
    np.testing.assert_allclose(network.outputs(x)[:, 0], network.predict(x), atol=1e-6)
    expected = network.model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    assert network.loss(x, y) == pytest.approx(expected, rel=1e-6)


def shaken(recipe, seed: int) -> LSTMStockModel:
    """A network none of whose weights is zero or one."""
    network, rng = LSTMStockModel(recipe, seed=seed), np.random.default_rng(seed)
    weights = [rng.uniform(0.1, 0.9, value.shape) for value in network.model.get_weights()]
    network.model.set_weights(weights)
    return network


@pytest.mark.parametrize("name", ["mlops_64_64_32", "lstm50_batchnorm", "panel"])
def test_a_filled_graph_says_what_a_fresh_conversion_says_to_the_bit(name, tmp_path):
    recipe = find_recipe(name, SMALL)
    shaken(recipe, seed=1).export_onnx(tmp_path / "first.onnx")
    network = shaken(recipe, seed=2)
    network.export_onnx(tmp_path / "filled.onnx")
    fresh = converted(model._answering(network.model), recipe.unrollings)
    (tmp_path / "fresh.onnx").write_bytes(fresh)
    x = np.random.default_rng(3).normal(0, 1, (5, 8, network.model.input_shape[-1]))
    first, filled, fresh = (
        Network(tmp_path / f"{which}.onnx").run(x) for which in ("first", "filled", "fresh")
    )
    np.testing.assert_array_equal(filled, fresh)
    assert (first != filled).any()


@pytest.mark.parametrize("name", ["mlops_64_64_32", "lstm50_batchnorm", "panel", "tuned_lstm"])
@pytest.mark.parametrize("count", [1, 7])
def test_what_is_left_out_of_a_graph_had_no_part_in_the_answer(name, count, tmp_path):
    recipe = find_recipe(name, SMALL)
    network = shaken(recipe, seed=4)
    network.export_onnx(tmp_path / "lean.onnx")
    whole = network.model
    if len(whole.output_shape) == 3:
        whole = keras.Model(whole.input, whole.output[:, -1, :])
    x = np.random.default_rng(5).normal(0, 1, (count, 8, whole.input_shape[-1])).astype("float32")
    whole(x)
    whole.export(str(tmp_path / "whole.onnx"), format="onnx", verbose=False)
    said = [Network(tmp_path / f"{which}.onnx").run(x) for which in ("lean", "whole")]
    np.testing.assert_array_equal(*said)
    lean, full = (onnx.load(tmp_path / f"{which}.onnx").graph.node for which in ("lean", "whole"))
    assert len(lean) < 0.6 * len(full)
    assert not {"Shape", "Expand"} & {node.op_type for node in lean}


def test_a_form_is_converted_once_whatever_its_training(monkeypatch, tmp_path):
    recipe, calls = find_recipe("panel", {**SMALL, "dense_units": 3}), []
    monkeypatch.setattr(model, "converted", lambda *a: calls.append(a) or converted(*a))
    for rate in (0.1, 0.2, 0.3):
        LSTMStockModel(replace(recipe, learning_rate=rate)).export_onnx(tmp_path / "a.onnx")
    assert len(calls) == 1


def test_a_graph_in_which_weights_were_computed_with_is_no_template():
    network = LSTMStockModel(find_recipe("lstm50_batchnorm", SMALL)).model

    def convert(weights):
        network.set_weights(weights)
        return converted(network, 8)

    assert template_of(convert, network.get_weights()) is None


def test_a_network_of_more_weights_than_numbers_is_no_template():
    huge = np.broadcast_to(np.float32(0), (16 * FIRST,))
    assert template_of(lambda _: b"", [huge]) is None


def test_only_what_training_alone_reads_leaves_a_network_as_it_was():
    form = model._network_of(RECIPES["panel"])
    assert form == model._network_of(replace(RECIPES["panel"], epochs=9, learning_rate=1.0))
    for field, value in {"dropout_rate": 0.1, "units": 3, "horizons": (1, 2)}.items():
        assert form != model._network_of(replace(RECIPES["panel"], **{field: value}))
