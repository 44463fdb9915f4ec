"""One open run, and all that a training has to say.

Takes a client that `registry` has opened.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracking.trainings import Logged, log_training

BUNDLE = "bundle"  # the artifact folder of a run's bundle


class TrainingRun:
    """One open MLflow run; everything a training has to say goes through it."""

    def __init__(self, client: Any, run_id: str) -> None:
        self._client = client
        self.run_id = run_id

    def log_epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        """Metrics of one epoch, such as `train_loss` and `val_loss`."""
        self.log_metrics(values, step=epoch)

    def log_metrics(self, values: Mapping[str, float | None], step: int = 0) -> None:
        """Metrics of the whole run; undefined ones (None) are left out."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        rows = [Metric(name, float(v), now, step) for name, v in values.items() if v is not None]
        self._client.log_batch(self.run_id, metrics=rows)

    def log_training(self, logged: Logged) -> None:
        """Everything about a finished training but its bundle, in a few calls."""
        log_training(self._client, self.run_id, logged)

    def log_figure(self, figure: Any, name: str) -> None:
        """A Matplotlib figure as an artifact."""
        self._client.log_figure(self.run_id, figure, name)

    def log_text(self, text: str, name: str) -> None:
        """A table or a page as an artifact."""
        self._client.log_text(self.run_id, text, name)

    def log_bundle(self, folder: Path) -> None:
        """The whole bundle as the artifact folder `bundle`."""
        self._client.log_artifacts(self.run_id, str(folder), BUNDLE)

    def log_keras_model(self, network: Any) -> str:
        """The Keras model by MLflow's own flavour, for people; serving never loads it.

        To be called before any metric is logged: MLflow copies those that are there one by one, as
        rows that its database refuses as duplicates.

        Returns:
            The id of MLflow's model; metrics logged with it are the model's too.
        """
        import mlflow

        with mlflow.start_run(self.run_id, nested=True):
            # named here, or MLflow imports the model in a second process to find out
            made = mlflow.keras.log_model(
                network, name="keras_model", pip_requirements=["tensorflow", "keras"]
            )
        self._client.update_run(self.run_id, status="RUNNING")  # leaving the block ended it
        return str(made.model_id)

    def tag(self, **tags: str) -> None:
        """Tags that make runs comparable in the UI."""
        from mlflow.entities import RunTag

        rows = [RunTag(name, value) for name, value in tags.items()]
        self._client.log_batch(self.run_id, tags=rows)
