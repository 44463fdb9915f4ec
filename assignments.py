"""Trainings before they are begun: prices, a recipe and the champion to beat, as a task.

Reads bases, each once for all, and may train one; knows no MLflow and no engine.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from base_training import base_for
from bases import PackedBase
from bundling import Assignment
from config import Settings
from contest import PackedChampion, packed, usable_champion
from contracts import Prices
from data_pipeline import training_bars
from evaluation import Prepared, prepare
from model_store import ModelStore
from recipes import Recipe

Kind = tuple[date, Recipe, bool, str]  # first test day, recipe, whether invented, adjustment


class Assignments:
    """Makes the tasks of one job."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._store = ModelStore(settings.models_dir)
        self._bases: dict[Kind, PackedBase | None] = {}

    def of(self, prices: Prices, recipe: Recipe) -> tuple[Assignment, Prepared]:
        """The task of one training, and its data as whoever records it needs them.

        Raises:
            NotEnoughHistory: too few bars for the recipe.
            NoBase: the recipe needs a base and there is none.
        """
        data = prepare(prices, self.settings, recipe)
        champion = self._champion(prices)
        begins = {self.settings.start_date} | ({champion.card.start_date} if champion else set())
        assignment = Assignment(
            # earlier ones need not travel
            prices=replace(prices, bars=training_bars(prices, min(begins))),
            recipe=recipe,
            seed=self.settings.seed,
            start_date=self.settings.start_date,
            base=self._base(data, recipe),
            champion=champion,
        )
        return assignment, data

    def _champion(self, prices: Prices) -> PackedChampion | None:
        champion = usable_champion(self._store, prices)
        return packed(champion, self.settings) if champion else None

    def _base(self, data: Prepared, recipe: Recipe) -> PackedBase | None:
        provenance = data.prices.provenance
        invented = provenance.source == "synthetic"
        kind = (data.first_test, recipe, invented, provenance.adjustment)
        if kind not in self._bases:
            base = base_for(data.first_test, recipe, self.settings, data.prices)
            self._bases[kind] = base.packed() if base else None
        return self._bases[kind]
