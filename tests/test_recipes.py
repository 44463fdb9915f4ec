"""The table of recipes is data: named, complete, overridable by field."""

import json

import pytest

from contracts import UnknownRecipe
from features import split_rows
from recipes import RECIPES, find_recipe


def test_the_specifications_recipe_has_the_specifications_numbers():
    recipe = find_recipe("mlops_64_64_32")
    sizes = [recipe.size(layer[1]) for layer in recipe.layers]
    assert [layer[0] for layer in recipe.layers] == ["lstm", "lstm", "dense", "dropout", "dense"]
    assert sizes == [64, 64, 32, 0.5, 1]
    assert (recipe.patience, recipe.lr_factor, recipe.lr_patience, recipe.lr_floor) == (
        10,
        0.5,
        5,
        1e-7,
    )


PUBLISHED = {  # name: kinds of layers, their numbers, sessions seen, parts of a hundred rows
    "lstm50_batchnorm": (
        "lstm batchnorm dropout lstm batchnorm dropout dense",
        [50, 0, 0.2, 50, 0, 0.2, 1],
        60,
        (70, 15, 15),
    ),
    "linear_lstm_zscore": ("dense lstm lstm dropout dense", [32, 32, 32, 0.2, 1], 20, (72, 8, 20)),
    "lstm64_dense32": ("lstm lstm dense dense", [64, 64, 32, 1], 50, (72, 8, 20)),
    "tuned_lstm": ("lstm dropout lstm dropout dense", [100, 0.3, 100, 0.3, 1], 50, (72, 8, 20)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_systems_recipe_has_its_numbers(name):
    recipe, (kinds, sizes, length, shares) = find_recipe(name), PUBLISHED[name]
    assert " ".join(str(layer[0]) for layer in recipe.layers) == kinds
    assert [recipe.size(layer[1]) for layer in recipe.layers] == sizes
    assert recipe.unrollings == length
    split = split_rows(100, recipe.train_test_split, recipe.validation_split)
    parts = (split.train, split.validation, split.test)
    assert tuple(part.stop - part.start for part in parts) == shares


def test_overrides_replace_fields_and_pass_over_what_is_no_field():
    recipe = find_recipe("mlops_64_64_32", {"lstm_units_1": 8, "data_dir": "x", "name": "other"})
    assert recipe.size("lstm_units_1") == 8
    assert recipe.name == "mlops_64_64_32"


def test_an_unknown_recipe_lists_the_known_ones():
    with pytest.raises(UnknownRecipe, match="mlops_64_64_32"):
        find_recipe("mlops_64")


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_every_recipe_survives_json_and_says_one_number_or_adds_its_own_output(recipe):
    assert recipe.has_base or recipe.size(recipe.layers[-1][1]) == 1
    assert json.loads(json.dumps(recipe.as_dict())) == recipe.as_dict() | {
        "layers": [list(layer) for layer in recipe.layers]
    }
