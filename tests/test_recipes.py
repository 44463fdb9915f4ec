"""The table of recipes is data: named, complete, overridable by field."""

import json

import pytest

from contracts import UnknownRecipe
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
