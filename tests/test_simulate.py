"""A simulated month of real prices and real trainings: nothing is seen early, figures hold."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from loop_project import placed
from project import Project

from config import Settings
from forecast_log import ForecastLog
from model_store import ModelStore
from simulate import main
from simulation import Plan
from simulation_scores import KEPT, LAST_CLOSE, LOOP, SHOWN, Walked, gains

MONTH = ("--from", "2025-12-01", "--to", "2025-12-31")


def imported(folder: Path, real_data: Path, *tickers: str) -> Project:
    project = Project(folder, {"STOCK_TICKERS": " ".join(tickers), "STOCK_AS_OF": "2025-12-31"})
    for ticker in tickers:
        source = str(real_data / "yahoo" / f"{ticker}.csv")
        assert project.command("data_pipeline.py", "import", ticker, source).returncode == 0
    return project


@pytest.fixture(scope="module")
def project(tmp_path_factory, real_data) -> Project:
    return imported(tmp_path_factory.mktemp("around"), real_data, "AAPL")


@pytest.fixture(scope="module")
def printed(project) -> str:
    """What a month prints in which a training is also asked for every twelve sessions."""
    run = project.command("simulate.py", *MONTH, "--retrain-every", "12", "AAPL")
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture
def inside(project, printed) -> Settings:
    return placed(project.folder / "simulation")


@pytest.fixture
def promises(inside):
    log = ForecastLog(inside.database_url)
    found = log.promises("AAPL")
    log.close()
    return found


@pytest.fixture
def bars(real_data) -> pd.DataFrame:
    return pd.read_csv(real_data / "yahoo" / "AAPL.csv", parse_dates=["Date"])


@pytest.mark.real_data
def test_every_session_of_the_month_has_its_forecast(promises):
    plan = Plan(tickers=("AAPL",), first=date(2025, 12, 1), last=date(2025, 12, 31))
    assert tuple(promise.origin for promise in promises) == plan.sessions()
    assert len(promises) == 22


@pytest.mark.real_data
def test_no_forecast_was_made_by_a_model_that_had_seen_a_later_day(inside, promises):
    store = ModelStore(inside.models_dir)
    seen = {p.bundle: store.models_dir / p.bundle for p in promises}
    cards = {name: json.loads((path / "card.json").read_text()) for name, path in seen.items()}
    for promise in promises:
        assert date.fromisoformat(cards[promise.bundle]["trained_through"]) <= promise.origin


@pytest.mark.real_data
def test_trainings_go_through_the_gate_and_say_what_came_of_them(inside, printed):
    log = ForecastLog(inside.database_url)
    past = log.trainings("AAPL")
    log.close()
    (one,) = past
    assert one.reason == "the plan's, on 2025-12-16"
    assert "the champion" in one.outcome
    assert "2025-11-28  AAPL   promoted  version 1: first champion" in printed
    assert re.search(r"2025-12-16  AAPL   (promoted|refused ) +version 2: .*RMSE", printed)


@pytest.mark.real_data
def test_the_gain_over_the_last_close_is_that_of_the_promises(printed, promises, bars):
    """Step 1, by the loop anyone would write first."""
    ours = theirs = 0.0
    rows = {row.Date.date(): row for row in bars.itertuples()}
    for promise in promises[:-1]:
        now, then = rows[promise.origin], rows[promise.dates[0]]
        mid, came = (now.High + now.Low) / 2, (then.High + then.Low) / 2
        ours += ((promise.points[0] - came) / mid) ** 2
        theirs += ((now.Close - came) / mid) ** 2
    (line,) = re.findall(r"^last_close +1 +21 +(\S+)", printed, re.M)
    assert float(line) == pytest.approx((ours / theirs) ** 0.5, abs=1e-4)


@pytest.mark.real_data
def test_the_project_around_is_left_alone(project, printed):
    assert sorted(item.name for item in project.folder.iterdir()) == ["data", "simulation"]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "2025-12-31", "--to", "2025-12-01"), "is later than"),
        ((*MONTH, "--retrain-every", "-1"), "a number of sessions"),
        ((*MONTH, "--folder", "data"), "holds something else"),
        ((*MONTH, "IBM"), "IBM has no real prices here"),
        (("--from", "2026-01-02", "--to", "2026-01-30"), "no real prices through 2026-01-30"),
    ],
    ids=["order", "negative", "folder", "prices", "future"],
)
def test_bad_input_is_said_plainly(project, printed, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("STOCK_TICKERS", "AAPL")
    folder = () if "--folder" in arguments else ("--folder", "other")
    assert main([*arguments, *folder]) == 2
    assert said in capsys.readouterr().err


def test_a_walk_of_several_exchanges_visits_the_sessions_of_each():
    plan = Plan(tickers=("AAPL", "0700.HK"), first=date(2025, 12, 24), last=date(2025, 12, 29))
    days = [day.isoformat() for day in plan.sessions()]
    assert days == ["2025-12-24", "2025-12-26", "2025-12-29"]


def losses(scale: float, days: int = 60) -> np.ndarray:
    return scale * np.random.default_rng(1).uniform(0.5, 1.5, (days, 30))


def walk(ours: float, theirs: float) -> Walked:
    days = np.arange("2025-01-01", "2025-03-02", dtype="datetime64[D]")
    both = {LOOP: losses(ours), KEPT: losses(theirs), LAST_CLOSE: losses(theirs)}
    return Walked(days, both, both)


def test_equal_losses_are_no_gain():
    for gain in gains([walk(1.0, 1.0)]):
        assert (gain.rmse_ratio, gain.rmse_p, gain.crps_ratio, gain.crps_p) == (1.0, 1.0, 1.0, 1.0)


def test_a_quarter_of_the_squared_loss_is_half_the_rmse():
    found = gains([walk(1.0, 4.0)])
    assert [gain.step for gain in found] == [*SHOWN, *SHOWN]
    for gain in found:
        assert gain.rmse_ratio == pytest.approx(0.5)
        assert gain.crps_ratio == pytest.approx(0.25)
        assert gain.rmse_p < 0.001


def test_steps_without_an_outcome_are_left_out():
    one = walk(1.0, 1.0)
    for side in one.squared.values():
        side[:, 9:] = np.nan
    assert {gain.step for gain in gains([one])} == {1, 5}


@pytest.mark.long
@pytest.mark.real_data
def test_a_second_run_prints_the_same(project, printed):
    again = project.command(
        "simulate.py", *MONTH, "--retrain-every", "12", "--folder", "again", "AAPL"
    )
    assert again.stdout == printed


@pytest.mark.long
@pytest.mark.real_data
@pytest.mark.timeout(7200)
def test_a_year_of_three_tickers_closes_the_loop(tmp_path, real_data):
    tickers = ("AAPL", "GOOGL", "MSFT")
    project = imported(tmp_path, real_data, *tickers)
    run = project.command(
        "simulate.py", "--from", "2025-01-02", "--to", "2025-12-31", *tickers, seconds=7000
    )
    assert run.returncode == 0, run.stderr
    log = ForecastLog(placed(tmp_path / "simulation").database_url)
    for ticker in tickers:
        assert len(log.promises(ticker)) == 250
        assert log.performance(ticker).through == date(2025, 12, 31)
        assert log.trainings(ticker)
    log.close()
    assert "all 3 tickers" in run.stdout
    assert "failed 0" in run.stdout
