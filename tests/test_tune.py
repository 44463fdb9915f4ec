"""A search of a recipe's fields: its space, its draw, its kills, and what becomes of the best."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from builders import provenance
from mlflow import MlflowClient
from project import ROOT, Project

import search_trials
import tune
from contracts import BadSettings, Prices
from evaluation import prepare
from generate_synthetic_data import generate_synthetic_stock_data
from model_store import ModelStore
from recipes import FIXED, Recipe, find_recipe
from registry import Registry, experiment_name, model_name
from report import trials_page
from search_space import LIMITS, REFUSED, Between, OneOf, own_space, parse_space
from search_trials import explore
from trial_ledger import Ledger, Tried
from tune import Search, ask, results

RECIPE = find_recipe("tuned_lstm", {"epochs": 2, "unrollings": 10, "units": 4})
SPACE = """
units = { low = 3, high = 8 }
dropout_1 = { low = 0.1, high = 0.5 }
learning_rate = { low = 1e-4, high = 1e-2, log = true }
batch_size = { choices = [16, 32] }
lr_schedule = { choices = ["plateau", "step"] }
"""
COMMAND = ("tune.py", "DEMO", "--trials", "4", "--epochs", "2", "--space", "space.toml")
START = "2024-06-03"
TRAINED_LATER = generate_synthetic_stock_data("AAPL", "2020-01-01", "2026-06-30", 1300)


def drawn(space: str, trials: int, seed: int) -> list[dict]:
    """The configurations that are tried, whatever their losses."""
    found: list[dict] = []

    def judge(number: int, values: dict) -> float:
        assert number == len(found)
        found.append(values)
        return 1.0

    explore(parse_space(space, RECIPE), trials, seed, judge)
    return found


# What may be searched


def test_every_field_of_a_recipe_can_be_searched_or_says_why_not():
    parts = [set(LIMITS), set(REFUSED), FIXED]
    assert set().union(*parts) == {f.name for f in fields(Recipe)}
    assert sum(map(len, parts)) == len(fields(Recipe))


def test_a_space_may_name_ranges_steps_logs_and_choices():
    space = parse_space(SPACE + "unrollings = { low = 10, high = 30, step = 10 }", RECIPE)
    assert space["units"] == Between(low=3, high=8)
    assert space["learning_rate"] == Between(low=1e-4, high=1e-2, log=True)
    assert space["batch_size"] == OneOf((16, 32))
    assert space["unrollings"] == Between(low=10, high=30, step=10)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "names no field"),
        ("units = ", "not TOML"),
        ("unit = { low = 3, high = 8 }", "unit: no field of a recipe; choose of unrollings"),
        ("loss = { choices = ['mse', 'mae'] }", "loss: is what makes the recipe"),
        ("lstm_units_1 = { low = 3, high = 8 }", "no layer of recipe tuned_lstm has this size"),
        ("validation_split = { low = 0.1, high = 0.3 }", "cannot be compared"),
        ("window_size = { low = 100, high = 2500 }", "unit of the validation loss"),
        ("base_epochs = { low = 1, high = 3 }", "base of many tickers"),
        ("units = 3", "units: give { low, high }"),
        ("units = { low = 3 }", "units: give { low, high }"),
        ("units = { low = 3, high = 8, choices = [3, 4] }", "units: give { low, high }"),
        ("units = { low = 3.5, high = 8 }", "units: 3.5 is not a whole number"),
        ("units = { low = true, high = 8 }", "units: True is not a whole number"),
        ("units = { low = 8, high = 3 }", "units: low 8 is not below high 3"),
        ("units = { low = 0, high = 3 }", "units: 0 is not from 1 to 1024"),
        ("units = { low = 3, high = 8, step = 6 }", "units: step 6 is not above 0"),
        ("units = { low = 3, high = 8, step = 0 }", "units: step 0 is not above 0"),
        ("units = { choices = [4] }", "units: choices are a list of two or more"),
        ("units = { choices = [4, 4] }", "units: a choice is named twice"),
        ("units = { choices = [4, 'x'] }", "units: 'x' is not a whole number"),
        ("dropout_1 = { low = 0.1, high = 1.0 }", "dropout_1: 1.0 is not from 0 to 0.95"),
        ("dropout_1 = { low = nan, high = 0.5 }", "dropout_1: nan is not from"),
        ("dropout_1 = { low = 0.0, high = 0.5, log = true }", "dropout_1: log is"),
        ("lr_schedule = { low = 1, high = 2 }", "takes choices of plateau, step"),
        ("lr_schedule = { choices = ['step', 'none'] }", "'none' is none of plateau, step"),
    ],
)
def test_a_space_that_cannot_be_searched_is_one_clear_line(line, words):
    with pytest.raises(BadSettings) as caught:
        parse_space(line, RECIPE)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_network_that_starts_from_a_base_keeps_its_shape():
    panel = find_recipe("panel")
    with pytest.raises(BadSettings, match="weights of the base"):
        parse_space("dense_units = { low = 8, high = 32 }", panel)
    assert parse_space("dropout_rate = { low = 0.1, high = 0.5 }", panel)


def test_the_published_systems_space_is_its_recipes_own():
    assert own_space(find_recipe("tuned_lstm")) == {
        "units": Between(low=30, high=100),
        "dropout_1": Between(low=0.1, high=0.5),
        "dropout_2": Between(low=0.1, high=0.5),
    }
    with pytest.raises(BadSettings, match="--space FILE"):
        own_space(find_recipe("mlops_64_64_32"))


# What is drawn


def test_the_same_seed_draws_the_same_configurations_within_the_space():
    found = drawn(SPACE, 12, seed=0)
    assert found == drawn(SPACE, 12, seed=0)
    assert found[:5] == drawn(SPACE, 5, seed=0)  # more trials go on where fewer ended
    assert found != drawn(SPACE, 12, seed=1)
    assert all(3 <= v["units"] <= 8 and isinstance(v["units"], int) for v in found)
    assert all(1e-4 <= v["learning_rate"] <= 1e-2 for v in found)
    assert {v["lr_schedule"] for v in found} == {"plateau", "step"}


def test_no_configuration_is_drawn_twice_and_a_small_space_ends_early():
    found = drawn("units = { low = 3, high = 5 }", 50, seed=0)
    assert sorted(v["units"] for v in found) == [3, 4, 5]


def test_what_goes_wrong_in_a_trial_ends_the_search_under_its_own_name():
    def judge(number: int, values: dict) -> float:
        raise BadSettings("as it was said")

    with pytest.raises(BadSettings, match="as it was said"):
        explore(parse_space(SPACE, RECIPE), 3, 0, judge)


# What a trial is fitted to


def made_of(bars: pd.DataFrame) -> Prices:
    return Prices("AAPL", bars, provenance(source="synthetic"))


def test_no_length_of_input_is_chosen_by_sessions_it_is_later_tested_on(settings):
    space = parse_space("unrollings = { choices = [60, 10, 30] }", RECIPE)
    question = ask(made_of(TRAINED_LATER), settings, RECIPE, space)
    for length in (10, 30, 60):
        data = prepare(question.prices, settings, replace(RECIPE, unrollings=length))
        first_test = int(data.rows.last[data.split.test][0])
        assert question.parts.validation.stop <= first_test


def test_an_input_too_long_for_the_history_is_refused(settings):
    space = parse_space("unrollings = { low = 5, high = 250 }", RECIPE)
    with pytest.raises(BadSettings, match="250 sessions leave none to fit to"):
        ask(made_of(TRAINED_LATER.tail(300).reset_index(drop=True)), settings, RECIPE, space)


def test_another_question_begins_anew(settings):
    space = parse_space(SPACE, RECIPE)
    plain = ask(made_of(TRAINED_LATER), settings, RECIPE, space)
    other = Prices("AAPL", TRAINED_LATER, provenance(source="synthetic", sha256="1" * 64))
    changed = (
        replace(plain, prices=other),
        replace(plain, recipe=replace(RECIPE, epochs=3)),
        replace(plain, space={**space, "units": Between(low=3, high=9)}),
        replace(plain, settings=settings.model_copy(update={"seed": 7})),
    )
    assert len({plain.key, *(question.key for question in changed)}) == 5
    assert plain.key == ask(made_of(TRAINED_LATER), settings, RECIPE, space).key


# What is kept


def tried(number: int, *val_losses: float) -> Tried:
    losses = [1.0] * len(val_losses)
    return Tried(
        number=number, values={"units": 4 + number}, losses=losses, val_losses=[*val_losses]
    )


def test_a_ledger_gives_back_what_it_was_given_and_nothing_else(tmp_path):
    ledger, kept = Ledger(tmp_path / "search"), tried(3, 0.25, math.nan, 0.5)
    ledger.keep(kept)
    again = Ledger(tmp_path / "search")
    assert str(again.trial(3, {"units": 7})) == str(kept)
    assert again.trial(3, {"units": 8}) is None  # another configuration
    assert again.trial(2, {"units": 7}) is None
    assert again.search_id == ledger.search_id
    (tmp_path / "search" / "trial_0003.json").write_text('{"number": 3, "val')
    assert again.trial(3, {"units": 7}) is None  # a torn file counts for none


def test_a_diverged_trial_comes_last_and_is_not_drawn():
    table = results([tried(0, math.nan), tried(1, 0.5, 0.25), tried(2, 0.3)])
    assert [*table["trial"]] == [1, 2, 0]
    assert [*table[tune.OBJECTIVE]] == [0.25, 0.3, math.inf]
    page = trials_page(table.drop(columns="trial"), tune.OBJECTIVE, "three trials")
    assert "parcoords" in page
    assert "https://cdn" not in page.split("<script")[0]


@pytest.fixture
def registry(killed):
    return Registry(f"sqlite:///{killed.folder}/mlflow.db")  # making another takes seconds


def runs_of(client: MlflowClient, ticker: str) -> list:
    experiment = client.get_experiment_by_name(experiment_name(ticker))
    return client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])


def test_the_trials_of_a_base_recipe_start_from_the_base(settings, registry):
    panel = find_recipe("panel", {"epochs": 1})
    space = parse_space("learning_rate = { choices = [0.0001, 0.001] }", panel)
    question = ask(made_of(TRAINED_LATER), settings, panel, space)
    with registry.search("AAPL", "s1", question.described()) as parent:
        (found,) = Search(question, Ledger(settings.models_dir), registry, parent).run(1)
    assert question.base is not None
    assert math.isfinite(found.best)


def test_a_trial_that_was_kept_is_tracked_again_and_not_fitted_again(
    settings, registry, monkeypatch
):
    """As after a kill between the file of a trial and the end of its run, or in a new database."""
    question = ask(made_of(TRAINED_LATER), settings, RECIPE, parse_space(SPACE, RECIPE))
    ledger = Ledger(settings.models_dir)
    for number, values in enumerate(drawn(SPACE, 2, settings.seed)):
        ledger.keep(Tried(number=number, values=values, losses=[2.0, 1.0], val_losses=[0.4, 0.3]))
    monkeypatch.setattr(search_trials, "fit", lambda *_: pytest.fail("fitted again"))
    for _ in range(2):
        with registry.search("MSFT", "s2", {}) as parent:
            on_msft = Search(question, ledger, registry, parent)
            on_msft.ticker, on_msft.tracked = "MSFT", registry.finished_trials("MSFT", parent)
            assert [t.best for t in on_msft.run(2)] == [0.3, 0.3]
    client = registry._client
    search, *trials = runs_of(client, "MSFT")
    assert [run.info.run_name for run in trials] == ["MSFT_trial_0", "MSFT_trial_1"]
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {search.info.run_id}
    assert {run.info.status for run in (search, *trials)} == {"FINISHED"}
    history = client.get_metric_history(trials[0].info.run_id, "val_loss")
    assert [(row.step, row.value) for row in history] == [(0, 0.4), (1, 0.3)]


def test_only_one_process_searches_for_a_ticker(tmp_path):
    held = "import sys; from pathlib import Path; import tune\n"
    held += "with tune.alone(Path(sys.argv[1]), 'AAPL'): print('held', flush=True); input()"
    command = [sys.executable, "-c", held, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=-1, stdout=-1, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(BadSettings, match="another search for AAPL"),
            tune.alone(tmp_path, "AAPL"),
        ):
            pass
        holder.kill()
    with tune.alone(tmp_path, "AAPL"):  # a killed holder holds nothing
        pass


# The command, killed


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A search that was killed in its third trial, its folder as the kill left it."""
    folder = tmp_path_factory.mktemp("tuned")
    wish = {"STOCK_START_DATE": START, "STOCK_UNROLLINGS": "10", "STOCK_TICKERS": "DEMO"}
    project = Project(folder, {**wish, "STOCK_AS_OF": "2026-06-30"})
    (folder / "space.toml").write_text(SPACE)
    assert project.command("generate_synthetic_data.py", "DEMO", "--days", "500").returncode == 0
    search = subprocess.Popen(
        [sys.executable, str(ROOT / COMMAND[0]), *COMMAND[1:]],
        cwd=folder,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob("models/tuning/DEMO/*/trial_0001.json")):
        assert search.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    while "DEMO_trial_2" not in {run.info.run_name for run in runs_of(client, "DEMO")}:
        assert search.poll() is None
        assert time.monotonic() < deadline
    search.send_signal(signal.SIGKILL)
    search.wait()
    ledger = {p.name: p.read_text() for p in folder.glob("models/tuning/DEMO/*/trial_*.json")}
    return SimpleNamespace(project=project, folder=folder, client=client, ledger=ledger)


@pytest.fixture(scope="module")
def resumed(killed):
    left = [run.info.run_name for run in runs_of(killed.client, "DEMO") if is_open(run)]
    run = killed.project.command(*COMMAND)
    assert run.returncode == 0, run.stderr
    return SimpleNamespace(left=left, said=run.stdout, **vars(killed))


def is_open(run) -> bool:
    return run.info.status == "RUNNING"


def test_a_killed_search_goes_on_with_the_trials_it_has(resumed):
    files = {p.name: p for p in resumed.folder.glob("models/tuning/DEMO/*/trial_*.json")}
    assert sorted(resumed.ledger) == ["trial_0000.json", "trial_0001.json"]
    assert sorted(files) == [f"trial_000{n}.json" for n in range(4)]
    for name, before in resumed.ledger.items():
        assert files[name].read_text() == before
    found = [json.loads(files[name].read_text())["values"] for name in sorted(files)]
    assert found == drawn(SPACE, 4, seed=42)


def test_every_trial_has_one_run_that_ended_well_and_none_is_left_open(resumed):
    runs = runs_of(resumed.client, "DEMO")
    assert sorted(resumed.left) == ["DEMO_search", "DEMO_trial_2"]
    assert not [run.info.run_name for run in runs if is_open(run)]
    by_status = [(run.info.run_name, run.info.status) for run in runs]
    assert sorted(by_status) == [
        ("DEMO_search", "FINISHED"),
        ("DEMO_training", "FINISHED"),
        ("DEMO_trial_0", "FINISHED"),
        ("DEMO_trial_1", "FINISHED"),
        ("DEMO_trial_2", "FINISHED"),
        ("DEMO_trial_2", "KILLED"),
        ("DEMO_trial_3", "FINISHED"),
    ]
    (search,) = (run for run in runs if run.info.run_name == "DEMO_search")
    others = [run for run in runs if run is not search]
    assert {run.data.tags["mlflow.parentRunId"] for run in others} == {search.info.run_id}


def test_every_run_holds_its_fields_and_losses(resumed):
    for run in runs_of(resumed.client, "DEMO"):
        if "trial" in run.data.tags and run.info.status == "FINISHED":
            kept = json.loads(
                next(
                    resumed.folder.glob(f"models/tuning/*/*/trial_000{run.data.tags['trial']}.json")
                ).read_text()
            )
            assert run.data.params["units"] == str(kept["values"]["units"])
            history = resumed.client.get_metric_history(run.info.run_id, "val_loss")
            assert [row.value for row in history] == kept["val_losses"]
            assert run.data.metrics[tune.OBJECTIVE] == min(kept["val_losses"])


def test_the_best_configuration_went_through_the_gate(resumed):
    champion = ModelStore(resumed.folder / "models").champion("DEMO")
    tables = [json.loads(p.read_text()) for p in resumed.folder.glob("models/tuning/*/*/trial_*")]
    best = min(tables, key=lambda found: min(found["val_losses"]))
    recipe = champion.card.recipe
    assert {field: recipe[field] for field in best["values"]} == best["values"]
    assert (recipe["name"], recipe["epochs"], recipe["unrollings"]) == ("tuned_lstm", 2, 10)
    version = resumed.client.get_model_version_by_alias(model_name("DEMO"), "champion")
    (search,) = (r for r in runs_of(resumed.client, "DEMO") if r.info.run_name == "DEMO_search")
    assert search.data.tags["best_trial"] == str(best["number"])
    assert search.data.tags["model_version"] == str(version.version) == "1"
    assert "champion: first champion" in resumed.said


def test_the_table_and_the_plot_are_kept_with_the_search(resumed, monkeypatch):
    (search,) = (r for r in runs_of(resumed.client, "DEMO") if r.info.run_name == "DEMO_search")
    root = Path(search.info.artifact_uri.removeprefix("file://"))
    root = root if root.is_absolute() else resumed.folder / root
    table = pd.read_csv(root / "trials.csv")
    assert sorted(table["trial"]) == [0, 1, 2, 3]
    assert table[tune.OBJECTIVE].is_monotonic_increasing
    assert "parcoords" in (root / "trials.html").read_text()
    assert "best_val_loss" in resumed.said
    assert len(resumed.said.splitlines()) == 1 + 4 + 2


def test_a_search_that_has_ended_is_told_again_and_trains_nothing(
    resumed, settings, monkeypatch, capsys
):
    before = sorted(p.name for p in (resumed.folder / "models").glob("DEMO_lstm_*"))
    monkeypatch.chdir(resumed.folder)
    for name, value in resumed.project.settings.items():
        monkeypatch.setenv(name, value)
    assert tune.main([*COMMAND[1:]]) == 0
    said = capsys.readouterr().out
    assert said.startswith(resumed.said.rstrip())
    assert "nothing trained again" in said
    assert sorted(p.name for p in (resumed.folder / "models").glob("DEMO_lstm_*")) == before
    assert not [r for r in runs_of(resumed.client, "DEMO") if is_open(r)]


# The command, misused


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("../x",), "is not a ticker symbol"),
        (("AAPL", "--recipe", "none"), "no recipe is called"),
        (("AAPL", "--recipe", "panel"), "--space FILE"),
        (("AAPL", "--epochs", "0"), "STOCK_EPOCHS"),
        (("AAPL", "--space", "absent.toml"), "--space absent.toml"),
        (("AAPL", "--space", "wrong.toml"), "--space wrong.toml: units: low 8"),
        (("AAPL", "--epochs", "3", "--space", "epochs.toml"), "epochs.toml varies epochs"),
    ],
)
def test_a_known_mistake_is_exit_2_and_a_clear_line(settings, capsys, arguments, words):
    Path("wrong.toml").write_text("units = { low = 8, high = 3 }")
    Path("epochs.toml").write_text("epochs = { low = 1, high = 3 }")
    assert tune.main([*arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("trials", ["0", "-1", "many", "1001"])
def test_a_search_needs_a_number_of_trials(capsys, trials):
    with pytest.raises(SystemExit) as caught:
        tune.main(["AAPL", "--trials", trials])
    assert caught.value.code == 2
    assert "is not a number from 1 to 1000" in capsys.readouterr().err


def test_a_ticker_without_prices_is_exit_2(killed):
    run = killed.project.command("tune.py", "ZZZZQQ", STOCK_ALLOW_SYNTHETIC="false")
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
