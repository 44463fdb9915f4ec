"""What `python train.py` makes of real AAPL prices by default, and what serves without it."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from project import ROOT, Project

from bases import read_base
from model_store import ModelStore, read_walk

SHIPPED = sorted(p for p in (ROOT / "pretrained").iterdir() if p.is_dir())
MIB = 2**20


def get(url: str) -> dict:
    with urllib.request.urlopen(url, timeout=30) as response:
        return json.load(response)


@pytest.fixture(scope="module")
def api(panel_project, real_data):
    source = str(real_data / "yahoo" / "IBM.csv")
    assert panel_project.command("data_pipeline.py", "import", "IBM", source).returncode == 0
    with panel_project.api() as url:
        yield url


@pytest.fixture(scope="module")
def answer(api):
    return get(f"{api}/predict?ticker=AAPL&steps=30")


@pytest.fixture(scope="module")
def champion(panel_project):
    return ModelStore(panel_project.folder / "models").champion("AAPL")


@pytest.mark.real_data
def test_the_default_model_corrects_the_last_close_and_says_how(answer):
    assert (answer["mode"], answer["cold_start"]) == ("direct", False)
    assert answer["model"]["recipe"] == "panel"
    prices = np.array(answer["prices"])
    assert np.ptp(prices) == 0  # one correction, carried on: a martingale has no path
    assert prices[0] == pytest.approx(answer["last_close"], rel=0.01)


@pytest.mark.real_data
def test_bands_hold_the_forecast_nest_and_widen(answer):
    inner, outer, prices = answer["intervals"]["80"], answer["intervals"]["95"], answer["prices"]
    for low, lower, price, upper, high in zip(
        outer["lower"], inner["lower"], prices, inner["upper"], outer["upper"], strict=True
    ):
        assert 0 < low < lower <= price <= upper < high
    width = np.subtract(inner["upper"], inner["lower"])
    assert width[29] > 3 * width[0]


@pytest.mark.real_data
def test_the_base_had_seen_nothing_of_the_days_it_is_judged_on(champion):
    card = champion.card
    assert card.base is not None and card.base.shipped
    assert card.base.trained_through < card.test.first
    assert "AAPL" not in read_base(ROOT / "pretrained" / card.base.name, shipped=True).card.tickers
    assert 0 <= card.shrinkage <= 1


@pytest.mark.real_data
def test_the_verdict_covers_points_and_bands(answer, champion):
    skill = answer["skill"]
    assert skill["rmse_ratio"] == pytest.approx(1.0, abs=0.02)
    assert 0.8 < skill["crps_ratio"] < 1.2
    assert 0 <= skill["crps_p_value"] <= 1
    assert champion.card.calibration.pooled == champion.card.recipe["pool_weight"]


@pytest.mark.real_data
def test_probabilities_agree_with_each_other_and_with_the_bands(api, answer):
    def chance(**asked: float) -> float:
        query = "&".join(f"{name}={value}" for name, value in asked.items())
        return get(f"{api}/probability?ticker=AAPL&steps=30&{query}")["probability"]

    band = answer["intervals"]["80"]
    level = answer["last_close"] * 1.05
    assert chance(above=level) + chance(below=level) == pytest.approx(1.0)
    assert chance(above=band["upper"][29]) == pytest.approx(0.1, abs=0.01)
    assert chance(below=band["lower"][29]) == pytest.approx(0.1, abs=0.01)
    assert chance(touch=level) >= chance(above=level)
    assert chance(above=level) > chance(above=level * 1.05)


@pytest.mark.real_data
def test_a_ticker_without_a_model_is_answered_by_the_base(api, panel_project):
    cold = get(f"{api}/predict?ticker=IBM&steps=5")
    assert (cold["cold_start"], cold["mode"], cold["data"]["source"]) == (True, "direct", "file")
    assert cold["model_path"] == "pretrained/2025-12-31"
    assert cold["model"]["trained_through"] == "2025-12-31" == cold["as_of"]
    assert cold["intervals"]["95"]["lower"][4] < cold["prices"][4] < cold["last_close"] * 1.02
    assert 0 < get(f"{api}/probability?ticker=IBM&steps=5&above=300")["probability"] < 1
    table = panel_project.command("predict.py", "IBM", "--steps", "2")
    assert "cold start" in table.stdout
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(f"{api}/models/IBM")


@pytest.mark.real_data
def test_a_cold_start_of_an_earlier_day_uses_an_earlier_base_or_none(panel_project, api):
    asked = ("predict.py", "IBM", "--steps", "2", "--json")
    then = json.loads(panel_project.command(*asked, STOCK_AS_OF="2025-06-30").stdout)
    assert then["model_path"] == "pretrained/2023-12-29"
    before = panel_project.command(*asked, STOCK_AS_OF="2022-06-30")
    assert before.returncode == 2
    assert "no trained model" in before.stderr


@pytest.mark.real_data
def test_the_run_can_be_compared_in_mlflow(panel_project):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{panel_project.folder}/mlflow.db")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert (
        run.data.tags.items() >= {"recipe": "panel", "mode": "direct", "base": "2023-12-29"}.items()
    )
    assert run.data.params.keys() >= {"data_sha256", "seed", "git_revision", "versions"}
    assert run.data.metrics.keys() >= {"crps_ratio", "crps_p_value", "rmse_ratio", "shrinkage"}


@pytest.mark.real_data
def test_the_specifications_calls_work_on_mids_alone(panel_project, champion):
    code = (
        "import json, numpy as np; from predict import StockPredictor;"
        f"p = StockPredictor('models/{champion.bundle}', 'AAPL');"
        "mids = 100 * np.exp(np.random.default_rng(0).normal(0, .01, 300).cumsum());"
        "raw, smooth = p.predict_and_smooth(mids, steps=7);"
        "count = p.predict_multi_step(raw * 0.5, 3).shape[0];"
        "print(json.dumps([raw.tolist(), smooth.tolist(), count]))"
    )
    run = panel_project.python(code)
    assert run.returncode == 0, run.stderr
    raw, smooth, count = json.loads(run.stdout)
    assert (len(raw), len(smooth), count) == (7, 7, 3)
    assert np.isfinite(raw).all()


@pytest.mark.real_data
def test_the_same_data_recipe_and_seed_give_the_same_numbers(panel_project, champion, tmp_path):
    shutil.copytree(panel_project.folder, tmp_path / "again")
    again = Project(tmp_path / "again", panel_project.settings)
    run = again.command("train.py", "AAPL")
    assert run.returncode == 0, run.stderr
    bundles = ModelStore(again.folder / "models")
    (folder,) = (p for p in bundles.models_dir.glob("AAPL_*") if p.name != champion.bundle)
    first, second = (json.loads((p / "card.json").read_text()) for p in (champion.path, folder))
    for name in ("scores", "calibration", "shrinkage", "parity", "recipe", "base"):
        assert first[name] == second[name]
    assert (folder / "templates.npy").read_bytes() == (champion.path / "templates.npy").read_bytes()
    assert "version 2" in run.stdout and "not worse than the champion" in run.stdout


@pytest.mark.long  # by the command; test_bases makes such a base in its own process
@pytest.mark.real_data
def test_a_day_before_every_shipped_base_trains_one_from_the_tickers_there_are(
    panel_project, tmp_path
):
    shutil.copytree(panel_project.folder / "data", tmp_path / "data")
    early = Project(
        tmp_path,
        {
            "STOCK_TICKERS": "AAPL",
            "STOCK_AS_OF": "2022-06-30",
            "STOCK_START_DATE": "2017-01-01",
            "STOCK_EPOCHS": "2",
            "STOCK_LSTM_UNITS_1": "8",
            "STOCK_LSTM_UNITS_2": "8",
            "STOCK_UNROLLINGS": "15",
        },
    )
    run = early.command("train.py", "AAPL")
    assert run.returncode == 0, run.stderr
    card = ModelStore(tmp_path / "models").champion("AAPL").card
    assert not card.base.shipped
    assert card.base.trained_through < card.test.first <= date(2022, 6, 30)
    assert "base trained here" in run.stdout


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda p: p.name)
def test_a_shipped_base_verifies_is_small_and_says_what_it_has_seen(folder: Path):
    base = read_base(folder, shipped=True)
    assert sum(p.stat().st_size for p in folder.iterdir()) < 2 * MIB
    assert folder.name == str(base.card.trained_through) == base.card.name
    assert len(base.card.calibration.quantiles) == 90
    assert not set(base.card.tickers) & set(base.card.held_out)
    named = (ROOT / "pretrained" / "tickers.txt").read_text().split("\n")
    listed = {word for line in named for word in line.split("#")[0].split()}
    assert {*base.card.tickers, *base.card.held_out} <= listed
    assert not listed & {"AAPL", "GOOGL", "MSFT", "IBM"}  # what the documentation shows


def test_two_bases_are_shipped():
    assert [p.name for p in SHIPPED] == ["2023-12-29", "2025-12-31"]


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda p: p.name)
def test_a_shipped_bases_weights_and_onnx_are_one_network(folder: Path):
    from model import LSTMStockModel
    from recipes import find_recipe

    base = read_base(folder, shipped=True)
    network = LSTMStockModel(find_recipe("panel"))
    network.load(base.weights)
    network.shrink(base.card.shrinkage)
    x = np.random.default_rng(0).normal(0, 1, (20, 50, 8))
    np.testing.assert_allclose(base.model().network.run(x), network.outputs(x), atol=1e-5)


@pytest.mark.real_data
def test_the_table_by_step_says_what_the_card_says(champion):
    walk = read_walk(champion.path)
    rows = {(row.model, row.step): row for row in walk.scores}
    assert walk.origins >= 200 and walk.first_origin >= champion.card.test.first - timedelta(days=7)
    # the same test origins but for the last thirty, whose outcomes are not all known
    assert rows["lstm", 1].rmse_ratio == pytest.approx(champion.card.skill.rmse_ratio, abs=0.02)
    ratios = [rows["lstm", step].crps_ratio for step in walk.steps]
    assert min(ratios) < champion.card.skill.crps_ratio < max(ratios)
    assert all(0.65 < rows["lstm", step].coverage_80 < 0.95 for step in walk.steps)
