"""Build, fit and export the network a recipe describes. Knows no ticker, date, MLflow or HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

# TensorFlow and curl_cffi, through which yfinance speaks, both carry a libcurl, and the one that
# is loaded first serves both: after TensorFlow's, Yahoo can no longer be asked in this process.
import curl_cffi  # noqa: F401
import keras
import numpy as np

from contracts import FloatArray
from metrics import direction_accuracy
from networks import DEGREES, WEIGHT_DECAY
from networks.answering import last_position
from networks.templates import Template, converted, template_of
from networks.twins import Progress, Twin, set_seed
from panel import INPUTS
from recipes import Layer, Recipe, find_recipe

EpochListener = Callable[[int, Mapping[str, float]], None]


AT_ONCE = 1024  # rows of one forward pass
HEADS = ("head", "skip")  # the two layers whose sum is the output of a sequence network


def build_network(recipe: Recipe, input_shape: tuple[int | None, int]) -> Any:
    """A compiled Keras model for inputs of shape (batch, *input_shape).

    Its output has the shape (batch, 1), or for recipes on panel inputs (batch, length, 1 + number
    of horizons): at every position the correction to the last close, in volatility units, and the
    logarithm of the expected error at each horizon.
    """
    if recipe.inputs == "panel":
        return _sequence_network(recipe, input_shape)
    last_lstm = max(i for i, layer in enumerate(recipe.layers) if layer[0] == "lstm")
    stack = [
        _layer(recipe, layer, return_sequences=i < last_lstm)
        for i, layer in enumerate(recipe.layers)
    ]
    network = keras.Sequential([keras.Input(shape=input_shape), *stack])
    # XLA lengthens the first epoch and shortens none here.
    network.compile(
        optimizer=keras.optimizers.Adam(learning_rate=recipe.learning_rate),
        loss=recipe.loss,
        metrics=["mae"],
        jit_compile=False,
    )
    return network


def _sequence_network(recipe: Recipe, input_shape: tuple[int | None, int]) -> Any:
    outputs = 1 + len(recipe.horizons)
    given = keras.Input((None, input_shape[-1]))
    state = given
    for layer in recipe.layers:
        state = _layer(recipe, layer, return_sequences=True)(state)
    # From zero: an untrained network says "the last close, as uncertain as lately". The straight
    # way from the inputs holds what a linear autoregression of ranges (HAR) would learn.
    parts = [
        keras.layers.Dense(outputs, kernel_initializer="zeros", name=name)(source)
        for name, source in zip(HEADS, (state, given), strict=True)
    ]
    network = keras.Model(given, keras.layers.Add()(parts))
    network.compile(
        optimizer=keras.optimizers.AdamW(
            learning_rate=recipe.learning_rate, weight_decay=WEIGHT_DECAY, clipnorm=1.0
        ),
        loss=correction_and_scale(recipe.horizons),
        jit_compile=False,
    )
    return network


def correction_and_scale(horizons: tuple[int, ...]) -> Callable[[Any, Any], Any]:
    """The loss of a network that says a correction and how far it may be off.

    Squared error of the first output at the first horizon, plus half the negative log-likelihood
    of a Student t around it at every horizon. The likelihood does not move the correction: its
    location would be the median, and a median that lies above zero in a rising market is no skill.
    """
    ops = keras.ops
    share = ops.convert_to_tensor([[step**-0.5 for step in horizons]], dtype="float32")

    def loss(y_true: Any, y_pred: Any) -> Any:
        said = y_pred[:, -ops.shape(y_true)[1] :]
        known = ops.isfinite(y_true)
        count = ops.cast(known, "float32")
        came = ops.where(known, y_true, 0.0)
        move, log_scale = said[..., :1], ops.clip(said[..., 1:], -3.0, 3.0)
        square = ops.square(came[..., :1] - move) * count[..., :1]
        error = (came - ops.stop_gradient(move) * share) * ops.exp(-log_scale)
        surprise = log_scale + (DEGREES + 1) / 2 * ops.log1p(error * error / DEGREES)
        return ops.mean(square) + 0.5 * ops.mean(surprise * count)

    return loss


def _layer(recipe: Recipe, layer: Layer, *, return_sequences: bool) -> Any:
    kind, size = layer[0], recipe.size(layer[1])
    if kind == "lstm":
        return keras.layers.LSTM(int(size), return_sequences=return_sequences)
    if kind == "batchnorm":
        return keras.layers.BatchNormalization()
    if kind == "dropout":
        return keras.layers.Dropout(size)
    return keras.layers.Dense(int(size), activation=layer[2] if len(layer) > 2 else None)


class LSTMStockModel:
    """One network and its training. `model` is the Keras model, built from the start."""

    def __init__(self, recipe: Recipe | None = None, seed: int = 42) -> None:
        self.recipe = recipe or find_recipe("mlops_64_64_32")
        self.seed = seed
        features = len(INPUTS) if self.recipe.inputs == "panel" else 1
        self.model = self.build_model((self.recipe.unrollings, features))

    def build_model(self, input_shape: tuple[int, int] = (50, 1)) -> Any:
        """A fresh network with seeded weights for (sequence_length, features); kept as `.model`."""
        set_seed(self.seed)
        self.model = build_network(self.recipe, input_shape)
        self._progress: Progress | None = None
        return self.model

    def get_callbacks(self, model_path: str | Path | None = None) -> list[Any]:
        """Early stopping on the best weights, learning-rate reduction, and a checkpoint.

        Args:
            model_path: where the best weights go (`*.weights.h5`); None writes no checkpoint.
        """
        recipe = self.recipe
        callbacks = [
            keras.callbacks.EarlyStopping(
                monitor="val_loss", patience=recipe.patience, restore_best_weights=True
            ),
            self._schedule(),
        ]
        if model_path is not None:
            path = str(model_path)
            callbacks.append(
                keras.callbacks.ModelCheckpoint(
                    path if path.endswith(".weights.h5") else f"{path}.weights.h5",
                    monitor="val_loss",
                    save_best_only=True,
                    save_weights_only=True,
                )
            )
        return callbacks

    def _schedule(self) -> Any:
        recipe = self.recipe
        if recipe.lr_schedule == "step":
            return keras.callbacks.LearningRateScheduler(
                lambda epoch, _: (
                    recipe.learning_rate * recipe.lr_step_factor ** (epoch // recipe.lr_step_epochs)
                )
            )
        return keras.callbacks.ReduceLROnPlateau(
            monitor="val_loss",
            factor=recipe.lr_factor,
            patience=recipe.lr_patience,
            min_lr=recipe.lr_floor,
        )

    def train(  # noqa: PLR0913 - the specification's signature
        self,
        X_train: FloatArray,
        y_train: FloatArray,
        X_val: FloatArray | None = None,
        y_val: FloatArray | None = None,
        epochs: int = 50,
        batch_size: int = 32,
        model_path: str | Path | None = None,
        on_epoch_end: EpochListener | None = None,
    ) -> Any:
        """Fit; the weights of the best validation epoch stay.

        Args:
            X_train: shape (n, sequence_length, features), oldest first.
            y_train: shape (n,), on the scale of the inputs.
            X_val: later rows; None sets the last share `validation_split` of X_train aside.
            y_val: their targets.
            epochs: at most so many.
            batch_size: rows per step.
            model_path: where the best weights are kept while training runs.
            on_epoch_end: called with the epoch, counted from 0, and Keras' logs of it.

        Returns:
            Keras' History.
        """
        if X_val is None or y_val is None:
            cut = len(X_train) - max(1, int(len(X_train) * self.recipe.validation_split))
            (X_train, X_val), (y_train, y_val) = np.split(X_train, [cut]), np.split(y_train, [cut])
        set_seed(self.seed)
        heard = [keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)] if on_epoch_end else []
        with self._learning() as network:
            return network.fit(
                np.asarray(X_train, dtype="float32"),
                np.asarray(y_train, dtype="float32"),
                validation_data=(
                    np.asarray(X_val, dtype="float32"),
                    np.asarray(y_val, dtype="float32"),
                ),
                epochs=epochs,
                batch_size=batch_size,
                callbacks=[*self.get_callbacks(model_path), *heard],
                verbose=0,
            )

    @contextmanager
    def _learning(self) -> Iterator[Any]:
        """The Keras model to fit, `.model` meanwhile: a twin that has been traced already, unless
        somebody has fitted this one by itself."""
        own = self.model
        if own.optimizer.built:
            yield own
            return
        with self._twin().learning(own, self._progress) as (network, left):
            if self._progress is None:
                network.optimizer.learning_rate = self.recipe.learning_rate
            self.model = network
            try:
                yield network
            finally:
                self.model = own
        self._progress = left

    def _twin(self) -> Twin:
        return _twin(_network_of(self.recipe), self.model.input_shape[1:])

    def predict(self, X: FloatArray) -> FloatArray:
        """One step ahead for each row, on the scale of the inputs: shape (n,)."""
        return np.asarray(
            self.model.predict(np.asarray(X, dtype="float32"), verbose=0), dtype=float
        ).ravel()

    def outputs(self, X: FloatArray) -> FloatArray:
        """Everything the network says at the end of each row: (n, length, inputs) -> (n, m)."""
        rows = np.asarray(X, dtype="float32")
        parts = np.split(rows, range(AT_ONCE, len(rows), AT_ONCE))
        said = np.concatenate([self._twin().outputs(self.model, part) for part in parts])
        return np.asarray(said[:, -1] if said.ndim == 3 else said, dtype=float)

    def loss(self, X: FloatArray, y: FloatArray) -> float:
        """The loss that training lowers, on rows as `train` takes them."""
        with self._twin().saying(self.model) as network:
            return float(network.evaluate(X, y, verbose=0, return_dict=True)["loss"])

    def evaluate(self, X: FloatArray, y: FloatArray) -> dict[str, float]:
        """`loss mae mse rmse direction_accuracy` on the scale of the inputs.

        Direction is measured against the last input of each row, which is the last known value.
        """
        forecast = self.predict(X)
        error = forecast - y
        mean_square = float(np.mean(error**2))
        scored = self.model.evaluate(
            np.asarray(X, dtype="float32"),
            np.asarray(y, dtype="float32"),
            verbose=0,
            return_dict=True,
        )
        return {
            "loss": float(scored["loss"]),
            "mae": float(np.mean(np.abs(error))),
            "mse": mean_square,
            "rmse": float(np.sqrt(mean_square)),
            "direction_accuracy": direction_accuracy(np.asarray(X)[:, -1, 0], y, forecast),
        }

    def save(self, path: Path) -> None:
        """Write the weights alone, without the optimizer's state; `*.weights.h5`."""
        self._bare().save_weights(str(path))

    def load(self, path: Path) -> None:
        """Take weights over that `save` wrote for a network of the same shape."""
        self._bare().load_weights(str(path))

    def _bare(self) -> Any:
        """The same layers in a model that was never compiled."""
        return keras.Model(self.model.inputs, self.model.outputs)

    def shrink(self, weight: float) -> None:
        """Multiply the correction that a sequence network says by `weight`, for good."""
        for name in HEADS:
            layer = self.model.get_layer(name)
            kernel, bias = layer.get_weights()
            kernel[:, 0] *= weight
            bias[0] *= weight
            layer.set_weights([kernel, bias])

    def export_onnx(self, path: Path) -> None:
        """Write the network as ONNX with native LSTM nodes; input (batch, length, features).

        Of a sequence network what it says at the last position is written: (batch, outputs).
        """
        template = _template(_network_of(self.recipe), self.model.input_shape[1:])
        if template is None:
            path.write_bytes(converted(_answering(self.model), self.recipe.unrollings))
        else:
            path.write_bytes(template.filled(self.model.get_weights()))


# What a recipe says of training alone: no network and no graph of it differs by these.
_OF_TRAINING: dict[str, Any] = {
    **dict.fromkeys(("name", "description", "lr_schedule"), ""),
    **dict.fromkeys(("learning_rate", "batch_size", "epochs", "patience"), 0.0),
    **dict.fromkeys(("lr_step_epochs", "lr_step_factor", "lr_factor", "lr_patience"), 0),
    **dict.fromkeys(("lr_floor", "train_test_split", "validation_split", "pool_weight"), 0),
}


def _network_of(recipe: Recipe) -> Recipe:
    return replace(recipe, **_OF_TRAINING)


@lru_cache(maxsize=2)
def _twin(recipe: Recipe, input_shape: tuple[int | None, int]) -> Twin:
    """What every network of this form is trained on in this process."""
    return Twin(build_network(recipe, input_shape))


def _answering(network: Any) -> Any:
    """What of a network says something at the last position; it has the same layers."""
    return last_position(network, HEADS) if len(network.output_shape) == 3 else network


@lru_cache(maxsize=4)
def _template(recipe: Recipe, input_shape: tuple[int | None, int]) -> Template | None:
    """The graph of every network of this form, converted once in a process."""
    network = build_network(recipe, input_shape)
    answering = _answering(network)

    def convert(weights: Sequence[FloatArray]) -> bytes:
        network.set_weights(weights)  # which are the other's too
        return converted(answering, recipe.unrollings)

    return template_of(convert, network.get_weights())
