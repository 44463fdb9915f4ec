"""Published systems: their leaking scales, the arithmetic of their figures, resume, the page."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from builders import card

import published
import train
from as_published import ONLY
from config import Settings
from contracts import BadPrices
from data_pipeline import import_file, invent_file
from features import normalise
from generate_synthetic_data import Wish
from metrics import mse
from model_store import CARD, NETWORK, ModelStore, card_json
from published import SPACE, Bench, Task, gather, searched, tasks_of
from published_doc import spread, table, write_document
from published_fits import block_minmax, cut, trailing_minmax, whole_minmax, whole_zscore
from published_reasons import REASONS, Section, reasons
from published_sums import (
    batch_factor,
    batch_loss,
    can_both_be,
    least_largest_error,
    least_rows,
    not_inverted,
)
from published_systems import SYSTEMS, Series, Source, read_series
from recipes import find_recipe
from registry import Registry

AT = datetime(2026, 1, 17, 22, 52, 54, tzinfo=UTC)
SHORT = 140  # sessions of an invented series: enough for sequences of 60 and three parts


def walk(count: int, seed: int = 0) -> np.ndarray:
    return 100 * np.exp(np.random.default_rng(seed).normal(0, 0.02, count).cumsum())


def series(count: int = SHORT) -> Series:
    days = pd.bdate_range("2016-06-01", periods=count).to_numpy()
    return Series(days, walk(count), walk(count) * 1.001)


# --- the leaking scales -----------------------------------------------------------------------


@pytest.mark.parametrize(("count", "block"), [(10, 4), (12, 4), (3, 4), (7, 1)])
def test_every_block_is_scaled_by_its_own_extremes(count, block):
    values = walk(count)
    lo, hi = block_minmax(values, block)
    for i in range(count):
        mates = [values[j] for j in range(count) if j // block == i // block]
        assert (lo[i], hi[i]) == (min(mates), max(mates))


def test_a_trailing_scale_is_that_of_the_values_so_far():
    values = walk(60)
    lo, hi = trailing_minmax(values)
    assert lo.tolist() == [values[: i + 1].min() for i in range(60)]
    assert hi.tolist() == [values[: i + 1].max() for i in range(60)]


def test_a_reading_changes_what_it_names_and_nothing_else(bench):
    system = free_of_dates("mlops_64_64_32")
    assert system.rescaled == ("trailing",)
    assert system.read_as("trailing") == replace(system, scaler="trailing_minmax")
    assert system.read_as("causal") == system
    asked = Task(system, system.sources[0], "trailing", 42)
    write_table(bench.data / system.sources[0].file)
    found = bench.do(asked)
    lot = cut(read_series(bench.data, system.sources[0]), asked.read, asked.recipe(1))
    repeated = lot.series.values[lot.first - 1 : -1]
    assert found["last_price_mse"] == lot.scores(repeated)["mse"]


def test_whole_scales_match_the_obvious_formulas():
    values = walk(50)
    ranged = [(v - min(values)) / (max(values) - min(values)) for v in values]
    spread_out = [
        (v - np.mean(values)) / np.sqrt(np.mean((values - np.mean(values)) ** 2)) for v in values
    ]
    np.testing.assert_allclose(normalise(values, *whole_minmax(values)), ranged)
    np.testing.assert_allclose(normalise(values, *whole_zscore(values)), spread_out)


@pytest.mark.parametrize("scaler", [block_minmax, whole_minmax, whole_zscore])
def test_the_published_scales_do_leak(scaler):
    values = walk(60)
    later = np.append(values[:-1], 1e6)
    assert not np.array_equal(
        normalise(values, *scaler(values))[:30], normalise(later, *scaler(later))[:30]
    )


@pytest.mark.parametrize("name", SYSTEMS)
def test_both_forms_are_of_the_same_rows(name):
    system, recipe, data = SYSTEMS[name], find_recipe(name), series(300)
    lot = cut(data, system, recipe)
    targets = data.values[recipe.unrollings :]
    lo, hi = (bound[recipe.unrollings :] for bound in lot.bounds)
    np.testing.assert_allclose(lot.y * (hi - lo) + lo, targets)
    causal = lot.causal.y * (lot.causal.hi - lot.causal.lo) + lot.causal.lo
    np.testing.assert_allclose(causal, targets)
    assert lot.first == recipe.unrollings + lot.split.test.start


def test_a_system_may_be_judged_from_a_day_on():
    system = replace(SYSTEMS["tuned_lstm"], test_from="2017-03-01")
    lot = cut(series(300), system, find_recipe("tuned_lstm"))
    assert lot.series.days[lot.first] == np.datetime64("2017-03-01")
    assert lot.series.days[lot.first - 1] < np.datetime64("2017-03-01")


def test_scores_are_on_the_published_scale_of_the_target():
    lot = cut(series(300), SYSTEMS["lstm64_dense32"], find_recipe("lstm64_dense32"))
    span = lot.series.values.max() - lot.series.values.min()
    actual = lot.series.values[lot.first :]
    found = lot.scores(actual + 3.0)
    assert found["mse"] == pytest.approx((3 / span) ** 2)
    assert found["mae"] == pytest.approx(3 / span)
    assert found["rmse"] == pytest.approx(3.0)
    assert found["direction_spec"] == 1.0  # a constant error is never punished in that form


# --- the arithmetic of what was published -----------------------------------------------------


def test_the_batch_loss_is_what_the_published_loop_adds_up():
    errors, total = walk(10) - 100, 0.0
    for batch in (errors[:4], errors[4:8], errors[8:]):
        mean_square = sum(e**2 for e in batch) / len(batch)
        total += mean_square / len(batch)
    assert batch_loss(errors, 4) == pytest.approx(total)


@pytest.mark.parametrize(("rows", "batch"), [(8, 4), (10, 4), (3, 4)])
def test_the_batch_factor_is_the_mean_over_shuffled_rows(rows, batch):
    errors, draw = walk(rows) - 100, np.random.default_rng(1)
    losses = [batch_loss(draw.permutation(errors), batch) for _ in range(20_000)]
    expected = np.mean(errors**2) * batch_factor(rows, batch)
    assert np.mean(losses) == pytest.approx(expected, rel=0.02)


def test_equal_errors_have_the_factor_exactly():
    assert batch_loss(np.full(10, 0.5), 4) == pytest.approx(0.25 * batch_factor(10, 4))


def test_the_bounds_hold_for_any_errors_and_are_met_by_one_single_error():
    for seed in range(50):
        errors = np.random.default_rng(seed).normal(size=20)
        square, absolute = np.mean(errors**2), np.mean(np.abs(errors))
        assert np.abs(errors).max() >= least_largest_error(square, absolute) - 1e-12
        assert least_rows(square, absolute) <= 20
    single = np.array([0.0] * 19 + [0.8])
    square, absolute = np.mean(single**2), np.mean(single)
    assert least_largest_error(square, absolute) == pytest.approx(0.8)
    assert square / absolute**2 == pytest.approx(20)


def test_the_published_pair_is_impossible_and_its_exchange_is_not():
    given = SYSTEMS["lstm50_batchnorm"].published["AAPL"]
    assert not can_both_be(given["mse"], given["mae"], 1.0)
    assert can_both_be(given["mae"], given["mse"], 1.0)
    assert least_largest_error(given["mse"], given["mae"]) == pytest.approx(10.88, abs=0.01)
    assert least_rows(given["mse"], given["mae"]) == 1619


def test_forecasts_left_on_their_scale_miss_by_the_price_itself():
    actual = np.array([150.0, 160.0, 155.0, 145.0])
    scaled = (actual - 70) / 140
    wrong = not_inverted(scaled, actual)
    assert wrong["mae"] == pytest.approx(np.mean(actual - scaled))
    assert wrong["mse"] == pytest.approx(wrong["rmse"] ** 2)
    assert wrong["r2"] == pytest.approx(1 - np.mean((actual - scaled) ** 2) / actual.var())
    assert wrong["r2"] < -100
    assert not_inverted(actual, actual)["r2"] == 1.0


@pytest.mark.real_data
def test_the_published_scores_are_those_of_2017s_highs_and_a_number_near_zero(real_data):
    system = SYSTEMS["tuned_lstm"]
    lot = cut(read_series(real_data, system.sources[0]), system, find_recipe(system.recipe))
    actual, given = lot.series.values[lot.first :], system.published["IBM"]
    near_zero = actual.mean() - given["unscaled_mae"]
    found = not_inverted(np.full(len(actual), near_zero), actual)
    assert round(found["r2"], 1) == given["unscaled_r2"]
    assert 0 < near_zero < 1


@pytest.mark.real_data
def test_the_published_loss_is_the_last_prices_in_its_own_formula(real_data):
    system = SYSTEMS["linear_lstm_zscore"]
    lot = cut(read_series(real_data, system.sources[0]), system, find_recipe(system.recipe))
    test = lot.split.test
    errors = lot.y[test] - lot.x[test][:, -1, 0]
    given = system.published["IBM"]["batch_loss"]
    assert mse(lot.y[test], lot.x[test][:, -1, 0]) == pytest.approx(0.0034076, abs=1e-7)
    assert batch_loss(errors, 64) == pytest.approx(given, rel=0.05)
    assert mse(errors, 0 * errors) > 3 * given


# --- tables of prices -------------------------------------------------------------------------


def write_table(path: Path, count: int = SHORT) -> None:
    """A table like the published ones: newest first, one row without prices, a junk last line."""
    data, days = series(count), pd.DatetimeIndex(series(count).days).strftime("%Y-%m-%d")
    rows = [
        f"{day},{value},{value * 0.98},{close},{value},{day}"
        for day, value, close in zip(days, data.values, data.closes, strict=True)
    ]
    header = "Date,High,Low,Close,adjusted_close,timestamp"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows[::-1], "2017-12-29,,,,,2017-12-29", "-1,,,,,-1"]))


def test_a_table_is_read_oldest_first_without_its_junk(tmp_path):
    write_table(tmp_path / "t.csv")
    source = Source(name="X", file="t.csv", columns=("High", "Low"), last="2016-09-30")
    found, whole = read_series(tmp_path, source), series()
    count = len(found.days)
    assert found.days[-1] == np.datetime64("2016-09-30")
    np.testing.assert_array_equal(found.days, whole.days[:count])
    np.testing.assert_allclose(found.values, whole.values[:count] * 0.99)


def test_a_missing_table_or_column_is_named(tmp_path):
    write_table(tmp_path / "t.csv")
    with pytest.raises(BadPrices, match=r"absent\.csv"):
        read_series(tmp_path, Source(name="X", file="absent.csv", columns=("High",)))
    with pytest.raises(BadPrices, match="Ask"):
        read_series(tmp_path, Source(name="X", file="t.csv", columns=("Ask",)))


# --- computing, keeping, going on -------------------------------------------------------------


@pytest.fixture
def bench(tmp_path) -> Bench:
    for system in SYSTEMS.values():
        for source in system.sources:
            write_table(tmp_path / "prices" / source.file, 220)
    return Bench(tmp_path / "prices", tmp_path / "kept", 1)


def free_of_dates(name: str):
    """A system on invented prices: whatever their days are."""
    system = SYSTEMS[name]
    sources = tuple(replace(s, first="1900-01-01", last="2030-01-01") for s in system.sources)
    return replace(system, sources=sources, test_from=None)


def invented(task: Task, count: int, length: int) -> dict:
    """A result as `Task.compute` gives it, without training."""
    draw = np.random.default_rng(abs(task.number) + len(task.form))
    score = {
        "mse": 0.001,
        "mae": 0.02,
        "r2": 0.9,
        "rmse": 2.0,
        "direction": 0.5,
        "direction_spec": 0.5,
    }
    if task.form == "baselines":
        return dict.fromkeys(("last_price", "last_close", "arima", "arima_at_once"), score)
    curve = list(np.linspace(0.01, 0.001, 4))
    names = ("loss", "val_loss", "mae", "val_mae", "learning_rate")
    sizes = searched(42, task.number) if task.form == "trial" else {}
    return (
        score
        | sizes
        | {
            "mse": float(draw.uniform(0.001, 0.002)),
            "last_price_mse": 0.0005,
            "forecasts": (100 + draw.normal(size=count - length)).tolist(),
            "next": 101.0,
            "history": dict.fromkeys(names, curve),
        }
    )


def filled(bench: Bench, system, seeds: int = 2, skip: str = "") -> None:
    """Keep invented results of every task of a system."""
    for task in tasks_of(system, seeds):
        if task.form != skip:
            length = task.recipe(bench.epochs).unrollings
            kept = bench.kept(task)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(invented(task, 220, length)))


def test_a_killed_run_goes_on_where_it_was(bench, monkeypatch):
    system, computed = free_of_dates("lstm64_dense32"), []

    def compute(task, lot, recipe):
        computed.append((task.form, task.number))
        return invented(task, 220, 50)

    monkeypatch.setattr(Task, "compute", compute)
    tasks = list(tasks_of(system, 2))
    first = [bench.do(task) for task in tasks[:3]]
    bench.kept(tasks[1]).write_text("{ torn")  # as a disk that filled up would leave it
    again = [bench.do(task) for task in tasks]
    assert again[0] == first[0]
    assert computed.count((tasks[0].form, tasks[0].number)) == 1
    assert computed.count((tasks[1].form, tasks[1].number)) == 2
    assert len(set(computed)) == len(tasks)


def test_other_prices_epochs_or_sizes_are_other_results(bench):
    system = free_of_dates("tuned_lstm")
    tasks = list(tasks_of(system, 1))
    names = {bench.kept(task) for task in tasks}
    assert len(names) == len(tasks)
    assert not names & {replace(bench, epochs=2).kept(task) for task in tasks}
    write_table(bench.data / system.sources[0].file, 230)
    assert not names & {bench.kept(task) for task in tasks}


def test_the_search_goes_through_its_space_without_repeating_itself():
    drawn = [tuple(searched(42, trial).values()) for trial in range(len(SPACE))]
    assert drawn == [tuple(searched(42, trial).values()) for trial in range(len(SPACE))]
    assert set(drawn) == set(SPACE)
    assert {units for units, _, _ in SPACE} == set(range(30, 101, 10))


def test_one_epoch_of_each_form_is_scored(bench):
    system = free_of_dates("linear_lstm_zscore")
    task = Task(system, system.sources[0], "published", 42)
    found = bench.do(task)
    assert found == bench.do(task)
    assert len(found["history"]["loss"]) == 1
    assert len(found["forecasts"]) == 220 - task.recipe(1).unrollings
    assert np.isfinite([found["mse"], found["mae"], found["next"]]).all()
    causal = bench.do(replace(task, form="causal"))
    naive = bench.do(replace(task, form="baselines"))
    assert causal["mse"] != found["mse"]
    assert naive["last_price"]["mse"] > 0


# --- the page ---------------------------------------------------------------------------------


def section_of(name: str, bench: Bench) -> Section:
    system = free_of_dates(name)
    filled(bench, system)
    section = gather(bench, system, 2)
    assert section is not None
    return section


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_has_reasons_made_of_its_results(name, bench):
    section = section_of(name, bench)
    text = reasons(section)
    assert "{" not in text
    assert "nan" not in text
    for given in section.system.published.values():
        assert "mse" not in given or f"{given['mse']:g}" in table(section)


def test_no_number_of_ours_is_written_into_the_texts():
    for text, _ in REASONS.values():
        plain = re.sub(r"\{[^}]*\}", "", text)
        assert not re.search(r"0\.\d{3,}", plain)


def test_the_page_says_what_the_kept_results_say(bench, tmp_path):
    section = section_of("linear_lstm_zscore", bench)
    page = tmp_path / "docs" / "PAGE.md"
    write_document(page, [section, section_of("lstm50_batchnorm", bench)])
    text = page.read_text("utf-8")
    ours = [r["mse"] for r in section.results["IBM"]["published"]]
    assert f"{np.mean(ours):.6f} ± {np.std(ours, ddof=1):.6f}" in text
    linked = re.findall(r"\]\((published/[^)]+\.png)\)", text)
    assert len(linked) == 6  # five plots of one system, the history of the other
    assert all((page.parent / name).stat().st_size < 200_000 for name in linked)
    assert len(list((page.parent / "published").iterdir())) == 6


def test_the_page_changes_with_the_results(bench):
    section = section_of("tuned_lstm", bench)
    changed = json.loads(json.dumps(section.results["IBM"]))
    changed["trial"][3]["history"]["val_loss"] = [0.000123]
    changed["published"][0]["mse"] = 0.987
    other = replace(section, results={"IBM": changed})
    assert "best validation loss 0.000123" in reasons(other)
    assert "0.000123" not in reasons(section)
    assert table(other) != table(section)


def test_a_system_without_results_is_left_out(bench, tmp_path):
    system = free_of_dates("tuned_lstm")
    assert gather(bench, system, 2) is None
    filled(bench, system, skip="trial")
    assert gather(bench, system, 2) is None
    write_document(tmp_path / "PAGE.md", [])
    assert "##" not in (tmp_path / "PAGE.md").read_text("utf-8")


def test_a_spread_needs_two_values():
    assert spread([0.5], "{:.1f}") == "0.5"
    assert spread([1.0, 3.0], "{:.1f}") == "2.0 ± 1.4"
    assert spread([np.nan, 1.0], "{:.1f}") == "-"


# --- the commands -----------------------------------------------------------------------------


def test_the_command_needs_a_folder_of_prices(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("REAL_DATA_DIR", raising=False)
    for arguments in ([], ["--data", str(tmp_path / "absent")]):
        assert published.main(arguments) == 2
        assert "--data or REAL_DATA_DIR" in capsys.readouterr().err


def test_the_command_writes_the_page_from_what_is_kept(bench, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(published, "SYSTEMS", {n: free_of_dates(n) for n in SYSTEMS})
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        monkeypatch.setenv(name, "1")
    here = replace(bench, cache=published.CACHE)
    filled(here, free_of_dates("lstm64_dense32"), seeds=1)
    arguments = ["--data", str(bench.data), "--seeds", "1", "--epochs", "1"]
    assert published.main([*arguments, "--systems", "lstm64_dense32"]) == 0
    assert "wrote docs/PUBLISHED_RESULTS.md" in capsys.readouterr().out
    text = (tmp_path / published.DOCUMENT).read_text("utf-8")
    assert text.count("\n## ") == 1


@pytest.fixture
def champion(settings, tmp_path, monkeypatch) -> Path:
    """A project with a year of bars in its cache and a champion in MLflow and in the store."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("STOCK_AS_OF", "2020-12-31")  # nothing newer is asked for
    wish = Wish(start=date(2020, 1, 2), end=date(2020, 12, 31))
    invent_file("AAPL", wish, settings).bars.to_csv(tmp_path / "AAPL.csv", index=False)
    settings = Settings()
    import_file("AAPL", tmp_path / "AAPL.csv", settings)
    store, registry = ModelStore(settings.models_dir), Registry(settings.mlflow_tracking_uri)
    folder = store.write("AAPL", AT, {CARD: card_json(card()), NETWORK: b"weights"})
    with registry.run("AAPL", {}) as run:
        run.log_bundle(folder)
    version = registry.register(run.run_id, "AAPL", {})
    registry.publish(store, "AAPL", folder, version)
    return tmp_path


def versions_and_files(folder: Path) -> tuple[list, dict[str, bytes]]:
    """What MLflow has registered, and every file of the model store."""
    tables = ("registered_models", "model_versions", "registered_model_aliases")
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        rows = [database.execute(f"SELECT * FROM {name}").fetchall() for name in tables]
    files = {str(p): p.read_bytes() for p in (folder / "models").rglob("*") if p.is_file()}
    return rows, files


def runs_as_published(folder: Path) -> list[str]:
    """Status of every run that says it is one."""
    query = "SELECT status FROM runs JOIN tags USING (run_uuid) WHERE key=? AND value=?"
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        return [row[0] for row in database.execute(query, ("as_published", "true"))]


def test_a_run_as_published_touches_no_champion_and_panel_has_none(champion, capsys):
    before = versions_and_files(champion)
    assert all(before[0])
    arguments = ["AAPL", "--recipe", "lstm64_dense32", "--as-published", "--epochs", "1"]
    assert train.main(arguments) == 0
    assert versions_and_files(champion) == before
    assert runs_as_published(champion) == ["FINISHED"]
    first, second = capsys.readouterr().out.strip().splitlines()
    assert re.match(r"AAPL: lstm64_dense32 as published: MSE \d\.\d+, MAE \d\.\d+", first)
    assert second.strip() == ONLY
    assert train.main(["AAPL", "--recipe", "panel", "--as-published"]) == 2
    assert "choose --recipe of: mlops_64_64_32" in capsys.readouterr().err
    assert len(runs_as_published(champion)) == 1
