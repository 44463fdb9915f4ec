"""Third-party notices: the images' libraries with their licences, from what is installed."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

ROLES = ("serve", "dashboard", "train", "monitor", "mlflow")
HEAD = """# Third-party notices

Libraries that the images install, as their own metadata state it; made by `make release-files`.
Each library brings the text of its licence into the image, beside its code under `/opt/venv`. The
images stand on Debian and Python, whose licences lie under `/usr/share/doc` and in
`/usr/local/lib`.

| library | version | licence | in the images |
|---|---|---|---|
"""
# What states its licence in no field that a program can read; from its own LICENSE file.
STATED_ELSEWHERE = {"huey": "MIT", "namex": "Apache-2.0", "peewee": "MIT", "skops": "MIT"}
# What carries the works of others inside itself.
CARRYING = {"fastapi-offline": "MIT; its files are Swagger UI (Apache-2.0) and ReDoc (MIT)"}


def locked(root: Path) -> dict[str, dict[str, str]]:
    """Library -> role -> version, from the hash-locked requirements of each role."""
    found: dict[str, dict[str, str]] = {}
    for role in ROLES:
        text = (root / "requirements" / f"{role}.txt").read_text("utf-8")
        for name, version in re.findall(r"^([a-z0-9][\w.\-]*)==([^\s;\\]+)", text, re.M):
            found.setdefault(name, {})[role] = version
    return dict(sorted(found.items()))


def licence(found: Distribution) -> str:
    """What the metadata say: an SPDX expression, else the classifiers, else a short text."""
    if expression := found.metadata["License-Expression"]:
        return str(expression)
    rows = found.metadata.get_all("Classifier") or []
    classes = [row.rpartition(" :: ")[2] for row in rows if row.startswith("License :: ")]
    if named := [text for text in classes if text != "OSI Approved"]:
        return ", ".join(named)
    text = (found.metadata["License"] or "").strip()
    return text.splitlines()[0][:60] if text else ""


def notices(root: Path) -> str:
    """The whole page.

    Raises:
        LookupError: a library states no licence anywhere; add it to STATED_ELSEWHERE.
    """
    rows, silent = [], []
    for name, roles in locked(root).items():
        try:
            said = CARRYING.get(name) or licence(distribution(name))
            said = said or STATED_ELSEWHERE.get(name, "")
        except PackageNotFoundError:  # for another platform than this one
            said = STATED_ELSEWHERE.get(name, "not for this platform")
        silent += [] if said else [name]
        versions = ", ".join(sorted(set(roles.values())))
        rows.append(f"| {name} | {versions} | {said} | {', '.join(roles)} |\n")
    if silent:
        raise LookupError(f"no licence is stated by {', '.join(silent)}")
    return HEAD + "".join(rows)
