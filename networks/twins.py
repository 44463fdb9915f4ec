"""A compiled network that stands in for others of its recipe, so that its graphs are traced once.

Tracing the gradient of an LSTM takes longer than all epochs of a ticker. Whatever decides a result
is copied in before and out afterwards: weights, seeds of dropout, the optimizer's state.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from threading import RLock
from typing import Any

import keras
import numpy as np
import tensorflow as tf

Progress = list[np.ndarray]  # an optimizer's state


class Twin:
    """Lends the graphs of one compiled Keras model, to one borrower at a time."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._lock = RLock()
        network.optimizer.build(network.trainable_variables)
        self._unused = self._optimizer()

    @contextmanager
    def saying(self, borrower: Any) -> Iterator[Any]:
        """The twin with the borrower's weights; what it says is what the borrower would."""
        with self._lock:
            _copy(borrower.variables, self._network.variables)
            yield self._network

    @contextmanager
    def learning(self, borrower: Any, progress: Progress | None) -> Iterator[tuple[Any, Progress]]:
        """The twin as the borrower; what it learns, the borrower has learnt.

        Args:
            borrower: a Keras model of the same recipe.
            progress: its optimizer's state as an earlier call left it; None at first.

        Yields:
            The network to fit, and a list that holds the optimizer's state afterwards.
        """
        left: Progress = []
        with self.saying(borrower) as network:
            _copy(progress or self._unused, network.optimizer.variables)
            yield network, left
            _copy(network.variables, borrower.variables)
            left += self._optimizer()

    def outputs(self, borrower: Any, rows: np.ndarray) -> np.ndarray:
        """What the borrower says of rows, float32 (n, length, features), outside of training."""
        with self.saying(borrower):
            return np.asarray(self._forward(tf.constant(rows)))

    @cached_property
    def _forward(self) -> Any:
        """Traced once for any number of rows; Keras' own would be traced for two first."""
        rows = tf.TensorSpec((None, *self._network.input_shape[1:]), tf.float32)
        return tf.function(partial(self._network, training=False)).get_concrete_function(rows)

    def _optimizer(self) -> Progress:
        return [variable.numpy() for variable in self._network.optimizer.variables]


def _copy(source: Iterable[Any], target: Iterable[Any]) -> None:
    for value, variable in zip(source, target, strict=True):
        variable.assign(value)


def set_seed(seed: int) -> None:
    """As keras.utils.set_random_seed; but setting TensorFlow's seed makes it forget every graph it
    has optimised, so that one is left alone where it is the same already."""
    if tf.compat.v1.random.get_seed(1)[0] != seed:
        keras.utils.set_random_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the one that libraries share
