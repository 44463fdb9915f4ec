"""Walks of several tickers: the rows of one by one, kept through an interruption."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pandas as pd
import pytest
from kill_trainings import with_prices
from loop_project import placed

import backtest
import many_walks
import walkforward
from engines import EngineChoice
from forecasters import last_mid
from many_walks import Walks, walk_ticker
from recipes import find_recipe
from walkforward import Plan

HERE = EngineChoice(workers=1)
TICKERS = ("AAA", "BBB", "CCC")
SMALL = {"lstm_units_1": 3, "lstm_units_2": 3, "dense_units": 2, "unrollings": 10, "epochs": 1}
PLAN = Plan(
    start=date(2025, 11, 3), end=date(2025, 12, 15), steps=3, stride=5,
    recipe=find_recipe("lstm64_dense32", SMALL), champion=False, refit_every=None,
    seed=1, start_date=date(2020, 1, 1),
)  # fmt: skip


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return with_prices(placed(tmp_path, tickers=TICKERS, as_of="2025-12-31"))


@pytest.fixture
def unfitted(monkeypatch):
    """In place of a network the last mid, which takes no time."""
    monkeypatch.setattr(walkforward, "_fitted", lambda *_: ())
    monkeypatch.setattr(
        walkforward.forecasters,
        "lstm",
        lambda series, origins, steps, _: last_mid(series, origins, steps),
    )


def walked(walks: Walks) -> tuple[many_walks.WalkJob, list[str]]:
    """One run of the job; what it walked through."""
    walk_job = walks.job(rows=True)
    with walk_job.job:
        return walk_job, [*walk_job.run(HERE)]


def test_a_job_gives_the_rows_and_scores_of_a_walk_by_itself(settings):
    walks = Walks(("AAA", "BBB"), PLAN, settings)
    walk_job, _ = walked(walks)
    alone = walk_ticker("AAA", walks.asked("AAA"))
    rows, _ = walk_job.parts()
    pd.testing.assert_frame_equal(rows, alone.rows)
    assert dict(walk_job.scores())["AAA"] == alone.scores


def test_an_interrupted_walk_goes_on_where_it_was(settings, unfitted):
    walks = Walks(TICKERS, PLAN, settings)
    walk_job = walks.job(rows=True)
    with walk_job.job:
        assert next(walk_job.run(HERE)) == "AAA"  # and no more of it
    again, did = walked(walks)
    assert did == ["BBB", "CCC"]
    assert [part["ticker"].iloc[0] for part in again.parts()] == [*TICKERS]


def test_another_plan_begins_anew(settings, unfitted):
    walk_job = Walks(TICKERS, PLAN, settings).job(rows=True)
    with walk_job.job:
        next(walk_job.run(HERE))
    _, did = walked(Walks(TICKERS, replace(PLAN, stride=4), settings))
    assert did == [*TICKERS]


def test_damaged_rows_are_not_taken_for_whole_ones(settings, unfitted):
    walk_job, _ = walked(Walks(("AAA", "BBB"), PLAN, settings))
    part = next((walk_job.job.folder / many_walks.PARTS).glob("AAA*"))
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(many_walks.BadBundle, match="rows of AAA are missing or damaged"):
        next(walk_job.parts())


def test_the_command_writes_one_file_of_all_rows_and_names_what_failed(
    settings, unfitted, monkeypatch, capsys
):
    monkeypatch.setattr(backtest, "get_settings", lambda: settings)
    monkeypatch.setattr(many_walks, "refreshed", lambda *_: None)
    span = ("--start", "2025-11-03", "--end", "2025-12-15")
    given = ("AAA", "ZZZQ", "BBB", *span, "--forecasts", "rows.parquet", "--json", "scores.json")
    assert backtest.main([*given]) == 1
    said = capsys.readouterr()
    assert "backtest.py: failed: ZZZQ" in said.err
    assert "2 done, 1 failed" in said.out
    rows = pd.read_parquet("rows.parquet")
    assert [*rows["ticker"].unique()] == ["AAA", "BBB"]
    assert [*rows.index] == [*range(len(rows))]
    scores = json.loads((settings.models_dir.parent / "scores.json").read_text())
    assert [*scores["tickers"]] == ["AAA", "BBB"]
    assert scores["tickers"]["AAA"]["last_close"]["steps"]["1"]["rmse"] > 0


@pytest.mark.parametrize("count", [1, 3])
def test_scores_are_written_one_ticker_at_a_time_as_they_would_be_together(tmp_path, count):
    answer = {"plan": {"steps": 3}, "pooled": {"lstm": {"coverage_80": None}}}
    scores = {name: {"lstm": {"steps": {1: {"rmse": 0.5}}}} for name in TICKERS[:count]}
    backtest.write_json(tmp_path / "scores.json", answer, iter(scores.items()))
    together = json.dumps({**answer, "tickers": scores}, indent=2) + "\n"
    assert (tmp_path / "scores.json").read_text() == together
