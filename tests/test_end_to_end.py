"""The whole path on real AAPL prices: import, train, track, register, serve over a real port."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from project import ROOT, Project, free_port

from features import exponential_average
from model_store import NETWORK, ModelStore
from registry import experiment_name, model_name

pytestmark = pytest.mark.real_data


def get(url: str) -> dict:
    with urllib.request.urlopen(url, timeout=30) as response:
        return json.load(response)


def problem(url: str) -> tuple[int, str, dict]:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url, timeout=30)
    with caught.value as error:
        return error.code, error.headers["content-type"], json.load(error)


@pytest.fixture(scope="module")
def api(trained_project):
    with trained_project.api() as url:
        yield url


@pytest.fixture(scope="module")
def answer(api):
    return get(f"{api}/predict?ticker=AAPL&steps=30&smoothing=true")


@pytest.fixture(scope="module")
def bars(real_data):
    return pd.read_csv(real_data / "yahoo" / "AAPL.csv", parse_dates=["Date"])


@pytest.fixture
def copy(trained_project, tmp_path) -> Project:
    """The trained project again, to be damaged."""
    shutil.copytree(trained_project.folder, tmp_path / "copy")
    return Project(tmp_path / "copy", trained_project.settings)


def test_the_answer_stands_on_the_real_last_session(answer, bars):
    last = bars.iloc[-1]
    assert answer["as_of"] == "2025-12-31"
    assert answer["last_close"] == pytest.approx(last["Close"])
    assert answer["last_actual_price"] == pytest.approx((last["High"] + last["Low"]) / 2)
    assert answer["currency"] == "USD"
    assert answer["data"] == {
        "source": "file",
        "last_session": "2025-12-31",
        "stale": False,
        "sessions_behind": 0,
        "adjustment": "split",
        "sha256": answer["data"]["sha256"],
        "findings": {"large_move": 1, "zero_volume": 1},  # of 1980 to 2025
        "quarantined": False,
        "fetched_at": answer["data"]["fetched_at"],
        "state": "cached",
    }
    fetched = datetime.fromisoformat(answer["data"]["fetched_at"])
    assert timedelta() < datetime.now(UTC) - fetched < timedelta(hours=3)


def test_prices_are_the_exact_inverse_of_the_normalised_predictions(answer, bars):
    mid = ((bars["High"] + bars["Low"]) / 2)[bars["Date"] >= "2020-01-01"]
    lo, hi = mid[-2500:].min(), mid[-2500:].max()
    np.testing.assert_allclose(
        answer["prices"], lo + np.array(answer["raw_predictions"]) * (hi - lo), rtol=1e-8
    )
    assert answer["last_actual_value"] == pytest.approx((mid.iloc[-1] - lo) / (hi - lo))


def test_dates_are_sessions_of_the_exchange(answer):
    assert answer["dates"][0] == "2026-01-02"  # the 1st is a holiday
    assert "2026-01-19" not in answer["dates"]  # Martin Luther King Day
    assert len(answer["dates"]) == len(answer["prices"]) == answer["prediction_steps"] == 30


def test_smoothing_is_the_specifications_average(answer, api):
    expected = exponential_average(np.array(answer["raw_predictions"]), 10)
    np.testing.assert_allclose(answer["smoothed_predictions"], expected, rtol=1e-8)
    plain = get(f"{api}/predict?ticker=AAPL&smoothing=false")
    assert plain["smoothed_predictions"] is None
    assert plain["smoothed_prices"] is None
    assert plain["prices"] == answer["prices"]


def test_bands_come_from_the_cards_held_out_errors(answer, api):
    card = get(f"{api}/models/AAPL")["card"]
    table = np.array(card["calibration"]["quantiles"][:30])
    place = {level: table[:, i] for i, level in enumerate(card["calibration"]["levels"])}
    band, prices = answer["intervals"]["80"], np.array(answer["prices"])
    upper = np.maximum(prices, prices * np.exp(place[0.9]))  # a band holds its own forecast
    lower = np.minimum(prices, prices * np.exp(place[0.1]))
    np.testing.assert_allclose(band["upper"], upper, rtol=1e-8)
    np.testing.assert_allclose(band["lower"], lower, rtol=1e-8)
    assert card["calibration"]["origins"] == card["test"]["rows"] == 292
    assert card["calibration"]["pooled"] == 0  # the specification's recipe has no base


def test_the_recorded_errors_can_be_recomputed_from_the_bundle(trained_project):
    champion = ModelStore(trained_project.folder / "models").champion("AAPL")
    table = pd.read_csv(champion.path / "reference.csv", parse_dates=["date"])
    test = table[table["date"] >= pd.Timestamp(champion.card.test.first)]
    ours = math.sqrt(np.mean((test["prediction"] - test["actual"]) ** 2))
    theirs = math.sqrt(np.mean((test["last_close"] - test["actual"]) ** 2))
    assert len(test) == champion.card.test.rows
    assert champion.card.skill.rmse_ratio == pytest.approx(ours / theirs, rel=1e-6)
    assert champion.card.scores["last_close"]["rmse"] == pytest.approx(theirs, rel=1e-6)


def test_the_answer_says_whether_the_model_beats_the_last_price(answer):
    skill = answer["skill"]
    assert skill["baseline"] == "last_close"
    assert skill["rmse_ratio"] > 1.5  # two epochs of this recipe cannot beat it
    assert skill["verdict"] == "worse than the last price"


def test_every_run_is_tracked_with_what_was_really_used(trained_project):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{trained_project.folder}/mlflow.db")
    experiment = client.get_experiment_by_name(experiment_name("AAPL"))
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "AAPL_training"
    assert (
        run.data.params.items()
        >= {
            "recipe": "mlops_64_64_32",
            "ticker": "AAPL",
            "lstm_units_1": "64",
            "lstm_units_2": "64",
            "dense_units": "32",
            "dropout_rate": "0.5",
            "learning_rate": "0.001",
            "batch_size": "32",
            "epochs": "2",
            "window_size": "2500",
            "unrollings": "50",
            "data_source": "file",
        }.items()
    )
    assert run.data.metrics.keys() >= {
        *("train_loss", "val_loss", "test_loss", "test_mae", "test_mse", "test_rmse"),
        *("direction_accuracy", "arima_aic", "arima_bic"),
        *("lstm_rmse", "last_mid_rmse", "last_close_rmse", "arima_rmse"),
    }
    assert len(client.get_metric_history(run.info.run_id, "val_loss")) == 2
    names = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert names >= {"bundle", "training_history.png", "actual_vs_predicted.png"}
    version = client.get_model_version_by_alias(model_name("AAPL"), "champion")
    assert version.run_id == run.info.run_id
    assert version.tags["verdict"] == "worse than the last price"


def test_the_registered_version_carries_the_bundle(trained_project, tmp_path, monkeypatch):
    import mlflow

    monkeypatch.chdir(trained_project.folder)  # where the SQLite tracking store was made
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    fetched = Path(mlflow.artifacts.download_artifacts("models:/stock-lstm-AAPL@champion"))
    champion = ModelStore(trained_project.folder / "models").champion("AAPL")
    assert {p.name for p in fetched.iterdir()} >= {p.name for p in champion.path.iterdir()}
    assert (fetched / NETWORK).read_bytes() == (champion.path / NETWORK).read_bytes()


def test_plain_mlflow_ui_shows_the_runs(mlflow_ui):
    request = urllib.request.Request(
        f"{mlflow_ui}/api/2.0/mlflow/experiments/search",
        json.dumps({"max_results": 10}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        found = {row["name"] for row in json.load(response)["experiments"]}
    assert experiment_name("AAPL") in found


def test_mlflows_model_carries_the_metrics_of_its_run_once(trained_project):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{trained_project.folder}/mlflow.db")
    experiment = client.get_experiment_by_name(experiment_name("AAPL")).experiment_id
    (run,) = client.search_runs([experiment])
    (model,) = client.search_logged_models([experiment])
    of_the_model = {(row.key, row.step): row.value for row in model.metrics}
    for name in ("train_loss", "rmse_ratio"):
        rows = client.get_metric_history(run.info.run_id, name)
        assert {(name, row.step): row.value for row in rows}.items() <= of_the_model.items()
    assert len(client.get_metric_history(run.info.run_id, "train_loss")) == 2  # epochs


def test_the_command_line_says_the_same_as_the_api(trained_project, answer):
    run = trained_project.command("predict.py", "AAPL", "--steps", "30", "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == answer
    table = trained_project.command("predict.py", "AAPL", "--steps", "3")
    assert f"2026-01-02 {answer['prices'][0]:10.2f}" in table.stdout
    assert "worse than the last price" in table.stdout


def test_forecasting_reports_to_nobody(trained_project, tmp_path):
    run = trained_project.command("predict.py", "AAPL", HOME=str(tmp_path))
    assert run.returncode == 0, run.stderr
    assert list(tmp_path.iterdir()) == []  # ONNX Runtime's telemetry would leave a device id


def test_the_specifications_python_call_answers_the_same(trained_project, answer):
    code = (
        "import json, sys; from predict import StockPredictor;"
        f"p = StockPredictor({answer['model_path']!r}, 'AAPL');"
        "print(json.dumps(p.generate_predictions(steps=30, apply_smoothing=True)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=trained_project.folder,
        env=trained_project.environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == answer


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/predict?ticker=ZZZZ", 404, "/problems/unknown_ticker"),
        ("/predict?ticker=../x", 422, "/problems/invalid_ticker"),
        ("/predict?ticker=AAPL&steps=0", 422, None),
        ("/predict?ticker=AAPL&steps=many", 422, None),
        ("/models/ZZZZ", 404, "/problems/unknown_ticker"),
        ("/drift/AAPL", 404, "/problems/no_drift_check"),
    ],
)
def test_a_wrong_request_is_explained(api, trained_project, path, status, kind):
    code, content_type, body = problem(f"{api}{path}")
    assert (code, content_type) == (status, "application/problem+json")
    assert kind in (None, body["type"])
    assert str(trained_project.folder) not in json.dumps(body)


def test_the_api_lists_the_ticker_and_is_ready(api):
    assert get(f"{api}/tickers") == {"tickers": ["AAPL"], "total": 1, "next_offset": None}
    assert get(f"{api}/health")["status"] == "healthy"
    get(f"{api}/ready")  # 200, or this raises


def test_a_second_start_trains_nothing(trained_project):
    before = sorted(p.name for p in (trained_project.folder / "models").glob("AAPL_*"))
    run = trained_project.command("train.py", "--missing")
    assert (run.returncode, run.stdout) == (0, "")
    assert sorted(p.name for p in (trained_project.folder / "models").glob("AAPL_*")) == before


def test_arima_prints_its_forecast_and_the_last_closes_error(trained_project):
    run = trained_project.command("baseline_arima.py", "AAPL", "--steps", "2")
    assert run.returncode == 0, run.stderr
    assert "last close" in run.stdout
    assert run.stdout.splitlines()[-2].startswith("2026-01-02")


def test_a_drift_check_writes_its_reports_and_reaches_the_api(copy):
    run = copy.command("drift_monitor.py", "AAPL", "--json")
    assert run.returncode == 0, run.stderr
    verdict = json.loads(run.stdout)
    assert {p.name for p in (copy.folder / "evidently_reports").iterdir()} >= {
        "AAPL_data_drift.html",
        "AAPL_model_performance.html",
    }
    with copy.api() as url:
        shown = get(f"{url}/drift/AAPL")
    assert (shown["alarm"], shown["as_of"]) == (verdict["alarm"], "2025-12-31")
    assert {row["feature"] for row in shown["features"]} >= {"return", "range"}


def test_a_model_of_invented_prices_says_so_and_is_replaced_once_real_ones_exist(copy, real_data):
    shutil.rmtree(copy.folder / "data")
    shutil.rmtree(copy.folder / "models")
    assert copy.command("generate_synthetic_data.py", "AAPL", "--days", "700").returncode == 0
    invented = copy.command("train.py", "AAPL", "--epochs", "1")
    assert "synthetic prices" in invented.stdout, invented.stderr
    with copy.api() as url:
        assert get(f"{url}/predict?ticker=AAPL")["data"]["source"] == "synthetic"
        assert get(f"{url}/models/AAPL")["card"]["data"]["source"] == "synthetic"
    source = str(real_data / "yahoo" / "AAPL.csv")
    assert copy.command("data_pipeline.py", "import", "AAPL", source).returncode == 0
    base = json.loads(copy.command("predict.py", "AAPL", "--json").stdout)
    assert base["cold_start"] is True  # the model of invented prices counts for none
    assert base["data"]["source"] == "file"
    replaced = copy.command("train.py", "--missing", "--epochs", "1")
    assert "first champion" in replaced.stdout
    assert copy.command("predict.py", "AAPL").returncode == 0


def test_a_model_folder_with_a_changed_byte_is_refused_by_every_face(copy):
    path = ModelStore(copy.folder / "models").champion("AAPL").path / NETWORK
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    run = copy.command("predict.py", "AAPL")
    assert run.returncode == 2
    assert "was altered" in run.stderr
    assert "Traceback" not in run.stderr
    with copy.api() as url:
        code, _, body = problem(f"{url}/predict?ticker=AAPL")
        assert (code, body["type"]) == (503, "/problems/bad_bundle")
        assert problem(f"{url}/ready")[0] == 503


def test_a_day_before_the_training_ended_gets_no_forecast_from_it(copy):
    run = copy.command("predict.py", "AAPL", STOCK_AS_OF="2025-06-30")
    assert run.returncode == 2
    assert "has seen prices through 2025-12-31" in run.stderr


def test_serving_goes_on_without_the_tracking_database(copy, answer):
    (copy.folder / "mlflow.db").unlink()
    with copy.api() as url:
        assert get(f"{url}/predict?ticker=AAPL")["prices"] == answer["prices"]


def test_prices_gone_is_a_clean_503(copy):
    shutil.rmtree(copy.folder / "data")
    with copy.api(STOCK_ALLOW_SYNTHETIC="false") as url:
        code, _, body = problem(f"{url}/predict?ticker=AAPL")
    assert (code, body["type"]) == (503, "/problems/source_unavailable")


def test_a_real_model_is_never_run_on_synthetic_prices(copy):
    shutil.rmtree(copy.folder / "data")
    with copy.api() as url:
        code, _, body = problem(f"{url}/predict?ticker=AAPL")
    assert (code, body["type"]) == (503, "/problems/source_unavailable")


def test_two_trainings_at_once_lose_nothing(copy):
    (copy.folder / "mlflow.db").unlink()  # and the database is new to both
    shutil.rmtree(copy.folder / "models")
    command = [sys.executable, str(ROOT / "train.py"), "AAPL", "--epochs", "1"]
    both = [
        subprocess.Popen(
            command,
            cwd=copy.folder,
            env=copy.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=280) for process in both]
    assert [p.returncode for p in both] == [0, 0], outputs
    assert len(list((copy.folder / "models").glob("AAPL_lstm_*"))) == 2
    with sqlite3.connect(copy.folder / "mlflow.db") as database:
        rows = database.execute("select version from model_versions order by version").fetchall()
    database.close()
    assert rows == [(1,), (2,)]
    pointer = json.loads((copy.folder / "models" / "champions" / "AAPL.json").read_text())
    assert pointer[-1]["version"] in {"1", "2"}
    assert copy.command("predict.py", "AAPL").returncode == 0


@pytest.mark.parametrize(
    ("script", "arguments", "words"),
    [
        ("train.py", ("../x",), "is not a ticker symbol"),
        ("train.py", ("AAPL", "--recipe", "none"), "no recipe is called"),
        ("train.py", ("AAPL", "--epochs", "0"), "STOCK_EPOCHS"),
        ("predict.py", ("ZZZZ",), "python train.py ZZZZ"),
        ("predict.py", ("AAPL", "--steps", "91"), "1 to 90"),
        ("baseline_arima.py", ("*",), "is not a ticker symbol"),
        ("data_pipeline.py", ("import", "AAPL", "absent.csv"), "absent.csv"),
    ],
)
def test_a_known_mistake_is_exit_2_and_a_clear_line(trained_project, script, arguments, words):
    run = trained_project.command(script, *arguments)
    assert run.returncode == 2
    assert words in run.stderr
    assert "Traceback" not in run.stderr


def test_an_unreachable_tracking_server_is_said_before_any_training(trained_project):
    away = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{free_port()}"}
    run = trained_project.command("train.py", "AAPL", **away)
    assert run.returncode == 1
    assert "MLFLOW_TRACKING_URI" in run.stdout + run.stderr
    assert "epoch" not in run.stderr


@pytest.mark.parametrize(
    "script",
    [
        "train.py",
        "tune.py",
        "predict.py",
        "baseline_arima.py",
        "data_pipeline.py",
        "generate_synthetic_data.py",
        "drift_monitor.py",
        "model_store.py",
    ],
)
def test_every_command_has_help(trained_project, script):
    run = trained_project.command(script, "--help")
    assert run.returncode == 0
    assert run.stdout.startswith("usage: ")
