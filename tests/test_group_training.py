"""Several tickers trained as one task: each one's bundle is as if it had been trained by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from project import Project

from assignments import Assignments
from bundling import Assignment, train_ticker
from config import Settings
from contracts import NotEnoughHistory
from data_pipeline import StockDataPipeline
from group_training import train_group
from model_store import NETWORK, REFERENCE, TEMPLATES, WALK, WEIGHTS
from recipes import find_recipe

# every training row in one batch and no dropout: nothing is left to an order or a draw
RECIPE = find_recipe("panel", {"epochs": 2, "batch_size": 64, "dropout_rate": 0.0})
LATER = date(2025, 6, 2)  # the training ends with another session, and so has other rows


@pytest.fixture(scope="module")
def asked(real_data, tmp_path_factory) -> list[Assignment]:
    """Real prices, whole and cut, from a shipped base."""
    folder = tmp_path_factory.mktemp("group")
    file = str(real_data / "yahoo" / "AAPL.csv")
    done = Project(folder, {}).command("data_pipeline.py", "import", "AAPL", file)
    assert done.returncode == 0, done.stderr
    settings = Settings(data_dir=folder / "data", as_of="2025-12-31")
    prices = StockDataPipeline("AAPL", settings).read()
    early = prices.bars[prices.bars["Date"] < np.datetime64(LATER)].reset_index(drop=True)
    made = Assignments(settings)
    return [made.of(one, RECIPE)[0] for one in (prices, replace(prices, bars=early))]


@pytest.fixture(scope="module")
def together(asked):
    short = replace(asked[0], prices=replace(asked[0].prices, bars=asked[0].prices.bars[:40]))
    return train_group("both", [asked[0], short, asked[1]])


def test_a_ticker_that_cannot_be_trained_costs_only_itself(together):
    assert [type(one).__name__ for one in together] == ["Trained", "NotEnoughHistory", "Trained"]
    assert isinstance(together[1], NotEnoughHistory)


def test_each_bundle_is_whole_and_judged_on_its_own_sessions(asked, together):
    for one in (together[0], together[2]):
        assert {NETWORK, WEIGHTS, REFERENCE, TEMPLATES, WALK} <= set(one.files)
        assert one.card.parity < 1e-4
        assert len(one.epochs) == 2
    assert together[0].card.test.last > LATER > together[2].card.test.last


def test_a_ticker_ends_as_if_it_had_been_trained_by_itself(asked, together):
    alone = train_ticker("AAPL", asked[0])
    np.testing.assert_allclose(together[0].epochs, alone.epochs, rtol=1e-4)
    ours, theirs = (one.card.scores["lstm"]["rmse"] for one in (together[0], alone))
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert together[0].card.shrinkage == pytest.approx(alone.card.shrinkage, abs=1e-3)
