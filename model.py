"""Build, fit and export the network a recipe describes. Knows no ticker, date, MLflow or HTTP."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# TensorFlow and curl_cffi, through which yfinance speaks, both carry a libcurl, and the one that
# is loaded first serves both: after TensorFlow's, Yahoo can no longer be asked in this process.
import curl_cffi  # noqa: F401
import keras
import numpy as np

from contracts import FloatArray
from metrics import direction_accuracy
from recipes import Layer, Recipe, find_recipe

EpochListener = Callable[[int, Mapping[str, float]], None]


def build_network(recipe: Recipe, input_shape: tuple[int, int]) -> Any:
    """A compiled Keras model for inputs of shape (batch, *input_shape), output (batch, 1)."""
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


def _layer(recipe: Recipe, layer: Layer, *, return_sequences: bool) -> Any:
    kind, size = layer[0], recipe.size(layer[1])
    if kind == "lstm":
        return keras.layers.LSTM(int(size), return_sequences=return_sequences)
    if kind == "dropout":
        return keras.layers.Dropout(size)
    return keras.layers.Dense(int(size), activation=layer[2] if len(layer) > 2 else None)


class LSTMStockModel:
    """One network and its training. `model` is the Keras model, built from the start."""

    def __init__(self, recipe: Recipe | None = None, seed: int = 42) -> None:
        self.recipe = recipe or find_recipe("mlops_64_64_32")
        self.seed = seed
        self.model = self.build_model((self.recipe.unrollings, 1))

    def build_model(self, input_shape: tuple[int, int] = (50, 1)) -> Any:
        """A fresh network with seeded weights for (sequence_length, features); kept as `.model`."""
        keras.utils.set_random_seed(self.seed)
        self.model = build_network(self.recipe, input_shape)
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
            keras.callbacks.ReduceLROnPlateau(
                monitor="val_loss",
                factor=recipe.lr_factor,
                patience=recipe.lr_patience,
                min_lr=recipe.lr_floor,
            ),
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
            X_train, X_val, y_train, y_val = (
                X_train[:cut],
                X_train[cut:],
                y_train[:cut],
                y_train[cut:],
            )
        keras.utils.set_random_seed(self.seed)
        heard = [keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)] if on_epoch_end else []
        return self.model.fit(
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

    def predict(self, X: FloatArray) -> FloatArray:
        """One step ahead for each row, on the scale of the inputs: shape (n,)."""
        return np.asarray(
            self.model.predict(np.asarray(X, dtype="float32"), verbose=0), dtype=float
        ).ravel()

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

    def export_onnx(self, path: Path) -> None:
        """Write the network as ONNX with native LSTM nodes; input (batch, length, features)."""
        shape = self.model.input_shape[1:]
        self.model(np.zeros((1, *shape), dtype="float32"))  # export fails on an uncalled model
        with warnings.catch_warnings():
            # tf2onnx 1.17 still spells np.object; nothing a caller could act on
            warnings.simplefilter("ignore")
            self.model.export(str(path), format="onnx", verbose=False)
