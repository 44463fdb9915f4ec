"""Static checks of the container and CI files: what they copy, whom they run as, what they open."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from config import FOREIGN, Settings

ROOT = Path(__file__).resolve().parent.parent
ENTRY = {"serve": "app", "dashboard": "streamlit_app", "train": "train", "monitor": "drift_monitor"}
BESIDE = {"train": {"tune"}}  # further commands of an image
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


def compose() -> dict:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def services() -> dict[str, dict]:
    return compose()["services"]


def own_modules() -> dict[str, list[Path]]:
    """First-party top-level names -> their files."""
    packages = {p.parent.name: sorted(p.parent.rglob("*.py")) for p in ROOT.glob("*/__init__.py")}
    packages.pop("tests", None)
    return {path.stem: [path] for path in ROOT.glob("*.py")} | packages


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


def long_running() -> dict[str, dict]:
    return {name: service for name, service in services().items() if "profiles" not in service}


def test_every_copied_file_exists():
    sources = {source for target in dockerfile_stages() for source in copied(target)}
    assert sources
    assert [source for source in sorted(sources) if not (ROOT / source).exists()] == []


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
    assert bases == {f"python:{project['requires-python'].removeprefix('>=')}-slim"}


@pytest.mark.parametrize("role", [*ENTRY, "mlflow"])
def test_no_image_runs_as_root(role):
    users = [line for line in instructions(role) if line.startswith("USER")]
    assert users == ["USER 10001:10001"]


@pytest.mark.parametrize("role", [*ENTRY, "mlflow"])
def test_every_process_gets_its_signals_itself(role):
    commands = [line for line in instructions(role) if line.startswith(("CMD", "ENTRYPOINT"))]
    assert commands
    assert all('["' in command for command in commands)  # exec form: no shell in between


@pytest.mark.parametrize("name", services())
def test_every_service_is_built_here_and_bound_down(name):
    service = services()[name]
    assert service["build"]["target"] in dockerfile_stages()
    assert (service["init"], service["read_only"]) == (True, True)
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "user" not in service  # the image's numeric one


@pytest.mark.parametrize("name", long_running())
def test_every_lasting_service_has_a_health_check_and_comes_back(name):
    lines = instructions(services()[name]["build"]["target"])
    assert any(line.startswith("HEALTHCHECK") for line in lines)
    assert services()[name]["restart"] == "unless-stopped"


def test_every_port_is_bound_to_this_machine_only():
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert sorted(ports) == [f"127.0.0.1:{n}:{n}" for n in (5000, 8000, 8501)]


def test_every_volume_is_declared_and_owned_by_the_user_in_the_image():
    mounts = [mount for service in services().values() for mount in service.get("volumes", [])]
    names, folders = {m.split(":")[0] for m in mounts}, {m.split(":")[1] for m in mounts}
    assert names == set(compose()["volumes"])
    (owned,) = (line for line in instructions("serve") if "install -d -o 10001" in line)
    assert folders <= set(owned.split())


def test_the_api_waits_for_champions_and_the_trainer_for_mlflow():
    healthy = {"condition": "service_healthy"}
    assert services()["api"]["depends_on"] == {"trainer": healthy}
    assert services()["trainer"]["depends_on"] == {"mlflow": healthy}


def settings_of(target: str) -> dict[str, str]:
    """STOCK_ variables an image sets for itself."""
    lines = [line for line in instructions(target) if line.startswith("ENV")]
    return dict(word.split("=", 1) for line in lines for word in line.split() if "STOCK_" in word)


@pytest.mark.parametrize("name", ["trainer", "api", "monitor"])
def test_every_setting_of_the_user_reaches_the_service(name):
    service = services()[name]
    fields = set(Settings.model_fields) - PLACES
    wanted = {(field if field in FOREIGN else f"STOCK_{field}").upper() for field in fields}
    passed = {key: text for key, text in service["environment"].items() if text.startswith("$")}
    assert passed == {key: f"${{{key}:-}}" for key in wanted}
    assert service["env_file"] == [{"path": ".env", "required": False}]


@pytest.mark.parametrize("name", ["trainer", "api", "monitor"])
def test_where_things_are_is_the_images_business(name):
    service = services()[name]
    places = settings_of(service["build"]["target"])
    assert len(places) == 4
    assert places.items() <= service["environment"].items()


def test_the_page_knows_where_it_and_a_browser_find_the_others():
    passed = services()["dashboard"]["environment"]
    assert passed["STOCK_API_URL"] == "http://api:8000"
    assert passed["STOCK_PUBLIC_API_URL"] == "http://127.0.0.1:8000"
    assert passed["STOCK_MLFLOW_URL"] == "http://127.0.0.1:5000"


def test_mlflow_answers_the_trainer_and_this_machine_only():
    (command,) = (line for line in instructions("mlflow") if line.startswith("CMD"))
    arguments = ast.literal_eval(command.removeprefix("CMD "))
    hosts = arguments[arguments.index("--allowed-hosts") + 1]
    assert hosts.split(",") == ["mlflow:5000", "localhost:5000", "127.0.0.1:5000"]
    assert services()["trainer"]["environment"]["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"


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
    assert flow["jobs"]["images"]["strategy"]["matrix"]["target"] == [*ENTRY, "mlflow"]


def test_ci_pins_every_action_by_tag():
    flow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci-cd.yml").read_text())
    uses = [
        step["uses"] for job in flow["jobs"].values() for step in job["steps"] if "uses" in step
    ]
    assert uses
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", action) for action in uses)
