"""What a release promises, checked: python deploy/release.py check | write.

`check` compares version, changelog, citation and tag, the locks, the pages made from other files,
the links of the documents and their wording, the manifests and the workflows, a line for each.
`write` makes the pages anew. Run from the project's folder by `make release-check`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from documents import broken_links, unwanted_words
from model_cards import model_cards
from notices import ROLES, notices
from release_notes import disagreements

ROOT = Path(__file__).resolve().parent.parent
MADE = {"THIRD_PARTY_NOTICES.md": notices, "docs/MODEL_CARD.md": model_cards}
COMPILE = "uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header"
CHARTED = ("deploy/kubernetes",)


def tracked(root: Path) -> list[Path]:
    """Every file that git knows."""
    names = _output(["git", "ls-files", "-z"], root).split("\0")
    return [root / name for name in names if name and (root / name).is_file()]


def tags_here(root: Path) -> list[str]:
    """Tags of the commit that is checked out."""
    return _output(["git", "tag", "--points-at", "HEAD"], root).split()


def stale_pages(root: Path) -> Iterator[str]:
    """Pages that are not what they would be if they were made now."""
    for name, make in MADE.items():
        path = root / name
        if not path.exists() or path.read_text("utf-8") != make(root):
            yield f"{name} is not fresh: make release-files"


def stale_locks(root: Path) -> Iterator[str]:
    """Locks that `make lock` would change, told by compiling copies of them."""
    pairs = [("requirements.in", "requirements.txt", "")]
    pairs += [
        (f"requirements/{r}.in", f"requirements/{r}.txt", "requirements.txt")
        for r in (*ROLES, "telemetry")
    ]
    pairs.append(("requirements/scale.in", "requirements-scale.txt", ""))
    own = ("bootstrap", "dev", "release")
    pairs += [(f"requirements/{r}.in", f"requirements/{r}.txt", "") for r in own]
    with tempfile.TemporaryDirectory() as folder:
        for source, lock, bound in pairs:
            copy = Path(shutil.copy(root / lock, Path(folder) / "lock.txt"))
            bounds = ["-c", bound] if bound else []
            said = _said([*COMPILE.split(), source, *bounds, "-o", str(copy)], root)
            if said or _pins(copy) != _pins(root / lock):
                yield f"{lock} is not what {source} gives: make lock {said}"


def _pins(lock: Path) -> list[str]:
    return [line for line in lock.read_text("utf-8").splitlines() if "==" in line]


def manifests(root: Path) -> list[Path]:
    """Kubernetes files; a kustomization is no resource."""
    found = [path for folder in CHARTED for path in sorted((root / folder).glob("*.yaml"))]
    return [path for path in found if path.name != "kustomization.yaml"]


def refused_by(tools: Path, root: Path) -> Iterator[str]:
    """What the tools of others find in workflows and manifests."""
    charts = [str(path) for path in manifests(root)]
    checks = {
        "zizmor": ["--offline", "--quiet", ".github"],
        "kubernetes-validate": ["--strict", *charts],
    }
    for name, arguments in checks.items():
        if said := _said([str(tools / name), *arguments], root):
            yield f"{name}: {said}"


def matters(tools: Path | None) -> dict[str, Callable[[], Iterator[str] | list[str]]]:
    """What is checked, by name, each giving its complaints."""
    rows: dict[str, Callable[[], Iterator[str] | list[str]]] = {
        "version, changelog, citation, tag": lambda: disagreements(ROOT, tags_here(ROOT)),
        "pages made from other files": lambda: stale_pages(ROOT),
        "links of the documents": lambda: broken_links(tracked(ROOT)),
        "wording": lambda: unwanted_words(tracked(ROOT)),
        "locks": lambda: stale_locks(ROOT),
    }
    if tools is not None:
        rows["workflows and manifests by their own tools"] = lambda: refused_by(tools, ROOT)
    return rows


def _said(command: list[str], folder: Path) -> str:
    """What a failing command said; nothing where it succeeds."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip() if done.returncode else ""


def _output(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def main(argv: list[str] | None = None) -> int:
    """Check a release or write what belongs to it. Exit 1 on a complaint, 2 if it cannot."""
    parser = argparse.ArgumentParser(prog="release.py", description=main.__doc__)
    parser.add_argument("action", choices=["check", "write"], help="look only, or make the pages")
    parser.add_argument("--tools", type=Path, help="folder with zizmor and kubernetes-validate")
    arguments = parser.parse_args(argv)
    try:
        if arguments.action == "write":
            for name, make in MADE.items():
                (ROOT / name).write_text(make(ROOT), "utf-8")
                print(f"written: {name}")
            return 0
        return _check(arguments.tools)
    except (OSError, LookupError, subprocess.CalledProcessError) as error:
        print(f"release.py: {error}", file=sys.stderr)
        return 2


def _check(tools: Path | None) -> int:
    wrong = 0
    for name, look in matters(tools.resolve() if tools else None).items():
        complaints = list(look())
        print(f"{'wrong' if complaints else 'right'}  {name}", flush=True)
        for complaint in complaints:
            print(f"       {complaint}")
        wrong += len(complaints)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
