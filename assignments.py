"""Trainings before they are begun: prices and a recipe as a task, its base found once for all.

Reads bases and may train one; knows no MLflow and no engine.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from base_training import base_for
from bases import PackedBase
from bundling import Assignment
from config import Settings
from contracts import Prices
from evaluation import Prepared, prepare
from recipes import Recipe

Kind = tuple[date, Recipe, bool, str]  # first test day, recipe, whether invented, adjustment


class Assignments:
    """Makes the tasks of one job."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._bases: dict[Kind, PackedBase | None] = {}

    def of(self, prices: Prices, recipe: Recipe) -> tuple[Assignment, Prepared]:
        """The task of one training, and its data as whoever records it needs them.

        Raises:
            NotEnoughHistory: too few bars for the recipe.
            NoBase: the recipe needs a base and there is none.
        """
        data = prepare(prices, self.settings, recipe)
        assignment = Assignment(
            prices=replace(prices, bars=data.bars),  # earlier ones need not travel
            recipe=recipe,
            seed=self.settings.seed,
            start_date=self.settings.start_date,
            base=self._base(data, recipe),
        )
        return assignment, data

    def _base(self, data: Prepared, recipe: Recipe) -> PackedBase | None:
        provenance = data.prices.provenance
        invented = provenance.source == "synthetic"
        kind = (data.first_test, recipe, invented, provenance.adjustment)
        if kind not in self._bases:
            base = base_for(data.first_test, recipe, self.settings, data.prices)
            self._bases[kind] = base.packed() if base else None
        return self._bases[kind]
