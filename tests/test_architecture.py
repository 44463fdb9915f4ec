"""The map of the house, enforced: who may import whom, and whose door a heavy library is."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# One row per module, as in docs/ARCHITECTURE.md: what it may import of ours.
WORDS = {"contracts"}
PURE = {
    *("versions", "features", "panel", "metrics", "bands", "recipes", "calendars", "answers"),
    *("figures", "drift", "significance"),
}
DOORS = {"data_pipeline", "inference", "model_store", "bases", "registry", "forecast_log"}
MAY_IMPORT = {
    "contracts": set(),
    "config": WORDS,
    "features": WORDS,
    "significance": WORDS,
    "metrics": WORDS | {"significance"},
    "panel": WORDS | {"features"},
    "bands": WORDS,
    "recipes": WORDS,
    "calendars": WORDS,
    "answers": WORDS,
    "figures": WORDS,
    "whole_files": set(),
    "watching": WORDS | {"whole_files"},
    "engines": WORDS,
    "drift": WORDS | {"watching"},
    "drift_report": WORDS | {"watching"},
    "alerts": WORDS,
    "search_space": WORDS | {"recipes"},
    "versions": set(),
    "leakage": set(),
    "generate_synthetic_data": WORDS | {"calendars"},
    "networks": set(),
    "model": WORDS | {"features", "panel", "metrics", "recipes", "networks"},
    "baseline_arima": WORDS | {"features", "metrics"},
    "prices": WORDS | {"config", "calendars", "features", "generate_synthetic_data", "whole_files"},
    "data_pipeline": WORDS
    | {"config", "calendars", "features", "generate_synthetic_data", "prices"},
    "inference": WORDS | {"features", "panel", "bands"},
    "model_store": WORDS | {"config"},
    "bases": WORDS | {"config", "bands", "recipes", "inference", "model_store"},
    "tracking": WORDS,
    "registry": WORDS | {"config", "model_store", "tracking"},
    "records": WORDS | {"features", "significance"},
    "forecast_log": WORDS | {"records"},
    "novelty": WORDS,
    "cautions": WORDS | {"novelty"},
    "served": WORDS | {"bands", "features", "novelty", "data_pipeline", "inference", "bases"},
    "serving": WORDS | {"bands", "calendars", "features", "model_store", "served"},
    "champions": WORDS | {"inference", "model_store", "served"},
    "standings": WORDS
    | {"config", "recipes", "cautions", "data_pipeline", "bases", "champions", "served"}
    | {"serving"},
    "readiness": WORDS | {"config", "data_pipeline", "model_store", "champions", "serving"},
    "forecast_cache": WORDS,
    "alarms": WORDS | {"forecast_log"},
    "work_queue": WORDS | {"forecast_cache"},
    "parallel": set(),
    "realised": WORDS | {"forecast_log"},
    "desk": WORDS
    | {"config", "answers", "data_pipeline", "model_store", "forecast_log", "serving"}
    | {"champions", "standings", "readiness", "forecast_cache", "alarms", "realised"}
    | {"parallel"},
    "forecast_all": WORDS,
    "predict": WORDS
    | {"config", "answers", "features", "served", "serving", "desk", "forecast_all"}
    | {"data_pipeline", "inference", "model_store"},
    "fitting": WORDS | {"features", "panel", "bands", "recipes", "model", "bases"},
    "batched_fitting": WORDS | {"panel", "recipes", "networks", "model", "bases", "fitting"},
    "pretraining": WORDS
    | {"config", "panel", "metrics", "bands", "recipes", "whole_files", "model"}
    | {"data_pipeline", "inference"},
    "base_training": WORDS
    | {"config", "panel", "bands", "recipes", "versions", "model", "pretraining"}
    | {"data_pipeline", "inference", "model_store", "bases", "fitting", "evaluation"},
    "referee": WORDS | {"features", "metrics"},
    "evaluation": WORDS
    | {"config", "features", "bands", "recipes", "baseline_arima", "data_pipeline", "inference"}
    | {"fitting", "referee", "forecasters", "walk_scores"},
    "contest": WORDS
    | {"config", "features", "bands", "data_pipeline", "inference", "model_store", "bases"}
    | {"serving", "referee", "evaluation"},
    "walk_scores": WORDS | {"metrics", "bands", "referee", "forecasters"},
    "leakcheck": WORDS
    | {"config", "features", "panel", "recipes", "leakage"}
    | {"data_pipeline", "inference", "evaluation"},
    "scorecard": WORDS | {"features", "metrics"},
    "report": WORDS | {"metrics", "scorecard"},
    "forecasters": WORDS | {"features", "bands", "inference", "baseline_arima"},
    "walkforward": WORDS
    | {"features", "metrics", "bands", "recipes", "data_pipeline", "inference"}
    | {"model_store", "bases", "fitting", "scorecard", "forecasters", "contest"},
    "many_walks": WORDS
    | {"config", "data_pipeline", "model_store", "bases", "serving", "base_training", "contest"}
    | {"scorecard", "engines", "walkforward", "many"},
    "backtest": WORDS
    | {"config", "recipes", "report", "scorecard", "walkforward", "engines", "many"}
    | {"many_walks"},
    "drift_check": WORDS
    | {"watching", "drift", "drift_report", "data_pipeline", "inference", "model_store"},
    "drift_monitor": WORDS
    | {"config", "serving", "watching", "whole_files", "alerts", "drift_report", "drift_check"}
    | {"engines", "many"}
    | PURE
    | DOORS,
    "many_checks": WORDS
    | {"config", "data_pipeline", "forecast_log", "engines", "many"}
    | {"drift_check", "drift_monitor"},
    "published_systems": WORDS,
    "published_sums": WORDS | {"metrics"},
    "published_fits": WORDS
    | {"features", "metrics", "recipes", "model", "baseline_arima", "published_systems"},
    "published_reasons": WORDS
    | {"features", "recipes", "published_systems", "published_sums", "published_fits"},
    "published_doc": WORDS
    | {"calendars", "figures", "published_sums", "published_fits", "published_reasons"},
    "published": WORDS
    | {"recipes", "published_systems", "published_fits", "published_reasons", "published_doc"},
    "as_published": WORDS
    | {"config", "figures", "recipes", "versions", "data_pipeline", "registry"}
    | {"published_systems", "published_fits"},
    "succession": WORDS
    | {"config", "recipes", "data_pipeline", "inference", "model_store", "bases", "registry"}
    | {"tracking", "serving", "referee", "evaluation", "contest"},
    "pruning": WORDS | {"config", "model_store", "registry", "tracking"},
    "registry_commands": WORDS
    | {"config", "model_store", "registry", "tracking", "succession", "pruning"},
    "settle_command": WORDS | {"config", "data_pipeline", "forecast_log"},
    "retraining": WORDS,
    "leasing": WORDS,
    "training_queue": WORDS | {"forecast_log", "leasing"},
    "rounds": WORDS
    | {"config", "calendars", "data_pipeline", "drift_monitor", "contest", "forecast_log"}
    | {"inference", "model_store", "registry", "retraining", "served", "serving", "leasing"},
    "watch": WORDS
    | {"config", "calendars", "forecast_log", "registry_commands", "rounds", "leasing"},
    "simulation_scores": WORDS
    | {"bands", "metrics", "data_pipeline", "inference", "model_store", "features"},
    "simulation": WORDS
    | {"config", "calendars", "data_pipeline", "drift_monitor", "forecast_log", "rounds", "train"}
    | {"recording", "training_queue"},
    "simulate": WORDS
    | {"config", "data_pipeline", "model_store", "simulation", "simulation_scores", "train"},
    "bundling": WORDS
    | {"features", "panel", "recipes", "figures", "versions", "model"}
    | {"inference", "model_store", "bases", "fitting", "referee", "evaluation", "contest"},
    "group_training": WORDS | {"evaluation", "fitting", "batched_fitting", "bundling"},
    "assignments": WORDS
    | {"config", "recipes", "data_pipeline", "model_store", "bases", "base_training"}
    | {"evaluation", "contest", "bundling"},
    "recording": WORDS
    | {"config", "recipes", "versions", "model", "model_store", "registry", "tracking"}
    | {"referee", "evaluation", "contest", "bundling"},
    "many": WORDS | {"config", "data_pipeline", "engines"},
    "many_trainings": WORDS
    | {"config", "recipes", "data_pipeline", "registry", "engines", "evaluation", "bundling"}
    | {"assignments", "recording", "many", "group_training"},
    "train": WORDS
    | {"config", "base_training", "evaluation", "contest", "bundling", "assignments"}
    | {
        "recording",
        "as_published",
        "engines",
        "many",
        "many_trainings",
        "retraining",
        "training_queue",
    }
    | PURE
    | DOORS,
    "trial_ledger": WORDS | {"search_space"},
    "search_trials": WORDS
    | {"bases", "evaluation", "fitting", "recipes", "search_space", "trial_ledger"},
    "tune": WORDS
    | {"config", "recipes", "search_space", "search_trials", "trial_ledger", "recording"}
    | {"data_pipeline", "bases", "registry", "fitting", "evaluation", "base_training", "report"}
    | {"engines", "many", "train"},
    "many_searches": WORDS
    | {"config", "data_pipeline", "recipes", "registry", "search_space", "trial_ledger"}
    | {"search_trials", "evaluation", "bundling", "assignments", "recording", "engines", "many"}
    | {"tune"},
    "wording": {"schemas"},
    "charts": {"schemas"},
    "views": WORDS | {"config", "api_client", "schemas", "charts", "wording"},
    "api_client": WORDS | {"schemas"},
    "exhibits": WORDS
    | {
        "config",
        "calendars",
        "schemas",
        "data_pipeline",
        "model_store",
        "forecast_log",
        "versions",
    },
    "web": WORDS | {"config", "schemas"},
    "app": WORDS | {"config", "desk", "work_queue", "exhibits", "web"},
    "schemas": WORDS | {"answers"},
    "streamlit_app": WORDS | {"config", "views"},
    "announce": set(),
    "backup": WORDS | {"config"},
}

# A main() in layers 1 and 2 may fetch settings and prices inside itself, and registry's its
# commands; nothing else may.
IN_MAIN_ONLY = {
    "registry": {"registry_commands"},
    "drift_monitor": {"settle_command", "many_checks"},
    "tune": {"many_searches"},
    "generate_synthetic_data": {"config", "data_pipeline", "figures"},
    "baseline_arima": {"config", "data_pipeline", "calendars", "features", "metrics"},
}

DOOR_OF = {
    "yfinance": {"prices"},
    "pandera": {"prices"},
    "mlflow": {"registry", "tracking"},
    "statsmodels": {"baseline_arima"},
    "tensorflow": {"model", "networks", "pretraining"},
    "keras": {"model", "networks", "pretraining"},
    "tf2onnx": {"model"},
    "onnx": {"networks"},
    "keras_tuner": {"search_trials"},
    "onnxruntime": {"inference"},
    "sqlalchemy": {"forecast_log", "records", "registry"},  # registry only names its errors
    "alembic": {"records"},
    "evidently": {"drift_report"},
    "fastapi": {"app", "web"},
    "prometheus_client": {"web"},
    "limits": {"web"},
    "redis": {"web"},
    "opentelemetry": {"web"},
    "streamlit": {"streamlit_app", "views"},
    "plotly": {"charts", "report"},
    "matplotlib": {"figures"},
    "exchange_calendars": {"calendars"},
    "apscheduler": {"watch"},
    "loky": {"engines"},
    "ray": {"engines"},
    # the dashboard to the API, prices to Alpha Vantage, exhibits to the tracking server
    "httpx": {"api_client", "prices", "exhibits", "alerts"},
}

PACKAGES = sorted(p.parent for p in ROOT.glob("*/__init__.py"))
FILES = sorted(ROOT.glob("*.py")) + [f for p in PACKAGES for f in sorted(p.rglob("*.py"))]


def room(path: Path) -> str:
    """The module a file belongs to; the files of a package are one room."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports_of(tree: ast.AST) -> set[str]:
    """First names of everything imported below a node, function bodies included."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def imports_at_the_top(tree: ast.Module) -> set[str]:
    """The same without what is imported inside functions."""
    return {
        name
        for node in tree.body
        if not isinstance(node, ast.FunctionDef | ast.ClassDef)
        for name in imports_of(node)
    }


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_stay_on_the_map(path):
    tree, module = ast.parse(path.read_text("utf-8")), room(path)
    assert module in MAY_IMPORT, f"{module} is not on the map"
    ours = imports_of(tree) & set(MAY_IMPORT) - {module}
    allowed = MAY_IMPORT[module] | IN_MAIN_ONLY.get(module, set())
    assert ours <= allowed, f"{module} must not import {ours - allowed}"
    top = imports_at_the_top(tree) & set(MAY_IMPORT) - {module}
    assert top <= MAY_IMPORT[module], f"only main() of {module} may import {top}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_heavy_library_has_one_door(path):
    used = imports_of(ast.parse(path.read_text("utf-8"))) & set(DOOR_OF)
    strangers = {lib for lib in used if room(path) not in DOOR_OF[lib]}
    assert not strangers, f"{room(path)} is not the door of {strangers}"


def test_the_map_names_no_room_that_does_not_exist():
    assert set(MAY_IMPORT) == {room(path) for path in FILES}


def test_the_map_has_no_circle():
    def reachable(module: str, seen: frozenset[str]) -> set[str]:
        assert module not in seen, f"{module} imports itself by way of {sorted(seen)}"
        return {r for m in MAY_IMPORT[module] for r in reachable(m, seen | {module})} | {module}

    for module in MAY_IMPORT:
        assert module in reachable(module, frozenset())


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_main_prints(path):
    tree = ast.parse(path.read_text("utf-8"))
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and function.name == "main"
        for node in ast.walk(function)
    }
    strays = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "print"
        and id(node) not in inside
    ]
    assert not strays, f"print() outside main() in lines {strays}"


def run_python(code: str, tmp_path: Path) -> str:
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "STOCK_EPOCHS": "misspelt"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_serving_process_holds_neither_tensorflow_nor_mlflow(tmp_path):
    heavy = ("tensorflow", "keras", "mlflow", "evidently", "statsmodels", "sklearn", "streamlit")
    code = f"import app, sys; print([m for m in {heavy!r} if m in sys.modules])"
    assert run_python(code, tmp_path).strip() == "[]"


@pytest.mark.parametrize("module", ["model", "networks.stacked", "pretraining.fits"])
def test_a_process_that_trains_can_still_ask_yahoo(tmp_path, module):
    code = (
        f"import {module}\n"
        "from curl_cffi import requests\n"
        "try: requests.get('http://127.0.0.1:9', impersonate='chrome')\n"
        "except Exception as error: print(type(error).__name__)\n"
    )
    assert run_python(code, tmp_path).strip() == "ConnectionError"  # not ImpersonateError


LIGHT = sorted({p.stem for p in ROOT.glob("*.py")} - {"model", "streamlit_app"})

IMPORTS = """
import importlib, logging, pathlib, socket, sys
def refuse(*a): raise AssertionError("network")
socket.socket.connect = refuse
for module in sys.argv[1:]:
    importlib.import_module(module)
    assert not logging.getLogger().handlers, f"{module} sets up logging"
    assert not list(pathlib.Path().iterdir()), f"{module} writes files"
"""


def test_importing_has_no_effect(tmp_path):
    run_python(IMPORTS.replace("sys.argv[1:]", repr(LIGHT)), tmp_path)
