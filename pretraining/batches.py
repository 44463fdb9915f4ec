"""Batches of windows in the order in which Keras' fit would take them, as a tf.data pipeline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

# before TensorFlow, as in `model`
import curl_cffi  # noqa: F401
import numpy as np
import tensorflow as tf

from pretraining.rows import Positions, WindowTable

AHEAD = 2  # batches read before they are asked for


@dataclass(frozen=True, slots=True)
class Deal:
    """Which replicas this process feeds, of how many."""

    mine: range
    replicas: int


def keras_order(count: int, seed: int) -> Positions:
    """The order in which `fit(shuffle=True)` of Keras goes over `count` rows, (count,).

    Keras 3 permutes positions by an operation inside a tf.data map whose random state begins
    anew with every iterator, so that each epoch sees the same batches. Every base was made so;
    the same operation at the same place in such a map gives the same permutation. Leaves
    TensorFlow's global seed at `seed`.
    """
    tf.random.set_seed(seed)
    shuffled = tf.data.Dataset.range(1).map(
        lambda _: tf.random.shuffle(tf.range(count, dtype=tf.int64))
    )
    return np.asarray(next(iter(shuffled)).numpy())


def dealt(order: Positions, batch: int, deal: Deal) -> list[Positions]:
    """What this process's replicas get of one epoch: per batch one part for each, in turn.

    Every replica gets as many rows: a batch that cannot be shared out evenly is filled up with
    its own first rows.
    """
    parts = []
    for begin in range(0, len(order), batch):
        rows = order[begin : begin + batch]
        even = np.resize(rows, math.ceil(len(rows) / deal.replicas) * deal.replicas)
        parts += [even[replica :: deal.replicas] for replica in deal.mine]
    return parts


def dataset(table: WindowTable, parts: list[Positions]) -> Any:
    """A tf.data pipeline of (x, y) for each part: read from disk while the last one is learnt."""

    def read(number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = table.windows(parts[int(number)])
        return found.x, found.y

    x, y = read(np.array(0))

    def batch(number: Any) -> Any:
        found = tf.numpy_function(read, [number], (tf.float32, tf.float32))
        return tuple(
            tf.ensure_shape(part, (None, *like.shape[1:]))
            for part, like in zip(found, (x, y), strict=True)
        )

    return tf.data.Dataset.range(len(parts)).map(batch).prefetch(AHEAD)
