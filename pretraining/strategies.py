"""How the fit of a base is spread over devices and machines, by TensorFlow's own strategies."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

# before TensorFlow, as in `model`
import curl_cffi  # noqa: F401
import tensorflow as tf

from contracts import BadSettings
from pretraining.batches import Deal

EXAMPLE = (
    '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


@dataclass(frozen=True, slots=True)
class Spread:
    """TensorFlow's strategy, and which of the workers this process is."""

    strategy: Any
    worker: int = 0
    workers: int = 1

    @property
    def replicas(self) -> int:
        """Copies of the network that learn together."""
        return int(self.strategy.num_replicas_in_sync)

    @property
    def deal(self) -> Deal:
        """The replicas of this worker."""
        own = self.replicas // self.workers
        return Deal(range(self.worker * own, (self.worker + 1) * own), self.replicas)

    def said_by_all(self, number: int) -> list[int]:
        """The number that each worker says, in the order of workers; waits for all of them."""
        if self.workers == 1:
            return [number]
        said = self.strategy.run(tf.function(lambda: tf.constant([number], tf.int64)))
        found = self.strategy.gather(said, axis=0).numpy().tolist()
        return [int(value) for value in found[:: self.replicas // self.workers]]


def open_spread(name: str) -> Spread:
    """The strategy called `name`; the first thing that a process may ask of TensorFlow.

    `none` leaves the choice of the one device to TensorFlow, `mirrored` takes all GPUs of this
    machine, `multi-worker` every device of each worker that TF_CONFIG names.

    Raises:
        BadSettings: no such strategy, or TF_CONFIG does not say who the workers are.
    """
    if name == "none":
        return Spread(tf.distribute.get_strategy())
    if name == "mirrored":
        return Spread(tf.distribute.MirroredStrategy())
    if name != "multi-worker":
        raise BadSettings(f"no strategy is called {name!r}; choose none, mirrored or multi-worker")
    worker, workers = _of_tf_config(os.environ.get("TF_CONFIG", ""))
    return Spread(tf.distribute.MultiWorkerMirroredStrategy(), worker, workers)


def _of_tf_config(text: str) -> tuple[int, int]:
    """Which worker this is, of how many."""
    try:
        said = json.loads(text)
        worker, workers = int(said["task"]["index"]), len(said["cluster"]["worker"])
        if said["task"]["type"] != "worker" or not 0 <= worker < workers:
            raise ValueError("task")
    except (ValueError, KeyError, TypeError) as error:
        raise BadSettings(
            f"--strategy multi-worker needs TF_CONFIG to name workers alone, such as {EXAMPLE}"
        ) from error
    return worker, workers
