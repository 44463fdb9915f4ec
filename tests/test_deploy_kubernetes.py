"""The manifests: of one mind with each other, with the images and with docker-compose.yml."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"


@cache
def resources() -> list[dict]:
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    return [row for file in files for row in yaml.safe_load_all(file.read_text()) if row]


def of_kind(*kinds: str) -> dict[str, dict]:
    return {r["metadata"]["name"]: r for r in resources() if r["kind"] in kinds}


def templates() -> dict[str, dict]:
    """Name of each workload -> its pod."""
    found = {n: r["spec"]["template"] for n, r in of_kind("Deployment", "StatefulSet").items()}
    jobs = of_kind("CronJob").items()
    return found | {n: r["spec"]["jobTemplate"]["spec"]["template"] for n, r in jobs}


def compose() -> dict:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def kustomization() -> dict:
    return yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())


def test_the_kustomization_takes_every_file():
    files = {f"kubernetes/{path.name}" for path in (DEPLOY / "kubernetes").glob("*.yaml")}
    assert set(kustomization()["resources"]) == files


@pytest.mark.parametrize("name", templates())
def test_no_pod_runs_as_root_or_gains_rights(name):
    spec = templates()[name]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] > 0
    assert spec["automountServiceAccountToken"] is False
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"requests", "limits"} == set(container["resources"])


@pytest.mark.parametrize("name", templates())
def test_every_mount_has_its_volume_and_every_claim_exists(name):
    spec = templates()[name]["spec"]
    volumes = {row["name"] for row in spec["volumes"]} | ({"db"} if name == "db" else set())
    assert {m["name"] for m in spec["containers"][0]["volumeMounts"]} == volumes
    named = {
        row["persistentVolumeClaim"]["claimName"]
        for row in spec["volumes"]
        if "persistentVolumeClaim" in row
    }
    assert named <= set(of_kind("PersistentVolumeClaim"))


def test_every_service_and_policy_finds_pods():
    labels = [t["metadata"]["labels"] for t in templates().values()]
    wanted = [r["spec"]["selector"] for r in of_kind("Service").values()]
    policies = [r["spec"]["podSelector"] for r in of_kind("NetworkPolicy").values()]
    wanted += [row["matchLabels"] for row in policies if row]
    assert all(any(row.items() <= have.items() for have in labels) for row in wanted)


def test_the_images_are_those_of_compose():
    images = {t["spec"]["containers"][0]["image"] for t in templates().values()}
    assert images <= {row["image"] for row in compose()["services"].values()}
    ours = {image for image in images if image.startswith("stock-")}
    assert {row["name"] for row in kustomization()["images"]} == ours


def test_passwords_come_by_reference_only():
    assert not of_kind("Secret")
    names = {
        row["secret"]["secretName"]
        for t in templates().values()
        for row in t["spec"]["volumes"]
        if "secret" in row
    }
    assert names == {"passwords", "stock-database", "mlflow-database"}
    page = (ROOT / "docs" / "DEPLOYMENT.md").read_text()
    assert all(f"create secret generic {name} " in page for name in names)


def test_the_settings_are_settings(settings, monkeypatch, tmp_path):
    from config import get_settings

    given = of_kind("ConfigMap")["settings"]["data"]
    (tmp_path / "address").write_text("postgresql+psycopg://stock:x@db/forecasts")
    for name, value in {**given, "STOCK_DATABASE_URL_FILE": str(tmp_path / "address")}.items():
        monkeypatch.setenv(name, value)
    assert get_settings().mlflow_tracking_uri == "http://mlflow:5000"


def test_the_api_is_asked_for_its_life_and_scaled_by_its_load():
    (container,) = templates()["api"]["spec"]["containers"]
    probes = {name: container[name]["httpGet"]["path"] for name in container if "Probe" in name}
    assert probes == dict.fromkeys(("startupProbe", "readinessProbe", "livenessProbe"), "/health")
    scaler = of_kind("HorizontalPodAutoscaler")["api"]["spec"]
    assert "replicas" not in of_kind("Deployment")["api"]["spec"]  # that is the scaler's word
    assert scaler["minReplicas"] >= 2


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on this machine")
def test_kustomize_renders_all_of_it_with_the_roles_of_compose():
    done = subprocess.run(["kubectl", "kustomize", DEPLOY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rendered = [row for row in yaml.safe_load_all(done.stdout) if row]
    assert len(rendered) == len(resources()) + 1
    (roles,) = (r for r in rendered if r["metadata"]["name"].startswith("roles-"))
    assert roles["data"]["roles.sql"] == (DEPLOY / "db" / "roles.sql").read_text()
    images = {
        t for row in rendered for t in str(row).split("'") if "stock-forecasting-" in t and "/" in t
    }
    assert all(image.startswith("registry.example.com/") for image in images)
