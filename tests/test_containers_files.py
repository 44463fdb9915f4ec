"""Static checks of the container and CI files: what they copy, whom they run as, what they open."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml

from config import FOREIGN, Settings

ROOT = Path(__file__).resolve().parent.parent
ENTRY = {"serve": "app", "dashboard": "streamlit_app", "train": "train", "monitor": "watch"}
TARGETS = [*ENTRY, "mlflow", "secrets", "proxy"]
BESIDE = {"monitor": {"drift_monitor"}, "train": {"tune"}}  # further commands of an image
HEAVY = {
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "mlflow",
    "mlflow-skinny",
    "evidently",
    "streamlit",
}
# Where things are is the images' business; the rest is the user's.
PLACES = {
    "data_dir",
    "models_dir",
    "pretrained_dir",
    "reports_dir",
    "database_url",
    "mlflow_tracking_uri",
} | {
    "api_url",
    "public_api_url",
    "mlflow_url",
    "mlflow_api_url",
}


@cache
def dockerfile_stages() -> dict[str, tuple[str, list[str]]]:
    """Name of each stage -> (its base, its instructions, continued lines joined)."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M)
    stages: dict[str, tuple[str, list[str]]] = {}
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if match := re.match(r"FROM (\S+) AS (\S+)", line):
            here = stages[match[2]] = (match[1], [])
        elif line.strip():
            here[1].append(re.sub(r"\s+", " ", line.strip()))
    return stages


def instructions(target: str) -> list[str]:
    """What makes an image, inherited stages first."""
    stages = dockerfile_stages()
    base, own = stages[target]
    return [*(instructions(base) if base in stages else []), *own]


def copied(target: str) -> set[str]:
    """Paths of the context that end up in an image."""
    rows = [line.split() for line in instructions(target) if line.startswith("COPY")]
    plain = [row[1:-1] for row in rows if not row[1].startswith("--") and "<<" not in row[1]]
    return {source.rstrip("/") for sources in plain for source in sources}


@cache
def compose() -> dict:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def services() -> dict[str, dict]:
    return compose()["services"]


@cache
def own_modules() -> dict[str, list[Path]]:
    """First-party top-level names -> their files."""
    packages = {p.parent.name: sorted(p.parent.rglob("*.py")) for p in ROOT.glob("*/__init__.py")}
    packages.pop("tests", None)
    return {path.stem: [path] for path in ROOT.glob("*.py")} | packages


@cache
def imported_by(path: Path) -> set[str]:
    """Top-level names a file imports anywhere, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def closure(module: str) -> set[str]:
    """Every first-party name that importing a module may need."""
    modules, seen, waiting = own_modules(), set(), [module]
    while waiting:
        if (name := waiting.pop()) not in seen:
            seen.add(name)
            waiting += set().union(*map(imported_by, modules[name])) & set(modules)
    return seen


def locked(role: str) -> set[str]:
    text = (ROOT / "requirements" / f"{role}.txt").read_text()
    return set(re.findall(r"^([a-z0-9][\w.\-]*)==", text, re.M))


def lasting() -> dict[str, dict]:
    return {name: row for name, row in services().items() if row["restart"] != "no"}


def built() -> dict[str, dict]:
    """Services whose image is made here."""
    return {name: service for name, service in services().items() if "build" in service}


def sent_to_the_builder() -> set[str]:
    """Paths of the context that `.dockerignore` lets through, top-level modules aside."""
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    return {rule[1:] for rule in rules if rule.startswith("!")}


def test_every_copied_file_exists():
    sources = {source for target in dockerfile_stages() for source in copied(target)}
    assert sources
    assert [source for source in sorted(sources) if not (ROOT / source).exists()] == []


def test_every_copied_file_is_sent_to_the_builder():
    sources = {source for target in dockerfile_stages() for source in copied(target)}
    modules = {source for source in sources if re.fullmatch(r"\w+\.py", source)}
    sent = sent_to_the_builder()
    assert {"*.py", "requirements/*.txt"} <= sent
    named = {s for s in sources - modules if not s.startswith("requirements/")}
    parts = {s: {s, *(str(parent) for parent in Path(s).parents)} for s in named}
    assert [source for source, ways in sorted(parts.items()) if not ways & sent] == []


@pytest.mark.parametrize("role", ENTRY)
def test_a_role_gets_exactly_what_it_imports(role):
    files = {Path(source).stem for source in copied(role) if source.endswith(".py")}
    packages = copied(role) & set(own_modules())
    commands = {ENTRY[role], *BESIDE.get(role, ())}
    assert files | packages == set().union(*map(closure, commands))


def test_the_trainers_health_check_is_in_its_image():
    assert closure("model_store") <= {Path(source).stem for source in copied("train")}


@pytest.mark.parametrize("role", [*ENTRY, "mlflow"])
def test_a_role_installs_its_own_locked_requirements(role):
    venv = dockerfile_stages()[f"{role}-venv"][1]
    assert f"COPY requirements/{role}.txt ./" in venv
    assert any(line.endswith(f"--require-hashes -r {role}.txt") for line in venv)
    assert f"COPY --from={role}-venv /opt/venv /opt/venv" in instructions(role)


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("serve", set()),
        ("dashboard", {"streamlit"}),
        ("monitor", {"evidently", "mlflow", "mlflow-skinny"}),
        ("mlflow", {"mlflow", "mlflow-skinny"}),
    ],
)
def test_a_role_is_free_of_the_others_heavy_libraries(role, allowed):
    assert locked(role) & HEAVY == allowed


def test_every_image_stands_on_the_python_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bases = {base for base, _ in dockerfile_stages().values()} - set(dockerfile_stages())
    python = f"python:{project['requires-python'].removeprefix('>=')}-slim"
    assert bases == {python, "debian:bookworm-slim"}
    assert dockerfile_stages()["proxy"][0] == "debian:bookworm-slim"  # the one without Python


@pytest.mark.parametrize("role", TARGETS)
def test_no_image_runs_as_root(role):
    users = [line for line in instructions(role) if line.startswith("USER")]
    assert users[-1] == "USER 10001:10001"


@pytest.mark.parametrize("role", TARGETS)
def test_every_image_says_what_it_is_and_how_it_is_stopped(role):
    lines = instructions(role)
    labels = " ".join(line for line in lines if line.startswith("LABEL"))
    for name in ("title", "description", "licenses", "vendor"):
        assert f"org.opencontainers.image.{name}=" in labels
    signal = "SIGUSR1" if role == "proxy" else "SIGTERM"  # HAProxy's word for finishing first
    assert [line for line in lines if line.startswith("STOPSIGNAL")] == [f"STOPSIGNAL {signal}"]


@pytest.mark.parametrize("role", TARGETS)
def test_every_process_gets_its_signals_itself(role):
    commands = [line for line in instructions(role) if line.startswith(("CMD", "ENTRYPOINT"))]
    assert commands
    assert all('["' in command for command in commands)  # exec form: no shell in between


@pytest.mark.parametrize("name", services())
def test_every_service_is_bound_down(name):
    service = services()[name]
    assert (service["init"], service["read_only"]) == (True, True)
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "user" not in service  # the image's numeric one
    assert {"mem_limit", "pids_limit", "logging"} <= set(service)
    assert not any("docker.sock" in mount for mount in service.get("volumes", []))


def test_only_the_database_keeps_capabilities_to_hand_its_folder_over():
    kept = {name: row["cap_add"] for name, row in services().items() if "cap_add" in row}
    assert kept == {"db": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"]}


@pytest.mark.parametrize("name", built())
def test_what_is_built_here_has_a_target_and_an_image_of_that_name(name):
    target = services()[name]["build"]["target"]
    assert target in dockerfile_stages()
    assert services()[name]["image"] == f"stock-forecasting-{target}"


def test_what_is_not_built_here_is_an_official_image_with_a_fixed_version():
    images = {name: row["image"] for name, row in services().items() if "build" not in row}
    assert {name: image.partition(":")[0] for name, image in images.items()} == {
        "db": "postgres",
        "prometheus": "prom/prometheus",
        "grafana": "grafana/grafana",
    }
    assert all(re.search(r":v?\d+", image) for image in images.values())


@pytest.mark.parametrize("name", lasting())
def test_every_lasting_service_has_a_health_check_and_comes_back(name):
    service = services()[name]
    lines = instructions(service["build"]["target"]) if "build" in service else []
    assert "healthcheck" in service or any(line.startswith("HEALTHCHECK --") for line in lines)
    assert service["restart"] == "unless-stopped"
    assert "stop_grace_period" in service


def test_every_port_is_bound_to_this_machine_unless_told_otherwise():
    ports = {name: row["ports"] for name, row in services().items() if "ports" in row}
    assert ports == {
        "proxy": ["${BIND_ADDRESS:-127.0.0.1}:${API_PORT:-8000}:8000"],
        "dashboard": ["${BIND_ADDRESS:-127.0.0.1}:${DASHBOARD_PORT:-8501}:8501"],
        "grafana": ["${BIND_ADDRESS:-127.0.0.1}:${GRAFANA_PORT:-3000}:3000"],
        # these two ask nobody who they are: no word for another address
        "mlflow": ["127.0.0.1:${MLFLOW_PORT:-5000}:5000"],
        "prometheus": ["127.0.0.1:${PROMETHEUS_PORT:-9090}:9090"],
    }


def mounts(name: str) -> list[list[str]]:
    return [mount.split(":") for mount in services()[name].get("volumes", [])]


def test_every_volume_is_declared():
    sources = {mount[0] for name in services() for mount in mounts(name)}
    assert {source for source in sources if not source.startswith(".")} == set(compose()["volumes"])
    assert all((ROOT / source).exists() for source in sources if source.startswith("."))


@pytest.mark.parametrize("name", built())
def test_a_volume_takes_its_owner_from_a_folder_of_the_image(name):
    lines = instructions(services()[name]["build"]["target"])
    owned = {word for line in lines if "install -d -o 10001" in line for word in line.split()}
    folders = {mount[1] for mount in mounts(name) if not mount[0].startswith(".")}
    assert folders <= owned


def test_a_password_is_mounted_only_where_it_is_needed():
    readers = {
        volume: {n for n in services() if n != "secrets" and volume in {m[0] for m in mounts(n)}}
        for volume in compose()["volumes"]
        if volume.startswith("secrets-")
    }
    assert readers == {
        "secrets-db": {"db"},
        "secrets-mlflow": {"mlflow"},
        "secrets-stock": {"api", "trainer", "monitor"},
        "secrets-grafana": {"grafana"},
    }
    others = [m for n in services() if n != "secrets" for m in mounts(n) if "secrets-" in m[0]]
    assert all(mount[2] == "ro" for mount in others)


def test_no_password_stands_in_the_compose_file():
    values = [str(v) for row in services().values() for v in row.get("environment", {}).values()]
    assert not any("://" in value and "@" in value for value in values)
    names = {n for row in services().values() for n in row.get("environment", {}) if "PASS" in n}
    assert names == {"POSTGRES_PASSWORD_FILE", "GF_SECURITY_ADMIN_PASSWORD__FILE"}


def networks(name: str) -> set[str]:
    return set(services()[name].get("networks", []))


def test_a_network_for_each_need():
    assert networks("db") == {"data", "runs"}
    assert all(compose()["networks"][name]["internal"] for name in networks("db"))
    assert {n for n in services() if "runs" in networks(n)} == {"db", "mlflow"}
    assert {n for n in services() if "data" in networks(n)} == {"db", "api", "trainer", "monitor"}
    assert networks("proxy") == networks("dashboard") == {"edge"}
    assert set().union(*map(networks, services())) == set(compose()["networks"])


def test_a_service_waits_for_what_it_cannot_do_without():
    healthy, ended = "service_healthy", "service_completed_successfully"
    waits = {
        name: {other: row["condition"] for other, row in service["depends_on"].items()}
        for name, service in services().items()
        if "depends_on" in service
    }
    assert waits == {
        "db": {"secrets": ended},
        "mlflow": {"db": healthy},
        "trainer": {"db": healthy, "mlflow": healthy},
        "monitor": {"db": healthy, "mlflow": healthy},
        "grafana": {"secrets": ended, "prometheus": "service_started"},
        "api": {"db": healthy},  # not for MLflow, nor for the trainer: /ready says who can answer
        "proxy": {"api": "service_started"},
    }


def settings_of(target: str) -> dict[str, str]:
    """STOCK_ variables an image sets for itself."""
    lines = [line for line in instructions(target) if line.startswith("ENV")]
    return dict(word.split("=", 1) for line in lines for word in line.split() if "STOCK_" in word)


@pytest.mark.parametrize("name", ["trainer", "api", "monitor"])
def test_every_setting_of_the_user_reaches_the_service(name):
    service = services()[name]
    fields = set(Settings.model_fields) - PLACES
    wanted = {(field if field in FOREIGN else f"STOCK_{field}").upper() for field in fields}
    words = {key: text.partition(":-") for key, text in service["environment"].items()}
    passed = {
        key for key, (head, colon, _) in words.items() if (head, colon) == (f"${{{key}", ":-")
    }
    assert passed == wanted
    defaults = {key: words[key][2].removesuffix("}") for key in passed if words[key][2] != "}"}
    assert set(defaults) <= ({"STOCK_TRUSTED_PROXIES"} if name == "api" else set())
    assert service["env_file"] == [{"path": ".env", "required": False}]


@pytest.mark.parametrize("name", ["trainer", "api", "monitor"])
def test_where_things_are_is_the_images_business(name):
    passed = services()[name]["environment"]
    places = settings_of(services()[name]["build"]["target"])
    assert places.pop("STOCK_DATABASE_URL") == "sqlite:////data/forecasts.db"
    assert (passed["STOCK_DATABASE_URL"], passed["STOCK_DATABASE_URL_FILE"]) == (
        "",
        "/secrets/database_url",
    )
    assert len(places) == 3
    assert places.items() <= passed.items()


def test_the_page_knows_where_it_and_a_browser_find_the_others():
    passed = services()["dashboard"]["environment"]
    assert passed["STOCK_API_URL"] == "http://proxy:8080"
    assert passed["STOCK_PUBLIC_API_URL"] == "${PUBLIC_API_URL:-http://127.0.0.1:8000}"
    assert passed["STOCK_MLFLOW_URL"] == "${PUBLIC_MLFLOW_URL:-http://127.0.0.1:5000}"


def test_mlflow_answers_the_stack_and_this_machine_only():
    lines = [line for line in instructions("mlflow") if line.startswith("ENV")]
    passed = dict(word.split("=", 1) for line in lines for word in line.split()[1:])
    hosts = passed["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert hosts == ["mlflow:5000", "localhost:5000", "127.0.0.1:5000"]
    for name in ("trainer", "api", "monitor"):
        assert services()[name]["environment"]["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"


def development() -> dict:
    return yaml.safe_load((ROOT / "docker-compose.dev.yml").read_text())["services"]


def test_development_runs_the_folders_code_in_the_same_services():
    assert set(development()) <= set(services())
    for name in ("api", "dashboard", "trainer", "monitor"):
        assert ".:/app:ro" in development()[name]["volumes"]
    assert "--reload" in development()["api"]["command"]


def test_development_is_applied_only_when_named():
    assert not (ROOT / "docker-compose.override.yml").exists()
    assert all("ports" not in row for name, row in development().items() if name != "db")


def test_nothing_private_is_sent_to_the_builder():
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    assert rules[1] == "*"
    assert not any(rule.startswith("!") and "env" in rule for rule in rules)


def test_ci_can_read_only_and_hides_no_failure():
    text = (ROOT / ".github" / "workflows" / "ci-cd.yml").read_text()
    flow = yaml.safe_load(text)
    assert flow["permissions"] == {"contents": "read"}
    assert flow["concurrency"]["cancel-in-progress"] is True
    assert "continue-on-error" not in text
    assert all("timeout-minutes" in job for job in flow["jobs"].values())


def test_ci_builds_every_role():
    flow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci-cd.yml").read_text())
    assert flow["jobs"]["images"]["strategy"]["matrix"]["target"] == TARGETS


def test_ci_pins_every_action_by_tag():
    flow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci-cd.yml").read_text())
    uses = [
        step["uses"] for job in flow["jobs"].values() for step in job["steps"] if "uses" in step
    ]
    assert uses
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", action) for action in uses)
