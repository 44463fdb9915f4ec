"""Which code and which libraries made a number. Knows no model and no run."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

LEARNING = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "onnxruntime", "tf2onnx")
SERVING = ("onnxruntime", "numpy", "pandas", "exchange-calendars", "yfinance", "fastapi", "uvicorn")


@functools.cache
def library_versions(names: tuple[str, ...] = LEARNING) -> Mapping[str, str]:
    """Python's version and those of libraries that are installed: what decides the numbers."""
    found = {"python": sys.version.split()[0]}
    for name in names:
        try:
            found[name] = installed_version(name)
        except PackageNotFoundError:
            continue
    return found


@functools.cache
def git_revision() -> str | None:
    """The revision of the code, where it is a git checkout; as it was when first asked."""
    try:
        run = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return run.stdout.strip()
