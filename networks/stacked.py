"""Sequence networks of one form and many tickers as one graph: every weight has a leading axis B.

Nothing is summed over that axis, so a ticker's numbers are its own. What Keras does for one network
is done here for each: dropout, the loss, AdamW with its clipping and decay. On a GPU as on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from networks import DEGREES, WEIGHT_DECAY

FIRST, SECOND, SMALL = 0.9, 0.999, 1e-7  # Adam's betas and epsilon, Keras' defaults

Layer = tuple[str, float]  # lstm or dense with its units, or dropout with its rate
Tensors = list[Any]
State = tuple[Tensors, Tensors, Tensors, Any]  # weights, both moments, updates behind them (B,)


class Stack:
    """The graphs of one form; what they work on is handed in and handed out.

    Axes: B tickers, T positions, N rows, f inputs. The rows that count stand first.
    """

    def __init__(
        self, layers: Sequence[Layer], horizons: Sequence[int], burn_in: int, dtype: str = "float32"
    ) -> None:
        self.dtype = np.dtype(dtype)
        self._layers = tuple(layers)
        self._burn_in = burn_in
        self._share = tf.constant([step**-0.5 for step in horizons], dtype)
        self.update = tf.function(self._update, reduce_retracing=True)
        self.losses = tf.function(self._losses, reduce_retracing=True)

    def cast(self, rows: tuple[np.ndarray, ...]) -> tuple[Any, ...]:
        """Rows as tensors of this form's precision."""
        return tuple(tf.constant(side, self.dtype) for side in rows)

    def _losses(self, weights: Tensors, x: Any, y: Any, count: Any, seed: Any = None) -> Any:
        """Each ticker's loss, (B,): `model.correction_and_scale` of its rows.

        Args:
            weights: in the order of Keras' `get_weights`, each (B, ...).
            x: (B, T, N, f).
            y: (B, T - burn-in, N, horizons), NaN where not known.
            count: (B,), how many positions its mean is over.
            seed: (2,), of dropout; None without.
        """
        said = self._outputs(weights, x, seed)
        known = tf.cast(tf.math.is_finite(y), self.dtype)
        came = tf.where(known > 0, y, 0)
        move, log_scale = said[..., :1], tf.clip_by_value(said[..., 1:], -3.0, 3.0)
        square = tf.reduce_sum(tf.square(came[..., :1] - move) * known[..., :1], (1, 2, 3))
        error = (came - tf.stop_gradient(move) * self._share) * tf.exp(-log_scale)
        surprise = log_scale + (DEGREES + 1) / 2 * tf.math.log1p(error * error / DEGREES)
        unlikely = tf.reduce_sum(surprise * known, (1, 2, 3)) / self._share.shape[0]
        return tf.math.divide_no_nan(square + 0.5 * unlikely, count)

    def _outputs(self, weights: Tensors, x: Any, seed: Any) -> Any:
        *body, kernel, bias, skip_kernel, skip_bias = weights
        left, state = iter(body), x
        for place, (kind, size) in enumerate(self._layers):
            if kind == "lstm":
                state = lstm(state, next(left), next(left), next(left))
            elif kind == "dense":
                state = tf.tanh(_dense(state, next(left), next(left)))
            elif seed is not None and size > 0:
                state = state * self._kept(tf.shape(state)[1:], size, (seed, place))
        state, given = state[:, self._burn_in :], x[:, self._burn_in :]
        return _dense(state, kernel, bias) + _dense(given, skip_kernel, skip_bias)

    def _kept(self, shape: Any, rate: float, seeds: tuple[Any, int]) -> Any:
        """What dropout multiplies with: the same for every ticker, as one seed gives one by one."""
        seed, place = seeds
        drawn = tf.random.stateless_uniform(shape, seed + [place, 0], dtype=self.dtype)
        return tf.cast(drawn >= rate, self.dtype) / (1 - rate)

    def _update(
        self, state: State, rate: Any, rows: tuple[Any, Any, Any], seed: Any
    ) -> tuple[State, Any]:
        """One step of AdamW for every ticker that has rows; the others stay as they are.

        Args:
            state: as `tables` makes it.
            rate: (B,), learning rates.
            rows: x, y and count as `losses` takes them; a count of 0 is no rows.
            seed: of dropout.

        Returns:
            The state after it, and the losses before it, (B,).
        """
        weights, firsts, seconds, updates = state
        with tf.GradientTape() as tape:
            tape.watch(weights)
            losses = self._losses(weights, *rows, seed=seed)
        gradients = tape.gradient(losses, weights)
        learns = rows[2] > 0
        updates = updates + tf.cast(learns, self.dtype)
        pace = rate * tf.sqrt(1 - SECOND**updates) / (1 - FIRST**updates)
        stepped = [
            _adamw(part, (learns, rate, pace))
            for part in zip(weights, firsts, seconds, gradients, strict=True)
        ]
        new = [list(side) for side in zip(*stepped, strict=True)]
        return (new[0], new[1], new[2], updates), losses


def _adamw(part: tuple[Any, Any, Any, Any], steps: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """Keras' AdamW with clipnorm 1: one table of weights, its moments and gradient, (B, ...)."""
    weight, first, second, gradient = part
    axes = tuple(range(1, weight.shape.rank))
    learns, rate, pace = (tf.reshape(side, [-1] + [1] * len(axes)) for side in steps)
    norm = tf.sqrt(tf.reduce_sum(tf.square(gradient), axes, keepdims=True))
    gradient = gradient / tf.maximum(norm, 1)
    m = first + (gradient - first) * (1 - FIRST)
    v = second + (tf.square(gradient) - second) * (1 - SECOND)
    moved = weight * (1 - WEIGHT_DECAY * rate) - m * pace / (tf.sqrt(v) + SMALL)
    pairs = ((moved, weight), (m, first), (v, second))
    found = [tf.where(learns, new, old) for new, old in pairs]
    return found[0], found[1], found[2]


def _dense(x: Any, kernel: Any, bias: Any) -> Any:
    """(B, T, N, f) by (B, f, u) and (B, u)."""
    shape = tf.shape(x)
    flat = tf.reshape(x, [shape[0], shape[1] * shape[2], x.shape[3]])
    said = tf.matmul(flat, kernel) + bias[:, None]
    return tf.reshape(said, [shape[0], shape[1], shape[2], kernel.shape[2]])


@tf.custom_gradient  # type: ignore[untyped-decorator, unused-ignore]
def lstm(x: Any, kernel: Any, recurrent: Any, bias: Any) -> tuple[Any, Callable[..., Any]]:
    """Keras' LSTM of every ticker: (B, T, N, f) -> (B, T, N, u); gates i f c o, zeros first.

    Its gradient is written out: all positions' share of a weight is one product after the loop,
    where differentiating the loop would add it up position by position.
    """
    steps, units = tf.shape(x)[1], recurrent.shape[1]
    given = _by_position(_dense(x, kernel, bias))

    def step(at: Any, h: Any, c: Any, kept: Any) -> tuple[Any, Any, Any, Any]:
        i, f, g, o = _gates(given.read(at) + tf.matmul(h, recurrent))
        c = f * c + i * g
        h = o * tf.tanh(c)
        kept = tuple(side.write(at, v) for side, v in zip(kept, (i, f, g, o, c, h), strict=True))
        return at + 1, h, c, kept

    zero = tf.zeros([tf.shape(x)[0], tf.shape(x)[2], units], x.dtype)
    empty = tuple(tf.TensorArray(x.dtype, steps, clear_after_read=False) for _ in range(6))
    *_, kept = tf.while_loop(lambda at, *_: at < steps, step, (0, zero, zero, empty))
    said = tf.transpose(kept[-1].stack(), [1, 0, 2, 3])
    stacked = tuple(side.stack() for side in kept[:-1])

    def gradient(above: Any) -> tuple[Any, Any, Any, Any]:
        through = _through_time(_by_position(above), stacked, recurrent)
        return _of_products(through, x, said, (kernel, recurrent))

    return said, gradient


def _through_time(above: Any, stacked: tuple[Any, ...], recurrent: Any) -> Any:
    """The gradient of what goes into the gates, (T, B, N, 4u), from the last position back."""
    i, f, g, o, c = (_array(side) for side in stacked)
    steps, zero = tf.shape(stacked[0])[0], tf.zeros_like(stacked[0][0])

    def step(at: Any, dh: Any, dc: Any, found: Any) -> tuple[Any, Any, Any, Any]:
        tanh, before = tf.tanh(c.read(at)), tf.cond(at > 0, lambda: c.read(at - 1), lambda: zero)
        ii, ff, gg, oo = i.read(at), f.read(at), g.read(at), o.read(at)
        dh = dh + above.read(at)
        dc = dc + dh * oo * (1 - tanh * tanh)
        gates = (
            dc * gg * ii * (1 - ii),
            dc * before * ff * (1 - ff),
            dc * ii * (1 - gg * gg),
            dh * tanh * oo * (1 - oo),
        )
        dz = tf.concat(gates, -1)
        return at - 1, tf.matmul(dz, recurrent, transpose_b=True), dc * ff, found.write(at, dz)

    empty = tf.TensorArray(zero.dtype, steps)
    start = (steps - 1, zero, zero, empty)
    return tf.while_loop(lambda at, *_: at >= 0, step, start)[-1].stack()


def _of_products(
    through: Any, x: Any, said: Any, tables: tuple[Any, Any]
) -> tuple[Any, Any, Any, Any]:
    kernel, recurrent = tables
    shape = tf.shape(x)
    rows = [shape[0], shape[1] * shape[2]]
    dz = tf.reshape(tf.transpose(through, [1, 0, 2, 3]), [*rows, recurrent.shape[2]])
    before = tf.concat([tf.zeros_like(said[:, :1]), said[:, :-1]], 1)
    before = tf.reshape(before, [*rows, recurrent.shape[1]])
    given = tf.reshape(x, [*rows, kernel.shape[1]])
    return (
        tf.reshape(tf.matmul(dz, kernel, transpose_b=True), shape),
        tf.matmul(given, dz, transpose_a=True),
        tf.matmul(before, dz, transpose_a=True),
        tf.reduce_sum(dz, 1),
    )


def _gates(z: Any) -> tuple[Any, Any, Any, Any]:
    i, f, g, o = tf.split(z, 4, -1)
    return tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)


def _by_position(x: Any) -> Any:
    return _array(tf.transpose(x, [1, 0, 2, 3]))


def _array(values: Any) -> Any:
    found = tf.TensorArray(values.dtype, tf.shape(values)[0], clear_after_read=False)
    return found.unstack(values)


def tables(networks: Sequence[Sequence[np.ndarray]], dtype: Any) -> State:
    """B networks that have not been updated yet."""
    weights = [tf.constant(np.stack(side), dtype) for side in zip(*networks, strict=True)]
    zeros = [tf.zeros_like(side) for side in weights]
    return weights, zeros, zeros, tf.zeros([len(networks)], dtype)


def table(state: State, place: int) -> list[np.ndarray]:
    """The weights of one of them, as Keras takes them."""
    return [side[place].numpy() for side in state[0]]


def kept(state: State, places: np.ndarray) -> State:
    """Some of them, in that order."""
    found = tf.nest.map_structure(lambda side: tf.gather(side, places), state)
    return found[0], found[1], found[2], found[3]
