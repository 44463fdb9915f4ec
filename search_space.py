"""Which fields of a recipe a search may vary, and between what: text in, a checked space out.

Knows no Keras, no tuner and no file.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from contracts import BadSettings
from recipes import FIXED, Recipe

Value = int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """Numbers from `low` to `high`, both included; whole ones where both are."""

    low: float
    high: float
    step: float | None = None  # None: every whole number, or any number
    log: bool = False  # as likely between 0.001 and 0.01 as between 0.01 and 0.1


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of a few values of one kind."""

    choices: tuple[Value, ...]


Dimension = Between | OneOf
Space = Mapping[str, Dimension]  # by recipe field


@dataclass(frozen=True, slots=True)
class Limit:
    """What a field may hold."""

    kind: Literal["whole", "number", "word"]
    low: float = -math.inf
    high: float = math.inf
    words: tuple[str, ...] = ()


SIZE = Limit("whole", 1, 1024)
DROPPED = Limit("number", 0.0, 0.95)
FACTOR = Limit("number", 1e-6, 0.999)
LIMITS = {
    "unrollings": Limit("whole", 5, 250),
    **dict.fromkeys(("lstm_units_1", "lstm_units_2", "dense_units", "units"), SIZE),
    **dict.fromkeys(("dropout_rate", "dropout_1", "dropout_2"), DROPPED),
    "learning_rate": Limit("number", 1e-7, 1.0),
    "batch_size": Limit("whole", 1, 65536),
    "epochs": Limit("whole", 1, 10_000),
    "patience": Limit("whole", 1, 10_000),
    "lr_schedule": Limit("word", words=("plateau", "step")),
    "lr_step_epochs": Limit("whole", 1, 10_000),
    "lr_step_factor": FACTOR,
    "lr_factor": FACTOR,
    "lr_patience": Limit("whole", 0, 10_000),
    "lr_floor": Limit("number", 0.0, 1.0),
}
SIZES = {name for name, limit in LIMITS.items() if limit in (SIZE, DROPPED)}  # of layers

_SPLIT = "decides which sessions are validation, and trials on different ones cannot be compared"
_BASE = "is of the base of many tickers, which a search does not train"
REFUSED = {
    "train_test_split": _SPLIT,
    "validation_split": _SPLIT,
    "window_size": "sets the unit of the validation loss, and trials in different ones cannot be "
    "compared",
    "pool_weight": "moves the bands only, which the validation loss does not see",
    "base_learning_rate": _BASE,
    "base_batch_size": _BASE,
    "base_epochs": _BASE,
    "base_least_updates": _BASE,
}

# By recipe; of the published system whose sizes were searched.
OWN_SPACES: dict[str, Space] = {
    "tuned_lstm": {
        "units": Between(low=30, high=100),
        "dropout_1": Between(low=0.1, high=0.5),
        "dropout_2": Between(low=0.1, high=0.5),
    }
}


def own_space(recipe: Recipe) -> Space:
    """The space a recipe comes with.

    Raises:
        BadSettings: it has none.
    """
    if recipe.name not in OWN_SPACES:
        raise BadSettings(
            f"recipe {recipe.name} has no search space of its own; name one with --space FILE"
        )
    return OWN_SPACES[recipe.name]


def parse_space(text: str, recipe: Recipe) -> Space:
    """A space from TOML: one line `field = {low, high, step?, log?}` or `{choices}` a field.

    Args:
        text: such as `units = { low = 30, high = 100, step = 10 }`.
        recipe: what is to be searched.

    Raises:
        BadSettings: no TOML, or a field, type or range that cannot be searched; names it.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"not TOML: {error}") from error
    if not table:
        raise BadSettings("names no field; write for example units = { low = 30, high = 100 }")
    for field in table:
        _check_field(field, recipe)
    return {field: _dimension(field, wish) for field, wish in table.items()}


def _check_field(field: str, recipe: Recipe) -> None:
    known = {f.name for f in fields(Recipe)}
    if field not in known:
        raise BadSettings(f"{field}: no field of a recipe; choose of {', '.join(LIMITS)}")
    if field in FIXED:
        raise BadSettings(f"{field}: is what makes the recipe; choose another --recipe instead")
    if field in REFUSED or field not in LIMITS:
        raise BadSettings(f"{field}: {REFUSED.get(field, 'cannot be searched')}")
    if field in SIZES and all(field not in layer for layer in recipe.layers):
        raise BadSettings(f"{field}: no layer of recipe {recipe.name} has this size")
    if recipe.has_base and field in recipe.shape:
        raise BadSettings(
            f"{field}: changes the shape of the network, and the weights of the base that recipe "
            f"{recipe.name} starts from would not fit"
        )


def _dimension(field: str, wish: object) -> Dimension:
    if not isinstance(wish, dict) or not (
        set(wish) == {"choices"} or {"low", "high"} <= set(wish) <= {"low", "high", "step", "log"}
    ):
        raise BadSettings(
            f"{field}: give {{ low, high }} with step or log if wanted, or {{ choices }}; "
            f"found {wish!r}"
        )
    return _one_of(field, wish["choices"]) if "choices" in wish else _between(field, wish)


def _one_of(field: str, wish: object) -> OneOf:
    if not isinstance(wish, list) or len(wish) < 2:
        raise BadSettings(f"{field}: choices are a list of two or more values; found {wish!r}")
    found = tuple(_value(field, item) for item in wish)
    if len(set(found)) < len(found):
        raise BadSettings(f"{field}: a choice is named twice in {wish!r}")
    return OneOf(found)


def _between(field: str, wish: Mapping[str, Any]) -> Between:
    limit, log = LIMITS[field], wish.get("log", False)
    if limit.kind == "word":
        raise BadSettings(f"{field}: takes choices of {', '.join(limit.words)}, not a range")
    low, high = (float(_value(field, wish[end])) for end in ("low", "high"))
    if not low < high:
        raise BadSettings(f"{field}: low {low:g} is not below high {high:g}")
    if not isinstance(log, bool) or (log and (low <= 0 or "step" in wish)):
        raise BadSettings(f"{field}: log is true or false, of a range above 0 and without step")
    if "step" not in wish:
        return Between(low=low, high=high, log=log)
    step = _number(field, wish["step"])
    if not 0 < step <= high - low:
        raise BadSettings(f"{field}: step {step:g} is not above 0 and within {low:g} to {high:g}")
    return Between(low=low, high=high, step=step, log=log)


def _value(field: str, given: object) -> Value:
    limit = LIMITS[field]
    if limit.kind == "word":
        if given not in limit.words:
            raise BadSettings(f"{field}: {given!r} is none of {', '.join(limit.words)}")
        return str(given)
    number = _number(field, given)
    if not limit.low <= number <= limit.high:
        raise BadSettings(f"{field}: {given!r} is not from {limit.low:g} to {limit.high:g}")
    return number


def _number(field: str, given: object) -> int | float:
    whole = LIMITS[field].kind == "whole"
    if isinstance(given, bool) or not isinstance(given, int if whole else int | float):
        raise BadSettings(f"{field}: {given!r} is not a {'whole ' if whole else ''}number")
    return given if whole else float(given)


def is_whole(field: str) -> bool:
    """Whether a field counts something."""
    return LIMITS[field].kind == "whole"


def extremes(field: str, space: Space, unsearched: int) -> tuple[int, int]:
    """Smallest and largest value of a whole field; `unsearched` for both if it is not varied."""
    found = space.get(field)
    if found is None:
        return unsearched, unsearched
    if isinstance(found, Between):
        return int(found.low), int(found.high)
    numbers = [int(value) for value in found.choices]
    return min(numbers), max(numbers)
