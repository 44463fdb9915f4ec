"""The table of named model recipes: pure data, knows no Keras.

A layer is (kind, size, ...); a size may be a number or the name of a recipe field, so that a
setting or a search changes the network by changing a field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from contracts import Mode, Scaling, UnknownRecipe

Layer = tuple[str | int | float, ...]

STACKED: tuple[Layer, ...] = (
    ("lstm", "lstm_units_1"),
    ("lstm", "lstm_units_2"),
    ("dense", "dense_units", "relu"),
    ("dropout", "dropout_rate"),
    ("dense", 1),
)

# Of the published systems beside the specification's.
BATCHNORM: tuple[Layer, ...] = (
    *(("lstm", "units"), ("batchnorm", 0), ("dropout", "dropout_1")),
    *(("lstm", "units"), ("batchnorm", 0), ("dropout", "dropout_2")),
    ("dense", 1),
)
LINEAR_FIRST: tuple[Layer, ...] = (
    ("dense", "dense_units", "relu"),  # of each day by itself
    ("lstm", "units"),
    ("lstm", "units"),
    ("dropout", "dropout_1"),
    ("dense", 1),
)
PLAIN: tuple[Layer, ...] = (
    *(("lstm", "lstm_units_1"), ("lstm", "lstm_units_2"), ("dense", "dense_units"), ("dense", 1)),
)
TWO_DROPOUTS: tuple[Layer, ...] = (
    *(("lstm", "units"), ("dropout", "dropout_1")),
    *(("lstm", "units"), ("dropout", "dropout_2")),
    ("dense", 1),
)

# Trained to say something at every position; its output layer comes with the horizons.
SEQUENCE: tuple[Layer, ...] = (
    ("lstm", "lstm_units_1"),
    ("dropout", "dropout_rate"),
    ("lstm", "lstm_units_2"),
    ("dropout", "dropout_rate"),
    ("dense", "dense_units", "tanh"),
    ("dropout", "dropout_rate"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides what is trained, apart from the prices and the seed."""

    name: str
    description: str
    layers: tuple[Layer, ...] = STACKED
    unrollings: int = 50  # sessions the network sees
    window_size: int = 2500  # mids each MinMax looks back over
    lstm_units_1: int = 64
    lstm_units_2: int = 64
    dense_units: int = 32
    dropout_rate: float = 0.5
    units: int = 64  # for recipes with layers of one size
    dropout_1: float = 0.2
    dropout_2: float = 0.2
    scaling: Scaling = "minmax"  # of `minmax` inputs, each by its own trailing window
    inputs: Literal["minmax", "panel"] = "minmax"  # features.scaled_sequences, panel.panel_inputs
    mode: Mode = "recursive"
    horizons: tuple[int, ...] = (1,)  # steps ahead that the network speaks of
    loss: str = "mse"
    learning_rate: float = 0.001  # Adam
    batch_size: int = 32
    epochs: int = 50
    patience: int = 10  # epochs without a better validation loss before stopping
    lr_schedule: Literal["plateau", "step"] = "plateau"
    lr_step_epochs: int = 40  # of the step schedule: after so many, times `lr_step_factor`
    lr_step_factor: float = 0.1
    lr_factor: float = 0.5  # learning-rate reduction on a plateau
    lr_patience: int = 5
    lr_floor: float = 1e-7
    train_test_split: float = 0.8
    validation_split: float = 0.1
    # Of the base of many tickers, where there is one
    base_learning_rate: float = 0.001  # AdamW
    base_batch_size: int = 64
    base_epochs: int = 8
    base_least_updates: int = 300  # few tickers are gone over more often
    pool_weight: float = 0.0  # of the base's error quantiles in a ticker's bands

    @property
    def has_base(self) -> bool:
        """Whether it is trained on many tickers before it is fitted to one."""
        return self.inputs == "panel"

    @property
    def shape(self) -> dict[str, Any]:
        """What two networks must share for weights of one to fit the other."""
        names = ("layers", "lstm_units_1", "lstm_units_2", "dense_units", "inputs", "horizons")
        found = self.as_dict()
        return {name: found[name] for name in names}

    def size(self, value: str | int | float) -> float:
        """A layer's size: the number itself, or the field it names."""
        return float(getattr(self, value) if isinstance(value, str) else value)

    def as_dict(self) -> dict[str, Any]:
        """Every field as JSON knows it, for the run's parameters and the card."""
        return {
            **asdict(self),
            "layers": [list(layer) for layer in self.layers],
            "horizons": list(self.horizons),
        }


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="mlops_64_64_32",
            description="Mid-price on a trailing MinMax, LSTM 64 + LSTM 64 + Dense 32, dropout 0.5",
        ),
        Recipe(
            name="lstm50_batchnorm",
            description="Two blocks of LSTM 50 + BatchNormalization + Dropout 0.2, 60 sessions, "
            "split 70/15/15",
            layers=BATCHNORM,
            unrollings=60,
            units=50,
            train_test_split=0.85,
            validation_split=0.15 / 0.85,
        ),
        Recipe(
            name="linear_lstm_zscore",
            description="Z-scores, 20 sessions, Dense 32 relu + two LSTM 32 + Dropout 0.2, "
            "Adam 0.01 falling by steps",
            layers=LINEAR_FIRST,
            scaling="zscore",
            unrollings=20,
            units=32,
            learning_rate=0.01,
            batch_size=64,
            epochs=100,
            patience=100,
            lr_schedule="step",
        ),
        Recipe(
            name="lstm64_dense32",
            description="LSTM 64 + LSTM 64 + Dense 32 + Dense 1, no dropout",
            layers=PLAIN,
        ),
        Recipe(
            name="tuned_lstm",
            description="Two LSTM with dropouts, sizes as a search found them: 100, 0.3, 0.3",
            layers=TWO_DROPOUTS,
            units=100,
            dropout_1=0.3,
            dropout_2=0.3,
        ),
        Recipe(
            name="panel",
            description="Bars in volatility units, LSTM 64 + LSTM 64 + Dense 32 of many tickers, "
            "fitted to one; a shrunken correction to the last close, and its expected error",
            layers=SEQUENCE,
            inputs="panel",
            mode="direct",
            horizons=(1, 2, 3, 5, 10, 20, 30, 60, 90),
            loss="correction_and_scale",
            dropout_rate=0.3,
            learning_rate=0.0001,
            batch_size=16,
            epochs=6,
            patience=2,
            pool_weight=0.75,
        ),
    )
}


# What makes a recipe that recipe; no setting changes it.
FIXED = {"name", "description", "layers", "inputs", "scaling", "mode", "horizons", "loss"}


def find_recipe(name: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe by name, with fields replaced where `overrides` names them.

    Keys of `overrides` that are no recipe field are passed over: a whole set of settings may
    be handed in.

    Raises:
        UnknownRecipe: no such name.
    """
    if name not in RECIPES:
        raise UnknownRecipe(name, tuple(RECIPES))
    known = {f.name for f in fields(Recipe)} - FIXED
    return replace(RECIPES[name], **{k: v for k, v in (overrides or {}).items() if k in known})
