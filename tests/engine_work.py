"""Tasks that engines run in the tests, where workers can import them."""

from __future__ import annotations

import gc
import logging
import os
import signal
import time
from pathlib import Path

import numpy as np

from contracts import NoBase

log = logging.getLogger(__name__)


def square(key: str, number: float) -> dict[str, float]:
    return {"square": number * number}


def square_or_say_why(key: str, number: float) -> float:
    if number < 0:
        raise NoBase(f"{key} is negative; give a number above zero")
    return number / (number - 2)  # 2 is what nobody thought of


def nothing(key: str, number: float) -> None:
    return None


def who(key: str, seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def grumble(key: str, number: float) -> float:
    log.warning("odd key=%s number=%g", key, number)
    log.info("not worth telling")
    return number


def a_lock(key: str, number: float) -> object:
    import threading

    return threading.Lock()


def die(key: str, folder: str, times: int = 1) -> int:
    """Kill this very worker the first `times` times it is asked; every start leaves a file."""
    place = Path(folder)
    (place / f"{key}-{os.getpid()}-{time.monotonic_ns()}").touch()
    if key == "deadly" and len(list(place.glob("deadly-*"))) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return len(list(place.glob(f"{key}-*")))


class Fatal:
    """Kills whoever pickles it, the first time."""

    def __init__(self, folder: str) -> None:
        self.place = Path(folder) / "died"

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        if not self.place.exists():
            self.place.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return str, ("survived",)


def die_giving(key: str, folder: str) -> tuple[bytes, object]:
    """A large value with, for `late`, the end of the worker in it."""
    return bytes(10_000_000), Fatal(folder) if key == "late" else ""


def frozen(key: str, number: float) -> int:
    """Objects that this process's collections pass over."""
    return gc.get_freeze_count()


def surroundings(key: str, names: tuple[str, ...]) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in names}


def products(key: str, seed: int) -> bytes:
    """Sums whose last bits depend on how many threads share them."""
    rows = np.random.default_rng(seed).normal(size=(700, 700)).astype("float32")
    return np.linalg.solve(rows @ rows.T, rows[0]).tobytes()


def where(key: str, number: float) -> str:
    """The file that this process has the project's code from."""
    import engines

    return str(engines.__file__)


def start_and_end(key: str, folder: str, seconds: float = 0.2) -> str:
    """Every start leaves a file."""
    (Path(folder) / f"{key}-{os.getpid()}-{time.monotonic_ns()}").touch()
    time.sleep(seconds)
    return key


def descended(key: str, seed: int) -> bytes:
    """Weights after twenty steps down; with two threads TensorFlow's differ in their last bits."""
    import tensorflow as tf

    x = tf.random.stateless_normal((2048, 128), (seed, 1))
    y = tf.reduce_sum(x, axis=1, keepdims=True)
    shapes = ((128, 256), (256, 1))
    weights = [tf.Variable(0.05 * tf.random.stateless_normal(shape, (seed, 2))) for shape in shapes]
    for _ in range(20):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(tf.tanh(x @ weights[0]) @ weights[1] - y))
        for weight, slope in zip(weights, tape.gradient(loss, weights), strict=True):
            weight.assign_sub(0.05 * slope)
    return b"".join(weight.numpy().tobytes() for weight in weights)
