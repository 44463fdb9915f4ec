"""Prometheus' and Grafana's files: valid for the real promtool, and of one mind with each other."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import absent
from prometheus_client import generate_latest

from config import Settings
from web.guard import Crowd
from web.metrics import GaugeRow, Metrics

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
BOARD = DEPLOY / "grafana" / "dashboards" / "stock-forecasting.json"


@pytest.fixture(scope="module")
def promtool() -> str:
    program = shutil.which("promtool")
    if program is None:
        absent(
            "no promtool on this machine; Debian: apt-get install prometheus", "REQUIRE_PROMTOOL"
        )
    return str(program)


def accepts(promtool: str, *arguments: str | Path) -> None:
    done = subprocess.run(
        [promtool, *map(str, arguments)], capture_output=True, text=True, cwd=DEPLOY / "prometheus"
    )
    assert done.returncode == 0, done.stdout + done.stderr


def board() -> dict:
    return json.loads(BOARD.read_text())


def rules() -> list[dict]:
    return [
        rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
    ]


def alerts() -> list[str]:
    return [rule["expr"] for rule in rules()]


def queries() -> list[str]:
    return [target["expr"] for panel in board()["panels"] for target in panel["targets"]]


def test_prometheus_reads_its_configuration(promtool):
    accepts(promtool, "check", "config", "--syntax-only", "prometheus.yml")


def test_every_alert_fires_on_what_it_is_for_and_not_on_a_normal_day(promtool):
    accepts(promtool, "test", "rules", "alerts_test.yml")


def test_every_alert_has_both_tests():
    tests = yaml.safe_load((ALERTS.parent / "alerts_test.yml").read_text())["tests"]
    checks = [row for test in tests for row in test["alert_rule_test"]]
    quiet = {row["alertname"] for row in checks if not row["exp_alerts"]}
    loud = {row["alertname"] for row in checks if row["exp_alerts"]}
    assert quiet == loud == {rule["alert"] for rule in rules()}


def test_every_alert_says_what_happened_and_what_to_do():
    assert all({"summary", "action"} == set(rule["annotations"]) for rule in rules())
    assert {rule["labels"]["severity"] for rule in rules()} == {"critical", "warning"}


def test_every_query_of_the_board_is_a_query(promtool, tmp_path):
    named = [{"record": f"board:{n}", "expr": query} for n, query in enumerate(queries())]
    (tmp_path / "board.yml").write_text(
        json.dumps({"groups": [{"name": "board", "rules": named}]})  # JSON is YAML
    )
    accepts(promtool, "check", "rules", tmp_path / "board.yml")


def test_the_board_asks_the_source_that_is_provisioned():
    source = DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml"
    (row,) = yaml.safe_load(source.read_text())["datasources"]
    used = {panel["datasource"]["uid"] for panel in board()["panels"]}
    assert used == {row["uid"]}
    assert row["url"] == "http://prometheus:9090"


def test_no_two_panels_overlap():
    cells = [
        (x, y)
        for panel in board()["panels"]
        for grid in [panel["gridPos"]]
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in board()["panels"]}) == len(board()["panels"])


def test_the_board_lies_where_grafana_looks():
    compose = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text())
    providers = DEPLOY / "grafana" / "provisioning" / "dashboards" / "dashboards.yml"
    (row,) = yaml.safe_load(providers.read_text())["providers"]
    mounts = compose["services"]["grafana"]["volumes"]
    assert f"./deploy/grafana/dashboards:{row['options']['path']}:ro" in mounts


class Desk:
    """What the API's desk tells the metrics."""

    def gauges(self):
        return {"AAPL": GaugeRow(3.0, 1.0, False)}

    def cache_counts(self):
        return 1, 1

    def written(self):
        return 1, 0, 0

    def realised(self):
        return {}


def test_alerts_and_board_ask_for_what_the_api_really_counts():
    metrics = Metrics(Crowd(Settings()))
    metrics.desk = Desk()
    told = set(re.findall(r"^# TYPE (\w+)", generate_latest(metrics.registry).decode(), re.M))
    asked = set(re.findall(r"\b(?:stock|process)_\w+", " ".join([*queries(), *alerts()])))
    assert asked
    assert {re.sub(r"_bucket$", "", name) for name in asked} <= told
