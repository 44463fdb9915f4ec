"""The table of named model recipes: pure data, knows no Keras.

A layer is (kind, size, ...); a size may be a number or the name of a recipe field, so that a
setting or a search changes the network by changing a field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from contracts import UnknownRecipe

Layer = tuple[str | int | float, ...]

STACKED: tuple[Layer, ...] = (
    ("lstm", "lstm_units_1"),
    ("lstm", "lstm_units_2"),
    ("dense", "dense_units", "relu"),
    ("dropout", "dropout_rate"),
    ("dense", 1),
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
    loss: str = "mse"
    learning_rate: float = 0.001  # Adam
    batch_size: int = 32
    epochs: int = 50
    patience: int = 10  # epochs without a better validation loss before stopping
    lr_factor: float = 0.5  # learning-rate reduction on a plateau
    lr_patience: int = 5
    lr_floor: float = 1e-7
    train_test_split: float = 0.8
    validation_split: float = 0.1

    def size(self, value: str | int | float) -> float:
        """A layer's size: the number itself, or the field it names."""
        return float(getattr(self, value) if isinstance(value, str) else value)

    def as_dict(self) -> dict[str, Any]:
        """Every field as JSON knows it, for the run's parameters and the card."""
        return {**asdict(self), "layers": [list(layer) for layer in self.layers]}


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="mlops_64_64_32",
            description="Mid-price on a trailing MinMax, LSTM 64 + LSTM 64 + Dense 32, dropout 0.5",
        ),
    )
}


def find_recipe(name: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe by name, with fields replaced where `overrides` names them.

    Keys of `overrides` that are no recipe field are passed over: a whole set of settings may
    be handed in.

    Raises:
        UnknownRecipe: no such name.
    """
    if name not in RECIPES:
        raise UnknownRecipe(name, tuple(RECIPES))
    known = {f.name for f in fields(Recipe)} - {"name", "description", "layers"}
    return replace(RECIPES[name], **{k: v for k, v in (overrides or {}).items() if k in known})
