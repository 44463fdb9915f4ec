"""The walk-forward command on real prices, and that no later price can reach a row."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from project import Project

from scorecard import ROW_COLUMNS

pytestmark = pytest.mark.real_data
WALK = ("AAPL", "--start", "2025-06-02", "--end", "2025-12-31", "--stride", "10")


@pytest.fixture(scope="module")
def walked(trained_project, tmp_path_factory):
    out = tmp_path_factory.mktemp("walk")
    run = trained_project.command(
        "backtest.py",
        *WALK,
        *("--epochs", "1", "--no-refit"),
        *("--forecasts", str(out / "rows.parquet"), "--json", str(out / "scores.json")),
        *("--report", str(out / "report.html")),
    )
    assert run.returncode == 0, run.stderr
    return run, out


@pytest.fixture(scope="module")
def rows(walked):
    return pd.read_parquet(walked[1] / "rows.parquet")


def test_every_model_answers_the_same_questions(rows):
    assert list(rows.columns) == list(ROW_COLUMNS)
    assert set(rows["model"]) == {"lstm", "arima", "last_mid", "last_close", "drift"}
    asked = rows.groupby("model")[["origin", "step"]].apply(lambda r: set(map(tuple, r.to_numpy())))
    assert all(questions == asked["lstm"] for questions in asked)
    assert rows["step"].max() == 30


def test_outcomes_are_the_real_mid_prices(rows, real_data):
    bars = pd.read_csv(real_data / "yahoo" / "AAPL.csv", parse_dates=["Date"])
    mids = ((bars["High"] + bars["Low"]) / 2).set_axis(bars["Date"])
    np.testing.assert_allclose(rows["actual"], mids.reindex(rows["date"]).to_numpy())
    one = rows[(rows["model"] == "last_mid") & (rows["step"] == 1)]
    np.testing.assert_allclose(one["point"], mids.reindex(one["origin"]).to_numpy())


def test_the_scores_can_be_recomputed_from_the_rows(rows, walked):
    scores = json.loads((walked[1] / "scores.json").read_text())
    for model, found in scores["tickers"]["AAPL"].items():
        own = rows[(rows["model"] == model) & (rows["step"] == 1)]
        rmse = float(np.sqrt(np.mean((own["point"] - own["actual"]) ** 2)))
        assert found["steps"]["1"]["rmse"] == pytest.approx(rmse)
        inside = rows[rows["model"] == model].eval("lower_80 <= actual <= upper_80").mean()
        assert found["overall"]["coverage_80"] == pytest.approx(inside)


def test_the_table_and_the_page_show_every_model(walked):
    run, out = walked
    page = (out / "report.html").read_text()
    for model in ("lstm", "arima", "last_mid", "last_close", "drift"):
        assert f"AAPL     {model}" in run.stdout
        assert model in page
    assert "https://cdn" not in page.split("<script")[0]


@pytest.mark.long  # rows of a second process are held against the first's below, in part
def test_the_same_walk_gives_the_same_rows(walked, trained_project, rows, tmp_path):
    again = trained_project.command(
        "backtest.py", *WALK, "--epochs", "1", "--no-refit", "--forecasts", str(tmp_path / "r")
    )
    assert again.returncode == 0, again.stderr
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "r"), rows)


def test_prices_after_an_origin_cannot_change_its_row(walked, trained_project, rows, tmp_path):
    """Rewrite the cache from October on: what was forecast in August stays bit for bit."""
    import shutil

    shutil.copytree(trained_project.folder, tmp_path / "copy")
    copy = Project(tmp_path / "copy", trained_project.settings)
    path = copy.folder / "data" / "raw" / "AAPL_raw.csv"
    bars = pd.read_csv(path)
    later = bars["Date"] > "2025-10-01"
    for column in ("Open", "High", "Low", "Close", "Adj Close"):
        bars.loc[later, column] = bars.loc[later, column] * 1.3
    bars.to_csv(tmp_path / "tampered.csv", index=False)
    source = ("import", "AAPL", str(tmp_path / "tampered.csv"), "--adjustment", "split")
    imported = copy.command("data_pipeline.py", *source)
    assert imported.returncode == 0, imported.stderr
    walked_again = copy.command(
        "backtest.py", *WALK, "--epochs", "1", "--no-refit", "--forecasts", str(tmp_path / "r")
    )
    assert walked_again.returncode == 0, walked_again.stderr
    before = [column for column in ROW_COLUMNS if column != "actual"]
    early = rows["origin"] <= "2025-10-01"
    altered = pd.read_parquet(tmp_path / "r")
    pd.testing.assert_frame_equal(altered.loc[early, before], rows.loc[early, before])
    changed = altered.loc[~early, "point"].to_numpy() != rows.loc[~early, "point"].to_numpy()
    assert changed.any()


def test_a_champion_that_has_seen_the_origins_is_refused(trained_project):
    run = trained_project.command("backtest.py", *WALK, "--champion")
    assert run.returncode == 2
    assert "has seen prices through 2025-12-31" in run.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--start", "2025-12-31", "--end", "2025-01-02"), "is later than"),
        (("--start", "2031-01-02", "--end", "2031-02-02"), "sessions from 2031"),
        (("--start", "2020-02-03", "--end", "2020-03-02"), "are needed"),
        (("--start", "soon", "--end", "2025-03-02"), "invalid"),
    ],
)
def test_a_walk_that_cannot_be_is_one_clear_line(trained_project, flags, words):
    run = trained_project.command("backtest.py", "AAPL", *flags)
    assert run.returncode == 2
    assert words in run.stderr
    assert "Traceback" not in run.stderr
