"""The network: built from the recipe, learns, exports to ONNX that answers the same."""

import numpy as np
import pytest

from features import scaled_sequences, split_rows
from inference import Network
from metrics import mse
from model import LSTMStockModel
from recipes import find_recipe

SMALL = find_recipe(
    "mlops_64_64_32",
    {"lstm_units_1": 8, "lstm_units_2": 8, "dense_units": 4, "unrollings": 10, "dropout_rate": 0.1},
)


@pytest.fixture(scope="module")
def sequences():
    days = np.arange(400)
    return scaled_sequences(100 + 10 * np.sin(days / 9) + days * 0.01, 10, 100)


@pytest.fixture(scope="module")
def trained(sequences, tmp_path_factory):
    split = split_rows(len(sequences.y), 0.8, 0.1)
    fit, held = sequences.rows(split.train), sequences.rows(split.validation)
    network = LSTMStockModel(SMALL, seed=1)
    seen = []
    history = network.train(
        fit.x,
        fit.y,
        held.x,
        held.y,
        epochs=12,
        model_path=tmp_path_factory.mktemp("weights") / "best",
        on_epoch_end=lambda epoch, logs: seen.append((epoch, logs["val_loss"])),
    )
    return network, history, seen, split


def test_the_specifications_network_has_the_specifications_layers():
    network = LSTMStockModel().model
    assert [type(layer).__name__ for layer in network.layers] == [
        "LSTM",
        "LSTM",
        "Dense",
        "Dropout",
        "Dense",
    ]
    assert network.input_shape == (None, 50, 1)
    assert network.count_params() == 16_896 + 33_024 + 2_080 + 33


def test_build_model_takes_another_shape():
    network = LSTMStockModel(SMALL)
    assert network.build_model(input_shape=(20, 3)).input_shape == (None, 20, 3)
    assert network.model.input_shape == (None, 20, 3)


def test_training_beats_the_mean(trained, sequences):
    network, _, _, split = trained
    test = sequences.rows(split.test)
    guess = np.full(len(test.y), sequences.rows(split.train).y.mean())
    assert mse(test.y, network.predict(test.x)) < 0.5 * mse(test.y, guess)


def test_the_best_epochs_weights_stay(trained, sequences):
    network, history, seen, split = trained
    held = sequences.rows(split.validation)
    assert [v for _, v in seen] == history.history["val_loss"]
    assert network.evaluate(held.x, held.y)["mse"] == pytest.approx(
        min(v for _, v in seen), rel=0.05
    )


def test_the_callbacks_are_the_specifications(tmp_path):
    stop, reduce, checkpoint = LSTMStockModel().get_callbacks(tmp_path / "w")
    assert (stop.patience, stop.restore_best_weights) == (10, True)
    assert (reduce.factor, reduce.patience, reduce.min_lr) == (0.5, 5, 1e-7)
    assert checkpoint.filepath.endswith("w.weights.h5")
    assert len(LSTMStockModel().get_callbacks()) == 2


def test_evaluate_names_the_specifications_scores(trained, sequences):
    network, _, _, split = trained
    test = sequences.rows(split.test)
    scores = network.evaluate(test.x, test.y)
    assert set(scores) == {"loss", "mae", "mse", "rmse", "direction_accuracy"}
    assert scores["mse"] == pytest.approx(np.mean((network.predict(test.x) - test.y) ** 2))
    assert scores["loss"] == pytest.approx(scores["mse"], rel=1e-4)


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_onnx_answers_as_keras_does(trained, sequences, tmp_path, batch):
    network = trained[0]
    network.export_onnx(tmp_path / "model.onnx")
    x = sequences.x[:batch]
    gap = np.abs(Network(tmp_path / "model.onnx").one_step(x) - network.predict(x))
    assert gap.max() < 1e-5


def test_a_fresh_network_can_be_exported(tmp_path):
    network = LSTMStockModel(SMALL)
    network.export_onnx(tmp_path / "model.onnx")
    answer = Network(tmp_path / "model.onnx").one_step(np.ones((1, 10, 1)))
    np.testing.assert_allclose(answer, network.predict(np.ones((1, 10, 1))), atol=1e-6)


def test_one_seed_gives_one_network(sequences):
    first, again, other = (LSTMStockModel(SMALL, seed=s) for s in (3, 3, 4))
    x = sequences.x[:5]
    np.testing.assert_array_equal(first.predict(x), again.predict(x))
    assert np.abs(first.predict(x) - other.predict(x)).max() > 1e-4


def test_recursion_feeds_each_forecast_back(trained, sequences, tmp_path):
    trained[0].export_onnx(tmp_path / "model.onnx")
    network = Network(tmp_path / "model.onnx")
    window, expected = list(sequences.x[0, :, 0]), []
    for _ in range(6):
        step = network.one_step(np.array(window[-10:]).reshape(1, 10, 1))[0]
        expected.append(step)
        window.append(step)
    np.testing.assert_allclose(network.recurse(sequences.x[:3], 6)[0], expected, atol=1e-6)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_an_input_that_is_not_finite_is_refused(trained, sequences, tmp_path, poison):
    trained[0].export_onnx(tmp_path / "model.onnx")
    x = sequences.x[:1].copy()
    x[0, 3, 0] = poison
    with pytest.raises(ValueError, match="NaN or infinity"):
        Network(tmp_path / "model.onnx").one_step(x)
